"""``session.send``, ``session.send_stream``, ``session.submit_tool_result``: what a peer says, and what it hears of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias

import trio

from ...client import PiClient
from ...protocol import ImageContent, Record
from .exchange import PAUSE, Exchange
from .params import content_of
from .tools import PeerTools
from .wire import Call, DialectError, Later, iso_time

__all__ = ["Talk", "Tell"]

Hearing: TypeAlias = trio.MemoryReceiveChannel[Record]
Tell: TypeAlias = Callable[[Call, Exchange, Hearing | None], Awaitable[Record]]
"""Answers a call with what comes of an exchange: :meth:`Talk.whole` or :meth:`Talk.in_chunks`. ``None`` instead of
something to hear: the exchange waits for other results first.
"""


class Talk:
    """One exchange goes on at a time. A call begins one, or goes on with the one whose end nobody has heard."""

    def __init__(
        self,
        client: PiClient,
        tools: PeerTools,
        *,
        emit: Callable[[Call, Record], None],
        start: Callable[[Exchange, str, Sequence[ImageContent]], None],
    ) -> None:
        """``emit`` sends a chunk for a call; ``start`` runs an exchange in the background, as long as the peer is there."""
        self._client = client
        self._tools = tools
        self._emit = emit
        self._start = start
        self._exchange: Exchange | None = None

    # --- in the very order in which calls come --------------------------------------------------------------

    def go_on(self, tell: Tell, call: Call) -> Later | None:
        """Take the results that a call brings. ``None``: it begins an exchange, for which it has to wait for its turn.

        Raises:
            DialectError: it brings nothing, or something that nobody waits for. Then nothing was taken.
        """
        message, images = content_of(call)
        results = call.take("tool_results", list, default=[]) or []
        exchange = self._exchange
        # Only results take an exchange over from a call that still hears it.
        if exchange is not None and (exchange.told or (exchange.heard and (exchange.over or not results))):
            exchange = None
        says_something = bool(message or images)
        if exchange is None and not says_something:
            raise DialectError("invalid_params", f"{call.method} needs content: there is no rest of an answer")
        self._submit(results)
        if exchange is None or (says_something and not results):
            return None
        hearing = None if exchange.awaited else exchange.hear()
        return partial(self._go_on, tell, call, exchange, hearing)

    def submit_tool_result(self, call: Call) -> None:
        """Take a tool's result. Raises :class:`DialectError`."""
        self._submit([dict(call.params)])

    def _submit(self, results: Sequence[object]) -> None:
        call_ids = self._tools.submit(results)
        if self._exchange is not None:
            self._exchange.brought(call_ids)

    # --- in turn -------------------------------------------------------------------------------------------

    async def wait_quiet(self) -> None:
        """Wait for the end of what was said before.

        Raises:
            DialectError: that waits for a result, hence for the peer itself.
        """
        over = self._exchange is None or await self._exchange.wait_over()
        if not over or self._tools.called:
            raise DialectError(
                "busy",
                "a run waits for the result of a tool: bring it (tool_results, session.submit_tool_result), or end "
                "the run (session.close)",
            )

    async def begin(self, tell: Tell, call: Call) -> Later:
        """Say something. What is returned gives the answer."""
        message, images = content_of(call)
        checkpoint = await self._checkpoint(call)
        self._tools.forget()
        self._exchange = exchange = Exchange(self._client, self._tools.__contains__, self._tools.expect)
        hearing = exchange.hear()
        self._start(exchange, message, images)
        return partial(self._tell, tell, call, exchange, hearing, checkpoint)

    def drop(self) -> None:
        """Whatever was said, belongs to a session that is over: nobody will go on with it."""
        self._exchange = None

    async def _checkpoint(self, call: Call) -> Record:
        """The node where the conversation is now: where ``tree.branch`` can come back to."""
        if not call.params.get("checkpoint"):
            return {}
        node_id = (await self._client.get_entries()).leaf_id
        return {"checkpoint": {"node_id": node_id, "created_at": iso_time()}}

    # --- answers ---------------------------------------------------------------------------------------------

    async def _go_on(self, tell: Tell, call: Call, exchange: Exchange, hearing: Hearing | None) -> Record:
        try:
            message, images = content_of(call)
            checkpoint = await self._checkpoint(call)
            if message or images:
                await self._client.steer(message, images=images)
        except BaseException:
            if hearing is not None:
                exchange.leave(hearing)
            raise
        return await self._tell(tell, call, exchange, hearing, checkpoint)

    async def _tell(
        self, tell: Tell, call: Call, exchange: Exchange, hearing: Hearing | None, checkpoint: Record
    ) -> Record:
        try:
            return {**await tell(call, exchange, hearing), **checkpoint}
        finally:
            if hearing is not None:
                exchange.leave(hearing)

    async def whole(self, _: Call, exchange: Exchange, hearing: Hearing | None) -> Record:
        """Answer when Pi is done, or needs the result of one of the peer's tools."""
        text: list[str] = []
        calls: dict[str, Record] = {}
        error: DialectError | None = None
        end = PAUSE
        if hearing is None:
            return _answer("", exchange.awaited, end)
        async for chunk in hearing:
            if chunk["type"] == "content":
                text.append(chunk["content"])
            elif chunk["type"] == "error":
                error = DialectError(chunk["error"]["code"], chunk["error"]["message"])
            elif chunk["type"] == "tool_call":
                calls[chunk["tool_call"]["id"]] = chunk["tool_call"]
                if exchange.awaited and all(each["id"] in calls for each in exchange.awaited):
                    return _answer("".join(text), exchange.awaited, end)
            elif chunk["type"] == "done":
                end = chunk
        if error is not None:
            raise error
        return _answer(_last_text(exchange, end, text), list(calls.values()), end)

    async def in_chunks(self, call: Call, exchange: Exchange, hearing: Hearing | None) -> Record:
        """Tell every chunk, and then answer. The last is of type ``done``."""
        text: list[str] = []
        end = PAUSE
        if hearing is None:
            self._emit(call, end)
            return _answer("", exchange.awaited, end)
        async for chunk in hearing:
            self._emit(call, chunk)
            if chunk["type"] == "content":
                text.append(chunk["content"])
            end = chunk
        return _answer(_last_text(exchange, end, text), (), end)


def _last_text(exchange: Exchange, end: Record, heard: Sequence[str]) -> str:
    """What the model said last; where the exchange went on with another call, what was heard of it."""
    return "".join(heard) if end is PAUSE or exchange.reply is None else exchange.reply.text


def _answer(text: str, calls: Sequence[Record], end: Record) -> Record:
    usage = {"usage": end["usage"]} if "usage" in end else {}
    return {"content": text, "tool_calls": list(calls), "stop_reason": end["stop_reason"], **usage}
