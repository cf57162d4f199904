"""PiClient: requests, events and runs over whatever carries records to one Pi."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, Self

import trio

from ..abc import RecordTransport
from ..concurrency import Broadcast, Lagged, Subscription, WhenFull
from ..errors import ClientError, CommandFailed, ConnectionClosed, RequestTimeout, RunBusy, RunTimeout
from ..protocol import (
    STREAMED,
    BashResult,
    DialogHandler,
    Event,
    ImageContent,
    Item,
    MalformedRecord,
    Record,
    State,
    decode_event,
    decoded,
    encode_record,
    response_data,
    text_deltas,
)
from .branches import Branches
from .commands import Commands
from .desk import DialogDesk
from .dialogs import DialogInterceptor
from .intake import Intake
from .reply import Reply
from .requester import UNSET, Unset
from .requests import PendingRequest, RequestTable
from .run import Run
from .views import View

__all__ = ["EventStream", "PiClient"]

_log = logging.getLogger("pi_trio.client")

# Events that mean something to the client itself.
_ROUTED = ("extension_ui_request", "agent_start")

# How many records a run's reader may be behind before Pi is held up.
_RUN_CAPACITY = 4096

# How long leaving a run early waits for Pi to become idle. A tool that does not mind being aborted can
# hold it longer; the next prompt is then refused by Pi itself.
_ABORT_TIMEOUT = 5.0


def _data_of(command: str, response: Record) -> Any:
    if response.get("success") is not True:
        raise CommandFailed(command, str(response.get("error", "no reason was given")))
    return response.get("data")


class _TextView(View[str]):
    """A view that does not start two coroutines for a piece of text that is there already."""

    def __init__(self, ready: deque[str], take: Callable[[], Awaitable[str | None]]) -> None:
        super().__init__(take)
        self._ready = ready

    async def __anext__(self) -> str:
        return self._ready.popleft() if self._ready else await super().__anext__()


class EventStream:
    """Pi's events, for one reader. Iterate it for typed events, or :meth:`records`, or :meth:`text`.

    A :class:`Lagged` stands where events were lost. It ends when the client is closed; when Pi died without
    having been told to, it raises :class:`~pi_trio.errors.ProcessExited` instead. Use it as a context
    manager, or :meth:`close` it.
    """

    def __init__(self, subscription: Subscription[Item]) -> None:
        self._subscription = subscription
        self._texts: deque[str] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Want no more events. Idempotent."""
        self._subscription.close()

    def __aiter__(self) -> AsyncIterator[Event | Lagged]:
        return self

    async def __anext__(self) -> Event | Lagged:
        record = await self._next()
        if record is None:
            raise StopAsyncIteration
        return record if isinstance(record, Lagged) else decode_event(record)

    async def _next(self) -> Record | MalformedRecord | Lagged | None:
        try:
            item = await self._subscription.receive()
        except trio.EndOfChannel:
            return None
        return item if isinstance(item, Lagged) else decoded(item)

    def records(self) -> View[Record | MalformedRecord | Lagged]:
        """The records as they came, not made into events."""
        return View(self._next)

    def text(self) -> View[str]:
        """Only the pieces of text that Pi streams. A loss is not shown: this is for displays."""
        return _TextView(self._texts, self._next_text)

    async def _next_text(self) -> str | None:
        while not self._texts:
            try:
                batch = await self._subscription.receive_batch()
            except trio.EndOfChannel:
                return None
            self._texts.extend(text_deltas(batch))
        return self._texts.popleft()


