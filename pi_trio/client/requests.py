"""Which requests wait for a response. Each ends exactly once: resolved, failed, or given up by its caller."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

import trio
from trio.lowlevel import Abort, Task, current_task, wait_task_rescheduled

from ..abc import RecordTransport
from ..concurrency import wake
from ..errors import ProtocolError, RequestTimeout
from ..protocol import Record, readdressing, response_id
from .intake import Intake

__all__ = ["ForwardedRequest", "PendingRequest", "RequestTable"]

Outcome: TypeAlias = Callable[[Record | None, Exception | None], None]
"""Is told how a request ended: one of the two is not ``None``."""


# While there are no more than these, a request reads for itself. Of many, most are answered while another one waits.
_FEW = 4


class PendingRequest:
    """A request on its way. One task waits for it, once."""

    __slots__ = (
        "_error",
        "_on_response",
        "_response",
        "_table",
        "_task",
        "_timeout",
        "command",
        "deadline",
        "done",
        "id",
        "reads",
    )

    def __init__(
        self,
        table: RequestTable,
        id_: str,
        command: str,
        on_response: Callable[[Record], None] | None,
        timeout: float,
    ) -> None:
        self.id = id_
        self.command = command
        self.deadline = math.inf if timeout == math.inf else table.now() + timeout
        self._timeout = timeout
        self._table = table
        self._task: Task | None = None
        self._on_response = on_response
        self.done = False
        self.reads: RecordTransport | None = None
        """What the waiting task waits at instead, while it is the one that reads."""
        # One of these two, when it is done. (An outcome.Outcome takes two thirds of what all the rest here takes.)
        self._response: Record | None = None
        self._error: Exception | None = None

    def __repr__(self) -> str:
        return f"<PendingRequest {self.id} {self.command} {'done' if self.done else 'waiting'}>"

    async def wait(self, intake: Intake | None = None) -> Record:
        """Wait for the response record, or fetch it from the ``intake`` where nobody else reads.

        Cancelling gives the request up: a response that comes later is dropped.

        Raises:
            RequestTimeout: none came in time.
            Exception: what the request was failed with.
        """
        if self.done:
            await trio.lowlevel.checkpoint()
        while not self.done:
            if intake is not None and intake.free and len(self._table) <= _FEW:
                try:
                    await intake.read_for(self)
                except BaseException:
                    self._table.forget(self)
                    raise
                continue
            self._task = current_task()
            if self._table.keeps_time or self.deadline == math.inf:
                await wait_task_rescheduled(self._abort)
                continue
            with trio.CancelScope(deadline=self.deadline) as scope:
                await wait_task_rescheduled(self._abort)
            if scope.cancelled_caught:
                raise self._too_late()
        if self._response is not None:
            return self._response
        assert self._error is not None
        error, self._error = self._error, None
        try:
            raise error
        finally:
            del error  # or it and this frame would keep each other alive

    def _abort(self, _: object) -> Abort:
        self._task = None
        self._table.forget(self)
        return Abort.SUCCEEDED

    def _wake(self) -> None:
        task = self._task
        if task is not None:
            self._task = None
            wake(task)
        elif self.reads is not None:
            self.reads.interrupt()

    def _finish(self, response: Record | None, error: Exception | None = None) -> None:
        assert not self.done, "a request has one outcome"
        self.done = True
        self._response, self._error = response, error
        self._wake()

    def _too_late(self) -> RequestTimeout:
        return RequestTimeout(self.command, self._timeout)


class ForwardedRequest(PendingRequest):
    """A request of somebody else's. Nobody waits for it: ``on_done`` is called when it is done, by whoever ends it."""

    __slots__ = ("_begins", "_on_done", "_on_line", "_replaced")

    def __init__(self, table: RequestTable, id_: str, command: str, on_done: Outcome) -> None:
        super().__init__(table, id_, command, None, math.inf)
        self._on_done = on_done
        self._on_line: Callable[[bytes], None] | None = None
        self._begins, self._replaced = b"", 0

    def take_line(self, line: bytes) -> None:
        """Its response has come."""
        assert self._on_line is not None
        del self._table._pending[self.id], self._table.by_line[self.id]
        self.done = True
        self._on_line(self._begins + line[self._replaced :])

    def give_up(self) -> None:
        """Nobody wants to know any more: ``on_done`` is not called. Pi may still carry it out."""
        self._table.forget(self)

    def _finish(self, response: Record | None, error: Exception | None = None) -> None:
        super()._finish(response, error)
        self._on_done(response, error)


