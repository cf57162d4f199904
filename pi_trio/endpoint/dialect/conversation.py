"""The dialect, spoken with one peer."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias

import attrs
import trio

from ...protocol import ImageContent, Record
from ...supervisor import Instance
from ..conversation import Conversation
from ..peer import Peer
from ..said import Said
from ..scope import Scope
from .exchange import Exchange
from .session import Session
from .talk import Talk, Tell
from .tools import PeerTools
from .tree import Tree
from .wire import (
    Call,
    DialectError,
    Later,
    chunk_message,
    error_message,
    failure,
    iso_time,
    notification,
    parse_call,
    request_id,
    result_message,
)

__all__ = ["Dialect"]

_log = logging.getLogger("pi_trio.endpoint")

Handler: TypeAlias = Callable[[Call], Awaitable[Record | Later]]
Doing: TypeAlias = Callable[[], Awaitable[Record | Later]]


@attrs.frozen
class _Method:
    scope: Scope
    handle: Handler
    in_turn: bool = False
    """Whether it has to wait for those that were called before it: what they do depends on their order."""
    at_once: Callable[[Call], Later | None] | None = None
    """What of it is done the moment it comes. What that returns has no turn to wait for."""


class Dialect(Conversation):
    """Answers every call, in its own time; those that change something, one behind the other.

    None waits for a result that the peer owes: then it is busy.
    """

    def __init__(self, peer: Peer, instance: Instance, *, max_in_flight: int) -> None:
        self._peer = peer
        self._instance = instance
        self._max_in_flight = max_in_flight
        self._in_flight = 0
        self._send_at_once, self._at_once = trio.open_memory_channel[tuple[Call, Doing]](math.inf)
        self._send_in_turn, self._in_turn = trio.open_memory_channel[Call](math.inf)
        self._nursery: trio.Nursery | None = None
        self._tools = PeerTools(instance.tools, self._tell_of_call)
        self._talk = Talk(instance.client, self._tools, emit=self._emit, start=self._start)
        session = Session(instance, self._tools, self._talk, scope=peer.scope)
        self._methods = self._table(session, self._talk, Tree(instance.client))

    def _table(self, session: Session, talk: Talk, tree: Tree) -> dict[str, _Method]:
        def says(tell: Tell) -> _Method:
            return _Method(Scope.PROMPT, partial(talk.begin, tell), in_turn=True, at_once=partial(talk.go_on, tell))

        return {
            "session.init": _Method(Scope.CONTROL, session.init, in_turn=True),
            "session.close": _Method(Scope.CONTROL, session.close),
            "session.send": says(talk.whole),
            "session.send_stream": says(talk.in_chunks),
            "session.submit_tool_result": _Method(Scope.PROMPT, _accepted, at_once=talk.submit_tool_result),
            "session.kill": _Method(Scope.CONTROL, self._kill),
            "session.status": _Method(Scope.OBSERVE, session.status),
            "session.switch_model": _Method(Scope.CONTROL, session.switch_model),
            "session.switch_provider": _Method(Scope.CONTROL, session.switch_provider),
            "tree.get": _Method(Scope.OBSERVE, tree.get),
            "tree.branch": _Method(Scope.CONTROL, tree.branch, in_turn=True),
            "tree.switch_branch": _Method(Scope.CONTROL, tree.switch_branch, in_turn=True),
            "tree.fork": _Method(Scope.CONTROL, tree.fork, in_turn=True),
            "tree.compact": _Method(Scope.CONTROL, tree.compact, in_turn=True),
        }

    # --- calls -------------------------------------------------------------------------------------------

    def take(self, message: bytes) -> None:
        """See :class:`Conversation`."""
        try:
            call = parse_call(message)
        except DialectError as error:
            self._peer.send(error_message(request_id(message), error))
            return
        try:
            method = self._permitted(call)
            later = None if method.at_once is None else method.at_once(call)
        except DialectError as error:
            self._peer.send(error_message(call.id, error))
            return
        self._in_flight += 1
        if method.in_turn and later is None:
            self._send_in_turn.send_nowait(call)
        else:
            self._send_at_once.send_nowait((call, later or partial(method.handle, call)))

    def _permitted(self, call: Call) -> _Method:
        method = self._methods.get(call.method)
        if method is None:
            raise DialectError("method_not_found", f"there is no method {call.method!r}")
        if self._peer.scope < method.scope:
            raise DialectError(
                "forbidden", f"{call.method} needs the scope {method.scope}; this connection has {self._peer.scope}"
            )
        if self._in_flight >= self._max_in_flight:
            raise DialectError("busy", f"{self._max_in_flight} requests are waiting for an answer already")
        return method

    async def run(self) -> None:
        """See :class:`Conversation`."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._perform_in_turn)
                async for call, do in self._at_once:
                    self._nursery.start_soon(self._perform, call, do)
        finally:
            await self._tools.leave()

    async def _perform_in_turn(self) -> None:
        async for call in self._in_turn:
            await self._perform(call, partial(self._take_turn, call))

    async def _take_turn(self, call: Call) -> Record | Later:
        await self._talk.wait_quiet()
        return await self._methods[call.method].handle(call)

    async def _perform(self, call: Call, do: Doing) -> None:
        try:
            done = await do()
            if callable(done):
                assert self._nursery is not None, "calls are performed in it"
                self._nursery.start_soon(self._perform, call, done)
                return
            answer = result_message(call.id, done)
        except Exception as error:  # every call is answered
            told = failure(error)
            if told.code == "internal_error":
                _log.exception("%s: %s failed", self._peer.name, call.method)
            answer = error_message(call.id, told)
        self._in_flight -= 1
        self._peer.send(answer)

    def _start(self, exchange: Exchange, message: str, images: Sequence[ImageContent]) -> None:
        assert self._nursery is not None, "calls are performed in it"
        self._nursery.start_soon(exchange.run, message, images)

    def _emit(self, call: Call, chunk: Record) -> None:
        self._peer.send(chunk_message(call.id, chunk))

    async def _kill(self, call: Call) -> Record:
        force = call.take("force", bool, default=False) is True
        assert self._nursery is not None, "calls are performed in it"
        # Answered first: the end of the instance is the end of this connection.
        self._nursery.start_soon(partial(self._instance.stop, force=force))
        await trio.lowlevel.checkpoint()
        return {"killed": True, "session_id": self._instance.client.session_id}

    # --- what nobody asked for -----------------------------------------------------------------------------

    def _tell_of_call(self, call: Record) -> None:
        self._peer.send(notification("tool.called", call))

    def show(self, said: Said) -> None:
        """See :class:`Conversation`: beginnings, ends and whole messages; what is streamed, ``send_stream`` tells."""
        for item in said.items if self._peer.wants_events else ():
            if isinstance(item, dict) and (told := _told_of(item)) is not None:
                self._peer.send(told)

    def ask(self, dialog: Record) -> None:
        """See :class:`Conversation`: never put to it."""

    @property
    def answers_dialogs(self) -> bool:
        """See :class:`Conversation`. The dialect has no word for them."""
        return False


async def _accepted(call: Call) -> Record:
    await trio.lowlevel.checkpoint()
    return {"accepted": True, "tool_call_id": call.params["tool_call_id"]}


def _told_of(event: Record) -> Record | None:
    kind = event.get("type")
    if kind in ("agent_start", "agent_settled"):
        state = "busy" if kind == "agent_start" else "idle"
        return notification("session.state_changed", {"state": state, "at": iso_time()})
    message = event.get("message")
    if kind == "message_end" and isinstance(message, dict):
        blocks = message.get("content")
        if isinstance(blocks, list):
            text = "".join(str(block.get("text", "")) for block in blocks if isinstance(block, dict))
        else:
            text = str(blocks or "")
        at = message.get("timestamp")
        moment = iso_time(at if isinstance(at, int | float) else None)
        return notification("message.completed", {"role": message.get("role"), "content": text, "at": moment})
    return None