class PiClient(Commands):
    """Talks to one Pi. Every method may be called from any task.

    Each request ends exactly once: with Pi's response, or with an error that says what happened. Responses
    do not wait behind events: a subscriber that has to be waited for holds Pi up only while no request is
    under way.
    """

    def __init__(self, name: str = "", *, request_timeout: float = 30.0) -> None:
        self._name = name
        self._request_timeout = request_timeout
        self._transport: RecordTransport | None = None
        self._ready: RecordTransport | None = None  # the same, when what is behind it is ready for requests
        self._open = trio.Event()
        self._why_closed: Callable[[], ConnectionClosed] | None = None
        self._requests = RequestTable()
        self._intake: Intake | None = None
        self._events: Broadcast[Item] = Broadcast()
        self._run_lock = trio.Lock()
        self._run_subscriptions: set[Subscription[Item]] = set()
        self._draining = False
        self._agent_starts = 0
        self._bash_lock = trio.Lock()
        self._desk = DialogDesk(name, self._send_or_drop)
        self.branches = Branches(self, self._desk, self._run_lock)
        """The ways through the session."""
        self.session_id: str | None = None
        """The session Pi was last known to be in."""
        self.on_state: Callable[[State], None] | None = None
        """Called with each state that Pi tells, for whoever has to know what changes: its supervisor."""
        self.records_received = 0
        """How many records have come from Pi, over all its incarnations."""
        self._late_responses = 0

    def __repr__(self) -> str:
        state = "closed" if self._events.closed else "connected" if self._transport else "not connected"
        return f"<PiClient {self._name} {state} {len(self._requests)} pending>"

    @property
    def connected(self) -> bool:
        """Whether there is a Pi that is ready for requests; if not, they wait."""
        return self._ready is not None

    # --- wiring: for whoever owns the connection ---------------------------------------------------

    def attach(self, transport: RecordTransport) -> None:
        """There is a Pi again. Whoever attached it runs :meth:`serve`, and calls :meth:`open` when it is ready."""
        self._transport = transport
        self._draining = False
        self._intake = None  # until it is served

    def open(self) -> None:
        """The Pi is ready: requests that waited for it go out, and later ones at once."""
        self._ready = self._transport
        self._open.set()

    async def probe(self, *, timeout: float) -> State:
        """``get_state`` on what is attached, ready or not: for its owner, who wants to know. Raises as `request`."""
        if self._transport is None:
            raise self._gone()
        return self._note(await self._ask(self._transport, "get_state", None, timeout))

    def _note(self, data: Any) -> State:
        state = response_data("get_state", data, State)
        self.session_id = state.session_id
        if self.on_state is not None:
            self.on_state(state)
        return state

    async def serve(self, transport: RecordTransport) -> None:
        """Take in the transport's records until it ends. To be run by one task."""
        intake = Intake(transport, self._route, self._events, self._is_held_up)
        self._intake = intake
        try:
            await self._requests.keep_time_while(intake.run)
        finally:
            if self._intake is intake:
                self._intake = None

    def _is_held_up(self) -> bool:
        """Whether Pi is to be held up for a subscriber's sake: not while somebody waits for a response."""
        return self._events.congested and not self._requests and not self._draining

    def refuse(self, why: Callable[[], ConnectionClosed]) -> None:
        """Fail the requests under way, and every later one, for good; keep taking in what Pi still says."""
        self._transport = self._ready = None
        self._why_closed = why
        self._open.set()
        self._requests.fail_all(why)
        self.drain()

    def drain(self) -> None:
        """Read on whatever the subscribers do: what is left in the pipe is all there will be."""
        self._draining = True
        self._events.interrupt()

    def detach(self, why: Callable[[], ConnectionClosed]) -> None:
        """The connection is gone: fail requests and runs. New requests wait for the next one, and subscribers too."""
        self._transport = self._ready = None
        if self._why_closed is None:
            self._open = trio.Event()
        self._requests.fail_all(why)
        for subscription in tuple(self._run_subscriptions):
            subscription.end(why)
        self.drain()

    def close(self, why: Callable[[], ConnectionClosed], *, quietly: bool) -> None:
        """There will be no other connection. ``quietly``: subscribers find the end, not the error."""
        self.refuse(why)
        self.detach(why)
        self._events.close(None if quietly else why)

    def _gone(self) -> ConnectionClosed:
        return self._why_closed() if self._why_closed else ConnectionClosed(f"{self._name or 'Pi'} is not connected")

    def _route(self, items: Sequence[Item]) -> bool:
        """Give every item to whom it belongs. Whether there was a response among them."""
        self.records_received += len(items)
        events: list[Item] = []
        answered = False
        for item in items:
            if type(item) is bytes and item.startswith(STREAMED):
                events.append(item)
                continue
            record = decoded(item)
            if type(record) is dict:
                kind = record.get("type")
                if kind == "response" and record.get("id") is not None:
                    if events:  # what came before it is there when its caller goes on
                        self._events.publish(events)
                        events = []
                    self._resolve(record)
                    answered = True
                    continue
                if kind in _ROUTED and self._heed(record):
                    continue
            elif type(item) is bytes and not item.strip():
                continue  # a blank line is no record
            events.append(record)
        if events:
            self._events.publish(events)
        return answered

    def _resolve(self, response: Record) -> None:
        if not self._requests.resolve(response):
            self._late_responses += 1
            _log.debug("%s: a response nobody waits for: %s", self._name, response.get("command"))

    def _heed(self, event: Record) -> bool:
        """Note what an event means to the client itself. Whether it is nobody else's business."""
        if event["type"] == "extension_ui_request":
            return self._desk.take(event)
        self._agent_starts += 1
        return False

    # --- requests ------------------------------------------------------------------------------------

    async def request(
        self,
        command: str,
        params: Record | None = None,
        *,
        timeout: float | Unset | None = UNSET,
        on_response: Callable[[Record], None] | None = None,
    ) -> Any:
        """Send one command; return the ``data`` of Pi's response (``None`` when it has none).

        For commands without a method of their own. ``timeout`` is in seconds, ``None`` for none, the
        client's own by default. While Pi is being started again, the request waits for it, within its
        time-out. Cancelling gives the request up; Pi may still carry it out.

        Raises:
            CommandFailed: Pi refused.
            RequestTimeout: no response in time.
            ProcessExited: Pi is gone, or went before it had answered.
            ConnectionClosed: it was stopped, or is being stopped.
        """
        seconds = self._request_timeout if isinstance(timeout, Unset) else timeout
        transport = self._ready
        if transport is None:  # rarely: the usual request is spared a coroutine and two looks at the clock
            started = trio.current_time()
            transport = await self._connected(command, seconds)
            if seconds is not None:
                seconds = max(0.0, seconds - (trio.current_time() - started))
        # As _ask, but without a coroutine of its own.
        pending = self._submit(transport, command, params, seconds, on_response)
        return _data_of(command, await pending.wait(self._intake))

    async def _connected(self, command: str, seconds: float | None) -> RecordTransport:
        """The connection to a Pi that is ready, waited for if need be. No checkpoint when there is one."""
        if not self._open.is_set():
            with trio.move_on_after(math.inf if seconds is None else seconds) as scope:
                while not self._open.is_set():  # one that is gone again makes a new event
                    await self._open.wait()
            if scope.cancelled_caught:
                raise RequestTimeout(command, seconds or 0.0)
        if self._transport is None:
            await trio.lowlevel.checkpoint()
            raise self._gone()
        return self._transport

    async def _ask(
        self,
        transport: RecordTransport,
        command: str,
        params: Record | None,
        seconds: float | None,
    ) -> Any:
        pending = self._submit(transport, command, params, seconds, None)
        return _data_of(command, await pending.wait(self._intake))

    def _submit(
        self,
        transport: RecordTransport,
        command: str,
        params: Record | None,
        seconds: float | None,
        on_response: Callable[[Record], None] | None,
    ) -> PendingRequest:
        """Send a command; whoever calls this waits for the response at once."""
        pending = self._requests.open(command, on_response, timeout=seconds)
        record = {"id": pending.id, "type": command}
        try:
            self._send(transport, {**params, **record} if params else record)
        except BaseException:
            self._requests.forget(pending)
            raise
        self._events.interrupt()
        return pending

    def _send(self, transport: RecordTransport, record: Record) -> None:
        try:
            transport.send_nowait(encode_record(record))
        except trio.BrokenResourceError:
            pass  # Pi is dying: the request fails with its exit status as soon as that is known
        except trio.ClosedResourceError:
            raise self._gone() from None
        except trio.WouldBlock:
            raise ClientError("Pi does not read its stdin, and too much is waiting for it already") from None

    async def bash(
        self, command: str, *, exclude_from_context: bool = False, timeout: float | None = None
    ) -> BashResult:
        """Run a shell command in Pi's session. Its output streams as ``bash_execution_update`` events.

        One at a time: another waits for its turn (Pi can abort only all of them together). There is no time-out
        unless one is given, in seconds from its turn. Cancelled or timed out, it has Pi end the command.
        Raises as :meth:`request`.
        """
        params: Record = {"command": command}
        if exclude_from_context:
            params["excludeFromContext"] = True
        async with self._bash_lock:
            transport = await self._connected("bash", timeout)
            try:
                data = await self._ask(transport, "bash", params, timeout)
            except (trio.Cancelled, RequestTimeout):
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.WouldBlock):
                    transport.send_nowait(encode_record({"type": "abort_bash"}))
                raise
        return response_data("bash", data, BashResult)

    # --- dialogs -------------------------------------------------------------------------------------

    @property
    def dialog_handler(self) -> DialogHandler | None:
        """Who answers the dialogs of Pi's extensions: see :mod:`pi_trio.client.dialogs`. May be set at any time.

        With ``None`` they are dismissed: an extension gets ``undefined``, or for a confirmation ``false``. So is what
        the handler does not answer (``None``), or fails to. It is cancelled when the dialog's own time is over, and
        when its Pi ends; that Pi has given a dialog up for another reason, it does not tell.
        """
        return self._desk.handler

    @dialog_handler.setter
    def dialog_handler(self, handler: DialogHandler | None) -> None:
        self._desk.handler = handler

    async def serve_dialogs(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let the handler answer dialogs, until cancelled. For whoever runs :meth:`serve`, beside that."""
        await self._desk.serve(task_status=task_status)

    def add_dialog_interceptor(self, interceptor: DialogInterceptor) -> None:
        """Show it every ``extension_ui_request`` first, behind the interceptors that are there already."""
        self._desk.add_interceptor(interceptor)

    def remove_dialog_interceptor(self, interceptor: DialogInterceptor) -> None:
        """Show it no more requests. Idempotent."""
        self._desk.remove_interceptor(interceptor)

    def answer_dialog(self, id: str, response: Mapping[str, Any]) -> None:
        """Send Pi the ``extension_ui_response`` to the dialog with this id.

        ``response`` is ``{"value": ...}``, ``{"confirmed": ...}`` or ``{"cancelled": True}``. It is dropped when
        there is no connection any more: the dialog went with it. Pi ignores an answer it does not wait for.
        """
        self._desk.answer(id, response)

    def _send_or_drop(self, record: Record) -> None:
        if self._transport is not None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.WouldBlock):
                self._transport.send_nowait(encode_record(record))

    # --- events and runs -----------------------------------------------------------------------------

    def subscribe(self, *, capacity: int = 10_000, when_full: WhenFull = WhenFull.LAG) -> EventStream:
        """Pi's events from now on, in a buffer of ``capacity`` records of its own.

        When that is full: with ``WhenFull.LAG`` the oldest are lost, and a :class:`Lagged` says how many; with
        ``WhenFull.WAIT`` Pi itself is held up until there is room (its pipe fills, and it waits).
        """
        return EventStream(self._events.subscribe(capacity=capacity, when_full=when_full))

    @asynccontextmanager
    async def run(
        self,
        message: str,
        *,
        images: Sequence[ImageContent] = (),
        if_busy: Literal["wait", "refuse"] = "wait",
        timeout: float | None = None,
    ) -> AsyncIterator[Run]:
        """Prompt Pi; the run's events are read from what this yields, until Pi has settled.

        One run goes on at a time: another waits for its turn, or with ``if_busy="refuse"`` raises
        :class:`RunBusy`. Leaving early, by whatever way, ends the run: what is queued is taken back, Pi is told
        to abort, and that is waited for, at most 5 seconds, even when cancelled.

        ``timeout`` is in seconds from now, the wait for its turn included: then the body is cancelled, and the run
        ended as when it is left early.

        Raises:
            CommandFailed: Pi refused the prompt (no model, no key for it, ...).
            RunBusy: see above.
            RunTimeout: see above.
            RequestTimeout, ProcessExited, ConnectionClosed: as :meth:`request`.
        """
        if if_busy == "refuse" and self._run_lock.locked():
            raise RunBusy("a run is going on already; wait for it, or leave it")
        run: Run | None = None
        with trio.move_on_after(math.inf if timeout is None else timeout) as scope:
            async with self._running(message, images) as run:
                yield run
        if scope.cancelled_caught:
            raise RunTimeout(timeout or 0.0, run.reply if run else None)

    @asynccontextmanager
    async def _running(self, message: str, images: Sequence[ImageContent]) -> AsyncIterator[Run]:
        async with self._run_lock:
            transport = await self._connected("prompt", self._request_timeout)
            subscription = self._events.subscribe(capacity=_RUN_CAPACITY, when_full=WhenFull.WAIT)
            self._run_subscriptions.add(subscription)
            run = Run(subscription, self)
            try:
                await self._start_run(run, message, images)
                yield run
            except CommandFailed as error:
                if error.command == "prompt" and run._accepted_at is None:
                    run._set_handled()  # refused: there is nothing to end
                raise
            finally:
                run._leave()
                self._run_subscriptions.discard(subscription)
                subscription.close()
                if not run.settled and self._transport is transport:  # not a Pi that took over since
                    await self._end_run()

    async def _start_run(self, run: Run, message: str, images: Sequence[ImageContent]) -> None:
        starts_before = self._agent_starts

        def accepted(record: Record) -> None:
            if record.get("success") is True:
                run._accepted()

        # A run has no time-out unless one is asked for, and neither has its beginning: an extension of Pi may ask
        # a person before the prompt is accepted.
        disposition = await self.prompt(message, images=images, timeout=None, on_response=accepted)
        if disposition == "handled":
            run._set_handled()
        elif disposition is None and self._agent_starts == starts_before:
            # Pi 0.87 does not say whether a run starts. If one does, it is under way before Pi reads on.
            state = await self.get_state()
            if self._agent_starts == starts_before and not state.is_streaming:
                run._set_handled()

    async def _end_run(self) -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(_ABORT_TIMEOUT) as scope:
            try:
                await self.clear_queue()
                await self.abort(timeout=None)
                while (await self.get_state()).is_streaming:
                    await trio.sleep(0.01)
            except ClientError as error:
                _log.debug("%s: the run ended by itself: %s", self._name, error)
        if scope.cancelled_caught:
            _log.warning("%s: Pi is still busy %g s after it was told to abort", self._name, _ABORT_TIMEOUT)

    async def send(
        self, message: str, *, images: Sequence[ImageContent] = (), check: bool = True, timeout: float | None = None
    ) -> Reply:
        """Prompt Pi, wait until it has settled, return what came of it. Cancelled, it aborts the run.

        Raises:
            RunFailed: the model or its provider failed, unless ``check`` is false.
            RunTimeout: it was not over within ``timeout`` seconds.
            CommandFailed, ProcessExited, ConnectionClosed, RequestTimeout: as :meth:`run`.
        """
        async with self.run(message, images=images, timeout=timeout) as run:
            return await run.result(check=check)