class RequestTable:
    """The pending requests, by id."""

    def __init__(self) -> None:
        self._pending: dict[str, PendingRequest] = {}
        self.by_line: dict[str, ForwardedRequest] = {}
        """Those of them that take lines: while there are any, each line may be for :meth:`taker_of`."""
        self._last_id = 0
        self._clock: trio.CancelScope | None = None
        self._earliest = math.inf  # no deadline comes before it
        self.now: Callable[[], float] = trio.current_time
        """What time it is, on the Trio clock."""
        self.keeps_time = False
        """Whether requests are timed out from here; if not, whoever waits for one does it."""

    def __len__(self) -> int:
        return len(self._pending)

    def new_id(self) -> str:
        """An id that no request ever had."""
        self._last_id += 1
        return f"r{self._last_id}"

    def open(
        self,
        command: str,
        on_response: Callable[[Record], None] | None = None,
        *,
        timeout: float | None = None,
        id: str | None = None,
    ) -> PendingRequest:
        """Expect the response to a request, within ``timeout`` seconds from now; with a new id, unless it has one.

        ``on_response`` is called with the response the moment it is routed: before any record behind it,
        and before the waiting task runs.
        """
        if timeout is None:
            timeout = math.inf
        elif not timeout >= 0:
            raise ValueError(f"timeout must be 0 or more, not {timeout}")
        if id is None:
            id = self.new_id()
        pending = self._pending[id] = PendingRequest(self, id, command, on_response, timeout)
        if pending.deadline < self._earliest:
            self._earliest = pending.deadline
            if self._clock is not None:
                self._clock.deadline = pending.deadline
        return pending

    def open_forwarded(self, command: str, on_done: Outcome, *, id: str | None = None) -> ForwardedRequest:
        """A request of somebody else's, without a time-out; with a new id, unless it has one. ``on_done`` gets the
        response, or the error: it is called while that is routed, and must neither block nor raise.
        """
        if id is None:
            id = self.new_id()
        pending = self._pending[id] = ForwardedRequest(self, id, command, on_done)
        return pending

    def deliver_line(self, pending: ForwardedRequest, command: Record, on_line: Callable[[bytes], None]) -> None:
        """Give its response to ``on_line`` instead, if it comes as a line that Pi wrote: as to who sent ``command``."""
        try:
            pending._begins, pending._replaced = readdressing(pending.id, command)
        except ProtocolError:
            return  # their id cannot be written: whoever gets the record may know what to do
        pending._on_line = on_line
        self.by_line[pending.id] = pending

    def taker_of(self, line: bytes) -> ForwardedRequest | None:
        """The forwarded request that takes this line, for :meth:`ForwardedRequest.take_line`, if it is for one."""
        return self.by_line.get(response_id(line) or "")

    def resolve(self, record: Record) -> bool:
        """Give a response to the request it belongs to. Whether there is one: its caller may have given up."""
        id_ = record.get("id")
        pending = self._pending.pop(id_, None) if type(id_) is str else None
        if pending is None:
            return False
        if self.by_line:
            self.by_line.pop(pending.id, None)
        if pending._on_response is not None:
            try:
                pending._on_response(record)
            except Exception as error:  # whoever waits gets what went wrong: it is theirs
                pending._finish(None, error)
                return True
        pending._finish(record)
        return True

    def forget(self, pending: PendingRequest) -> None:
        """Nobody waits for it any more."""
        self._pending.pop(pending.id, None)
        self.by_line.pop(pending.id, None)

    def fail(self, ids: Iterable[str], make_error: Callable[[], Exception]) -> None:
        """No response will come to these, as far as they are still waited for."""
        failing = [pending for id_ in ids if (pending := self._pending.pop(id_, None)) is not None]
        for pending in failing:
            self.by_line.pop(pending.id, None)
            pending._finish(None, make_error())

    def fail_all(self, make_error: Callable[[], Exception]) -> None:
        """No response will come to any of them."""
        self.fail(list(self._pending), make_error)

    # --- time-outs -------------------------------------------------------------------------------------

    async def keep_time_while(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` to its end, and time requests out meanwhile.

        One scope for all of them, whose deadline is the earliest of theirs: a scope for each took a third of the
        time of a request. ``work`` is cancelled and called again when one is too late.
        """
        self.keeps_time = True
        self.now = trio.lowlevel.current_clock().current_time  # it stays the same, and the way to it is as long as it
        try:
            while True:
                self._earliest = min((pending.deadline for pending in self._pending.values()), default=math.inf)
                with trio.CancelScope(deadline=self._earliest) as self._clock:
                    await work()
                if not self._clock.cancelled_caught:
                    return
                self._expire(trio.current_time())
        finally:
            self._clock, self.keeps_time = None, False
            for pending in self._pending.values():
                pending._wake()

    def _expire(self, now: float) -> None:
        for pending in [each for each in self._pending.values() if each.deadline <= now]:
            self.forget(pending)
            pending._finish(None, pending._too_late())
