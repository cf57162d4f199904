"""Which requests wait for a response. Each ends exactly once: resolved, failed, or given up by its caller."""

from __future__ import annotations

from collections.abc import Callable

import outcome
import trio

from ..protocol import Record

__all__ = ["PendingRequest", "RequestTable"]


class PendingRequest:
    """A request on its way. One task waits for it, once."""

    __slots__ = ("_done", "_on_response", "_table", "_task", "command", "id")

    def __init__(
        self, table: RequestTable, id_: str, command: str, on_response: Callable[[Record], None] | None
    ) -> None:
        self.id = id_
        self.command = command
        self._table = table
        self._task: trio.lowlevel.Task | None = None
        self._done: outcome.Outcome[Record] | None = None
        self._on_response = on_response

    def __repr__(self) -> str:
        return f"<PendingRequest {self.id} {self.command} {'done' if self._done else 'waiting'}>"

    async def wait(self) -> Record:
        """Wait for the response record. Cancelling gives the request up: a response that comes later is dropped.

        Raises:
            Exception: what the request was failed with.
        """
        if self._done is None:
            self._task = trio.lowlevel.current_task()
            record: Record = await trio.lowlevel.wait_task_rescheduled(self._abort)
            return record
        await trio.lowlevel.checkpoint()
        return self._done.unwrap()

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        self._table.forget(self)
        return trio.lowlevel.Abort.SUCCEEDED

    def _finish(self, done: outcome.Outcome[Record]) -> None:
        assert self._done is None, "a request has one outcome"
        self._done = done
        if self._task is not None:
            trio.lowlevel.reschedule(self._task, done)
            self._task = None


class RequestTable:
    """The pending requests, by id."""

    def __init__(self) -> None:
        self._pending: dict[str, PendingRequest] = {}
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._pending)

    def open(self, command: str, on_response: Callable[[Record], None] | None = None) -> PendingRequest:
        """A new request, with an id no other ever had.

        ``on_response`` is called with the response the moment it is routed: before any record behind it,
        and before the waiting task runs.
        """
        self._last_id += 1
        pending = PendingRequest(self, f"r{self._last_id}", command, on_response)
        self._pending[pending.id] = pending
        return pending

    def resolve(self, record: Record) -> bool:
        """Give a response to the request it belongs to. Whether there is one: its caller may have given up."""
        id_ = record.get("id")
        pending = self._pending.pop(id_, None) if isinstance(id_, str) else None
        if pending is None:
            return False
        if pending._on_response is not None:
            pending._on_response(record)
        pending._finish(outcome.Value(record))
        return True

    def forget(self, pending: PendingRequest) -> None:
        """Nobody waits for it any more."""
        self._pending.pop(pending.id, None)

    def fail_all(self, make_error: Callable[[], Exception]) -> None:
        """No response will come to any of them."""
        failing = list(self._pending.values())
        self._pending.clear()
        for pending in failing:
            pending._finish(outcome.Error(make_error()))
