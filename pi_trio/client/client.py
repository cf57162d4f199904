"""PiClient: requests, events and runs over whatever carries records to one Pi."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import trio

from ..abc import RecordTransport
from ..concurrency import Broadcast, Changes, Subscription, Watched, WhenFull
from ..errors import (
    ClientError,
    CommandFailed,
    ConnectionClosed,
    ConnectionLost,
    InvalidResponse,
    ProtocolError,
    RequestTimeout,
    RunBusy,
    RunTimeout,
)
from ..lifecycle import ConnectionState
from ..protocol import (
    DIALOG_METHODS,
    STREAMED,
    BashResult,
    DialogHandler,
    ImageContent,
    Item,
    Record,
    State,
    decode_line,
    encode_record,
    response_data,
)
from .arguments import check_one_of
from .branches import Branches
from .commands import Commands
from .desk import DialogDesk
from .dialogs import DialogInterceptor
from .event_stream import EventStream
from .forwarding import response_to
from .gate import Gate
from .greeting import Greeting
from .intake import Intake
from .reconnected import Reconnected
from .reply import Reply
from .requester import UNSET, Unset
from .requests import ForwardedRequest, PendingRequest, RequestTable
from .run import Run
from .turn import Turn

__all__ = ["PiClient"]

_log = logging.getLogger("pi_trio.client")

# Events that mean something to the client itself.
_ROUTED = ("extension_ui_request", "agent_start", "agent_settled")

# Commands behind which Pi may be in another session ...
_MOVES = frozenset({"new_session", "switch_session", "fork", "clone"})

# ... or otherwise another than its successor would be.
_CHANGES_STATE = _MOVES | {"set_model", "cycle_model", "set_thinking_level", "cycle_thinking_level"}

# Into which no prompt must come, or it is lost.
_UNSETTLING = _MOVES | {"compact"}

# Whose responses mean something to the client itself, also when somebody else asked.
_HEEDED = _CHANGES_STATE | _UNSETTLING

# What ends the run that goes on.
_ENDING = _UNSETTLING | {"abort"}

# How many records a run's reader may be behind before Pi is held up.
_RUN_CAPACITY = 4096

# How long leaving a run early waits for Pi to become idle. A tool that does not mind being aborted can
# hold it longer; the next prompt is then refused by Pi itself.
_ABORT_TIMEOUT = 5.0


def _unsent(error: ConnectionClosed) -> ConnectionClosed:
    error.unsent = True
    return error


def _left(deadline: float) -> float | None:
    return None if deadline == math.inf else max(0.0, deadline - trio.current_time())


def _data_of(command: str, response: Record) -> Any:
    if response.get("success") is not True:
        if response.get("lost") is True:  # an endpoint says so, when its Pi went before it had answered
            raise ConnectionLost(str(response.get("error", "no reason was given")), uncertain=True)
        raise CommandFailed(command, str(response.get("error", "no reason was given")))
    return response.get("data")


class PiClient(Commands):
    """Talks to one Pi. Every method may be called from any task.

    Each request ends exactly once: with Pi's response, or with an error that says what happened. Responses
    do not wait behind events: a subscriber that has to be waited for holds Pi up only while no request is
    under way.
    """

    def __init__(self, name: str = "", *, request_timeout: float = 30.0, gate: Gate | None = None) -> None:
        self.name = name
        """What it is called in messages."""
        self._request_timeout = request_timeout
        self._transport: RecordTransport | None = None
        self._ready: RecordTransport | None = None  # the same, when what is behind it is ready for requests
        self._gate = gate or Gate()
        self._why_closed: Callable[[], ConnectionClosed] | None = None
        self._requests = RequestTable()
        self._intake: Intake | None = None
        self._dropped: list[str] = []  # ids of requests that the transport did not take any more
        self._connection_state = Watched(ConnectionState.CONNECTING)
        self._events: Broadcast[Item | Reconnected] = Broadcast()
        self.turn = Turn()
        """Who may prompt."""
        self._run: Run | None = None
        self._draining = False
        self._agent_starts = 0
        self._settlements = 0
        self._bash_lock = trio.Lock()
        self._desk = DialogDesk(name, self._send_or_drop)
        self.branches = Branches(self, self._desk, self.turn)
        """The ways through the session."""
        self.session_id: str | None = None
        """The session Pi was last known to be in."""
        self.last_state: State | None = None
        """What it last said of itself."""
        self.on_state: Callable[[State], None] | None = None
        """Called with each state that Pi tells, for whoever has to know what changes: its supervisor."""
        self.on_detached: Callable[[ConnectionClosed], None] | None = None
        """Called when the connection is gone, and everything that was under way has been failed with this."""
        self.events_received = 0
        """How many of what came was for everybody: no answers, no dialogs."""
        self.records_received = 0
        """How many records have come from Pi, over all its incarnations."""
        self._late_responses = 0

    def __repr__(self) -> str:
        state = "closed" if self._events.closed else "connected" if self._transport else "not connected"
        return f"<PiClient {self.name} {state} {len(self._requests)} pending>"

    @property
    def connection_state(self) -> ConnectionState:
        """Where the connection stands now."""
        return self._connection_state.value

    def connection_states(self) -> Changes[ConnectionState]:
        """Where it stands now, and then each change; what was for a moment only may be passed over."""
        return self._connection_state.changes()

    async def wait_connected(self) -> None:
        """Wait until there is a connection on which Pi has answered.

        Raises:
            ConnectionClosed: there will be none any more.
        """
        state = await self._connection_state.wait_for(
            lambda state: state in (ConnectionState.CONNECTED, ConnectionState.CLOSED)
        )
        if state is ConnectionState.CLOSED:
            raise self._gone()

    @property
    def connected(self) -> bool:
        """Whether there is a Pi that is ready for requests; if not, they wait."""
        return self._ready is not None

    # --- wiring: for whoever owns the connection ---------------------------------------------------

    def attach(self, transport: RecordTransport, marker: Reconnected | None = None) -> None:
        """There is a Pi again. Whoever attached it runs :meth:`serve`, and calls :meth:`open` when it is ready.

        ``marker`` is shown to the subscribers in its place.
        """
        self._transport = transport
        self._draining = False
        self._intake = None  # until it is served
        if marker is not None:
            if self._run is not None:
                self._run._carry_over(transport, marker.state, same_session=marker.state.session_id == self.session_id)
            self._events.publish([marker])

    def open(self) -> None:
        """The Pi is ready: requests that waited for it go out, and later ones at once."""
        self._ready = self._transport
        self._gate.open()
        self._connection_state.set(ConnectionState.CONNECTED)

    def take_in(self, greeting: Greeting) -> None:
        """Heed what came on the attached transport before it was served."""
        self.session_id, self.last_state = greeting.state.session_id, greeting.state
        self._route(greeting.items)

    async def probe(self, *, timeout: float) -> State:
        """``get_state`` on what is attached, ready or not: for its owner, who wants to know. Raises as `request`."""
        if self._transport is None:
            raise self._gone()
        return self._note(await self._ask(self._transport, "get_state", None, timeout))

    def _note(self, data: Any) -> State:
        state = response_data("get_state", data, State)
        self.session_id, self.last_state = state.session_id, state
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
        self._gate.open()
        self._connection_state.set(ConnectionState.CLOSED)
        self._fail_requests(why)
        self.drain()

    def drain(self) -> None:
        """Read on whatever the subscribers do: what is left in the pipe is all there will be."""
        self._draining = True
        self._events.interrupt()

    def detach(self, why: Callable[[], ConnectionClosed], *, keep_run: bool = False) -> None:
        """The connection is gone: fail requests and, unless ``keep_run`` with it, the run. New requests wait for the
        next one, and subscribers too.
        """
        self._transport = self._ready = None
        self.turn.clear()
        if self._why_closed is None:
            self._gate.shut()
            self._connection_state.set(ConnectionState.AWAY)
        self._fail_requests(why)
        self._desk.close()
        if self._run is not None and not (keep_run and self._run._outlives_connection):
            self._run._fail(why)
        self.drain()
        if self.on_detached is not None:
            self.on_detached(why())

    def _fail_requests(self, why: Callable[[], ConnectionClosed]) -> None:
        dropped, self._dropped = self._dropped, []
        self._requests.fail(dropped, lambda: _unsent(why()))
        self._requests.fail_all(why)

    def lose(self, reason: str, unsent: Sequence[bytes], *, keep_run: bool) -> None:
        """As :meth:`detach`, from a Pi that goes on without us; the run, too, if it is to be kept. Requests among the
        ``unsent`` are sent to the next one.
        """
        ids = [str(record.get("id")) for record in map(decode_line, unsent) if isinstance(record, dict)]
        self._requests.fail((*ids, *self._dropped), lambda: ConnectionLost(reason, uncertain=False))
        self.detach(lambda: ConnectionLost(reason, uncertain=True), keep_run=keep_run)

    def close(self, why: Callable[[], ConnectionClosed], *, quietly: bool) -> None:
        """There will be no other connection. ``quietly``: subscribers find the end, not the error."""
        self.refuse(why)
        self.detach(why)
        self._events.close(None if quietly else why)

    def _gone(self) -> ConnectionClosed:
        return _unsent(
            self._why_closed() if self._why_closed else ConnectionClosed(f"{self.name or 'Pi'} is not connected")
        )

    def _route(self, items: Sequence[Item]) -> bool:
        """Give every item to whom it belongs. Whether there was a response among them that somebody here waits for."""
        self.records_received += len(items)
        events: list[Item] = []
        answered = False
        forwarded = self._requests.by_line
        for item in items:
            if isinstance(item, bytes):
                if item.startswith(STREAMED):
                    events.append(item)
                    continue
                if forwarded and (taker := self._requests.taker_of(item)) is not None:
                    events = self._published(events)
                    taker.take_line(item)
                    continue
                record = decode_line(item)
            else:
                record = item
            if type(record) is dict:
                kind = record.get("type")
                if kind == "response" and record.get("id") is not None:
                    events = self._published(events)
                    resolved = self._requests.resolve(record)
                    if not resolved or self.turn.waits:  # rarely
                        self._note_response(record, late=not resolved)
                    answered = True
                    continue
                if kind in _ROUTED and self._heed(record):
                    continue
            elif isinstance(item, bytes) and not item.strip():
                continue  # a blank line is no record
            events.append(record)
        self._published(events)
        return answered

    def _published(self, events: list[Item]) -> list[Item]:
        """Events that came before a response are there when whoever asked goes on. Returns those that are left: none."""
        if events:
            self.events_received += len(events)
            self._events.publish(events)
        return []

    def _note_response(self, response: Record, *, late: bool) -> None:
        self.turn.over(response["id"])
        if late:
            self._late_responses += 1
            _log.debug("%s: a response nobody waits for: %s", self.name, response.get("command"))

    def _heed(self, event: Record) -> bool:
        """Note what an event means to the client itself. Whether it concerns nobody else."""
        if event["type"] == "agent_start":
            self._agent_starts += 1
            return False
        if event["type"] == "agent_settled":
            self._settlements += 1
            return False
        if self._desk.take(event):
            return True
        if event.get("method") in DIALOG_METHODS:
            self.events_received -= 1  # it becomes an event, but one that is not for all
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
        client's own by default. While Pi is being started again, or connected to again, the request waits for it,
        within its time-out. Cancelling gives the request up; Pi may still carry it out.

        Raises:
            CommandFailed: Pi refused.
            RequestTimeout: no response in time.
            ProcessExited: Pi is gone, or went before it had answered.
            ConnectionLost: the connection was, before Pi had answered; or there is none, and too many wait for one.
            ConnectionClosed: it was stopped, or is being stopped.
        """
        seconds = self._request_timeout if isinstance(timeout, Unset) else timeout
        transport = self._ready
        if transport is None:  # rarely: the usual request is spared a coroutine and two looks at the clock
            return await self._request_later(command, params, seconds, on_response)
        # As _ask, but without a coroutine of its own.
        pending = self._submit(transport, command, params, seconds, on_response)
        try:
            return _data_of(command, await pending.wait(self._intake))
        except ConnectionLost as lost:
            if lost.uncertain:
                raise
        left = None if seconds is None else max(0.0, pending.deadline - trio.current_time())
        return await self._request_later(command, params, left, on_response)

    async def _request_later(
        self,
        command: str,
        params: Record | None,
        seconds: float | None,
        on_response: Callable[[Record], None] | None,
    ) -> Any:
        """Request it of the next Pi that is ready, and of the one behind that if it was not even sent."""
        deadline = math.inf if seconds is None else trio.current_time() + seconds
        while True:
            transport = await self._connected(command, _left(deadline))
            pending = self._submit(transport, command, params, _left(deadline), on_response)
            try:
                return _data_of(command, await pending.wait(self._intake))
            except ConnectionLost as lost:
                if lost.uncertain:
                    raise

    async def _connected(self, command: str, seconds: float | None) -> RecordTransport:
        """The connection to a Pi that is ready, waited for if need be. No checkpoint when there is one."""
        if not self._gate.is_open:
            await self._gate.wait(command, seconds)
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
        if seconds is not None and not seconds >= 0:
            raise ValueError(f"timeout must be 0 or more, not {seconds}")
        id_ = self._requests.new_id()
        record = {"id": id_, "type": command}
        taken = self._send(transport, {**params, **record} if params else record)
        # Behind the sending: Pi may begin while we note that it was asked. Nothing is read before somebody waits.
        pending = self._requests.open(command, on_response, timeout=seconds, id=id_)
        if not taken:
            self._dropped.append(id_)
        if command in _ENDING:
            self._unsettle(command, id_)
        self._events.interrupt()
        return pending

    def _unsettle(self, command: str, id: str) -> None:
        if self._run is not None:
            self._run._is_aborted()
        if command in _UNSETTLING:
            self.turn.began(id)

    def _send(self, transport: RecordTransport, record: Record) -> bool:
        """Whether the transport took it."""
        try:
            transport.send_nowait(encode_record(record))
        except trio.BrokenResourceError:
            return False  # Pi is dying: the request fails with its exit status as soon as that is known
        except trio.ClosedResourceError:
            raise self._gone() from None
        except trio.WouldBlock:
            raise ClientError("Pi does not read its stdin, and too much is waiting for it already") from None
        return True

    async def _let_prompt_arrive(self) -> None:
        await self.turn.let_arrive()

    async def _refresh(self) -> None:
        await self.get_state()

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
            data = await self._bash(params, timeout)
        return response_data("bash", data, BashResult)

    async def _bash(self, params: Record, timeout: float | None) -> Any:
        while True:
            transport = await self._connected("bash", timeout)
            try:
                return await self._ask(transport, "bash", params, timeout)
            except (trio.Cancelled, RequestTimeout):
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.WouldBlock):
                    transport.send_nowait(encode_record({"type": "abort_bash"}))
                raise
            except ConnectionLost as lost:
                if lost.uncertain:
                    raise

    # --- what somebody else asks ---------------------------------------------------------------------

    def forward(
        self,
        command: Record,
        deliver: Callable[[Record], None],
        *,
        deliver_line: Callable[[bytes], None] | None = None,
    ) -> ForwardedRequest:
        """Send Pi a command of somebody else's, as it is but for its ``id``; never blocks.

        ``deliver`` is called once, with the response as Pi would have written it to them: with their ``id``, or
        none if they gave none. When Pi goes before it has answered, that is a failure (``success`` false) with
        ``lost`` true: it may have been carried out. With ``deliver_line``, that may be called instead, with the response as a line: whoever does not look into it
        spares everybody the decoding. It is called as the response is routed: every earlier event is with the subscribers, no later one. It must
        neither block nor raise. There is no time-out.

        Raises:
            trio.WouldBlock: there is no Pi that is ready now; :meth:`wait_ready` waits for it.
            ConnectionClosed: there will be none.
            ClientError: Pi does not read, and too much is waiting for it.
        """
        transport, kind = self._ready, str(command.get("type"))
        if transport is None:
            raise trio.WouldBlock if self._why_closed is None else self._gone()

        def done(response: Record | None, error: Exception | None) -> None:
            if kind in _CHANGES_STATE and response is not None and response.get("success") is True:
                self._look_how_it_is()
            deliver(response_to(command, response, error))

        id_ = self._requests.new_id()
        self._send(transport, {**command, "id": id_})
        # Behind the sending, as in _submit: Pi works meanwhile.
        pending = self._requests.open_forwarded(kind, done, id=id_)
        if deliver_line is not None and kind not in _HEEDED:
            self._requests.deliver_line(pending, command, deliver_line)
        if kind in _ENDING:
            self._unsettle(kind, id_)
        self._events.interrupt()
        return pending

    async def wait_ready(self, *, timeout: float | None = None) -> None:
        """Wait until there is a Pi that takes requests. Cancelling loses nothing.

        Raises:
            RequestTimeout: there was none within ``timeout`` seconds.
            ConnectionClosed: there will be none.
        """
        await self._connected("wait_ready", timeout)
        await trio.lowlevel.checkpoint()

    def _look_how_it_is(self) -> None:
        """Ask in which session Pi is now, and with which model: the one that takes over has to know. Nobody waits."""

        def note(response: Record | None, _error: Exception | None) -> None:
            with suppress(ClientError, ProtocolError):
                if response is not None:
                    self._note(_data_of("get_state", response))

        if self._transport is not None:
            self._send_or_drop({"id": self._requests.open_forwarded("get_state", note).id, "type": "get_state"})

    # --- dialogs -------------------------------------------------------------------------------------

    @property
    def dialog_fallback(self) -> DialogHandler | None:
        """Who is asked where there is no :attr:`dialog_handler`, or it leaves a dialog to somebody else."""
        return self._desk.fallback

    @dialog_fallback.setter
    def dialog_fallback(self, handler: DialogHandler | None) -> None:
        self._desk.fallback = handler

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

    def serve_dialogs(self, nursery: trio.Nursery) -> None:
        """Let the handler answer dialogs in tasks of this nursery, until :meth:`detach`. For whoever runs :meth:`serve`.

        Call it before, and cancel the nursery when the connection is gone: that ends what the handler was asked.
        """
        self._desk.open(nursery)

    def add_dialog_interceptor(self, interceptor: DialogInterceptor, *, first: bool = False) -> None:
        """Show it every ``extension_ui_request`` before any handler, behind the interceptors that are there already;
        with ``first`` before them.
        """
        self._desk.add_interceptor(interceptor, first=first)

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

    def listen(self, *, capacity: int = 10_000) -> Subscription[Item | Reconnected]:
        """Every item from now on as it came, for whoever passes it on; waited for, as with ``WhenFull.WAIT``."""
        return self._events.subscribe(capacity=capacity, when_full=WhenFull.WAIT)

    @asynccontextmanager
    async def run(
        self,
        message: str,
        *,
        images: Sequence[ImageContent] = (),
        if_busy: Literal["wait", "refuse"] = "wait",
        timeout: float | None = None,
        on_turn: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[Run]:
        """Prompt Pi; the run's events are read from what this yields, until Pi has settled.

        One run goes on at a time: another waits for its turn, or with ``if_busy="refuse"`` raises
        :class:`RunBusy`; so does one inside another of the same task, or in a tool that the other calls, which would wait
        for itself. Nor does it start while Pi goes to another session, or compacts. Leaving early, by whatever way, ends the run: what is queued is taken back, Pi is told
        to abort, and that is waited for, at most 5 seconds, even when cancelled.

        ``timeout`` is in seconds from now, the wait for its turn included: then the body is cancelled, and the run
        ended as when it is left early. ``on_turn`` is called when the wait is over, right before Pi is prompted.

        Raises:
            CommandFailed: Pi refused the prompt (no model, no key for it, ...).
            RunBusy: see above.
            RunTimeout: see above.
            RequestTimeout, ProcessExited, ConnectionClosed: as :meth:`request`.
        """
        check_one_of("if_busy", if_busy, ("wait", "refuse"))
        self.turn.check_not_inside()
        if if_busy == "refuse" and (self.turn.taken or self.turn.waits):
            raise RunBusy("a run is going on already; wait for it, or leave it")
        run: Run | None = None
        with trio.move_on_after(math.inf if timeout is None else timeout) as scope:
            async with self._running(message, images, on_turn) as run:
                yield run
        if scope.cancelled_caught:
            raise RunTimeout(timeout or 0.0, run.reply if run else None)

    @asynccontextmanager
    async def _running(
        self, message: str, images: Sequence[ImageContent], on_turn: Callable[[], None]
    ) -> AsyncIterator[Run]:
        async with self.turn.take():
            run = Run(
                await self._connected("prompt", self._request_timeout),
                self._subscribe_run(),
                self,
                lambda: self._settlements,
                message,
            )
            self._run = run
            try:
                on_turn()
                await self._start_run(run, message, images)
                yield run
            except (CommandFailed, ConnectionLost) as error:
                refused = isinstance(error, ConnectionLost) or error.command == "prompt"
                if refused and run._accepted_at is None:
                    run._set_handled()  # or lost with its Pi: there is nothing to end
                raise
            finally:
                run._leave()
                self._run = None
                if run._goes_on and self._transport is run._transport:  # not a Pi that took over since
                    await self._end_run()

    def _subscribe_run(self) -> Subscription[Item | Reconnected]:
        return self._events.subscribe(capacity=_RUN_CAPACITY, when_full=WhenFull.WAIT)

    async def _start_run(self, run: Run, message: str, images: Sequence[ImageContent]) -> None:
        starts_before = self._agent_starts

        def accepted(record: Record) -> None:
            if record.get("success") is True:
                if self._transport is not None and self._transport is not run._transport:
                    # The connection that it was meant for was lost before it was sent.
                    run._move(self._transport, self._subscribe_run())
                run._accepted()

        # A run has no time-out unless one is asked for, and neither has its beginning: an extension of Pi may ask
        # a person before the prompt is accepted.
        with self.turn.prompting():
            disposition = await self.prompt(message, images=images, timeout=None, on_response=accepted)
        if disposition == "handled":
            run._set_handled()
        elif disposition is None and self._agent_starts == starts_before:
            # Pi 0.87 does not say whether a run starts. If one does, it is under way before Pi reads on.
            transport = run._transport
            try:
                state = await self.get_state()
            except ConnectionLost:
                return  # what becomes of the run is told with the next one
            except ConnectionClosed as error:
                error.unsent = False  # the prompt, which is what the caller asks about, was sent
                raise
            if run._transport is not transport:
                return  # it was asked over the next one: by then, the run may be over
            if self._agent_starts == starts_before and not state.is_streaming:
                run._set_handled()

    async def _end_run(self) -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(_ABORT_TIMEOUT) as scope:
            try:
                await self.clear_queue()
                await self.abort(timeout=None)
                while (await self.get_state()).is_streaming:
                    await trio.sleep(0.01)
            except (ClientError, InvalidResponse) as error:  # it must not take the place of why the run is left
                _log.debug("%s: the run ended by itself: %s", self.name, error)
        if scope.cancelled_caught:
            _log.warning("%s: Pi is still busy %g s after it was told to abort", self.name, _ABORT_TIMEOUT)

    async def send(
        self,
        message: str,
        *,
        images: Sequence[ImageContent] = (),
        if_busy: Literal["wait", "refuse"] = "wait",
        check: bool = True,
        timeout: float | None = None,
    ) -> Reply:
        """Prompt Pi, wait until it has settled, return what came of it. Cancelled, it aborts the run.

        Raises:
            RunFailed: the model or its provider failed, unless ``check`` is false.
            RunTimeout: it was not over within ``timeout`` seconds.
            RunBusy, CommandFailed, ProcessExited, ConnectionClosed, RequestTimeout: as :meth:`run`.
        """
        async with self.run(message, images=images, if_busy=if_busy, timeout=timeout) as run:
            return await run.result(check=check)
