"""One run, told in chunks. It may have to be told in parts, to one caller after the other: a tool of the peer's holds it
up until there is a result, and who brings that may be another call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

import trio

from ...client import PiClient, Reconnected, Reply
from ...protocol import (
    Event,
    ImageContent,
    MessageEnd,
    MessageUpdate,
    Record,
    ToolCall,
    ToolExecutionEnd,
    ToolExecutionStart,
)
from .wire import failure, usage_record

__all__ = ["PAUSE", "Exchange"]

PAUSE: Record = {"type": "done", "stop_reason": "tool_use"}
"""The last chunk for a caller who hears no more, though the run goes on."""


class Exchange:
    """Runs a prompt in a task of its own (:meth:`run`), and gives out what comes of it."""

    def __init__(self, client: PiClient, is_peers_tool: Callable[[str], bool], expect: Callable[[str], None]) -> None:
        """``expect`` is told of each call of a tool of the peer's, as soon as the model has made it."""
        self._client = client
        self._is_peers_tool = is_peers_tool
        self._expect = expect
        self._send, self._hearing = trio.open_memory_channel[Record](math.inf)
        self._changed = trio.lowlevel.ParkingLot()
        self._arguments: dict[str, Record] = {}
        self.heard = False
        """Whether somebody hears what it tells."""
        self.awaited: list[Record] = []
        """The calls of the peer's tools that hold it up: no result was brought yet."""
        self.reply: Reply | None = None
        """What the run came to, when it is over and went well enough to have come to anything."""
        self.error: Exception | None = None
        """What it failed with, when it did."""
        self.over = False

    async def run(self, message: str, images: Sequence[ImageContent]) -> None:
        """The run. Raises nothing but what cancels it: then Pi is told to abort."""
        try:
            async with self._client.run(message, images=images) as run:
                async for event in run:
                    if not isinstance(event, Reconnected):
                        self._take(event)
                self.reply = await run.result(check=False)
        except Exception as error:  # told to whoever waits for it
            self.error = error
        finally:
            self.over = True
            self._await([])
            self._put_end()
            self._send.close()

    # --- for callers -------------------------------------------------------------------------------------

    @property
    def told(self) -> bool:
        """Whether somebody has heard its end."""
        return self.over and not self._hearing.statistics().current_buffer_used

    def hear(self) -> trio.MemoryReceiveChannel[Record]:
        """For another caller, what nobody has heard yet. The one before is done, because of tools."""
        before, unheard = self._send, self._hearing
        self._send, self._hearing = trio.open_memory_channel[Record](math.inf)
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                self._put(unheard.receive_nowait())
        if self.over:
            self._send.close()
        elif self.heard:
            before.send_nowait(PAUSE)
        before.close()
        self.heard = True
        return self._hearing

    def leave(self, hearing: trio.MemoryReceiveChannel[Record]) -> None:
        """Whoever had this hears no more. What comes is kept for another."""
        if hearing is self._hearing:
            self.heard = False

    def brought(self, call_ids: Collection[str]) -> None:
        """These calls have their results."""
        self._await([call for call in self.awaited if call["id"] not in call_ids])

    async def wait_over(self) -> bool:
        """Wait for its end, or until it waits for the peer. Whether it is the end."""
        while not self.over and not self.awaited:
            await self._changed.park()
        return self.over

    # --- what comes of the run ---------------------------------------------------------------------------

    def _await(self, calls: list[Record]) -> None:
        self.awaited = calls
        self._changed.unpark_all()

    def _put(self, chunk: Record) -> None:
        self._send.send_nowait(chunk)

    def _put_end(self) -> None:
        if self.error is not None:
            told = failure(self.error)
            self._put({"type": "error", "error": {"code": told.code, "message": str(told)}})
        elif self.reply is not None and self.reply.stop_reason == "error":
            message = self.reply.error_message or "no reason was given"
            self._put({"type": "error", "error": {"code": "run_failed", "message": message}})
        usage = {} if self.reply is None else {"usage": usage_record(self.reply.usage)}
        self._put({"type": "done", "stop_reason": self._stop_reason(), **usage})

    def _stop_reason(self) -> str:
        if self.reply is None:
            return "error"
        return {"toolUse": "tool_use", None: "handled"}.get(self.reply.stop_reason) or str(self.reply.stop_reason)

    def _take(self, event: Event) -> None:
        if isinstance(event, MessageUpdate):
            if event.text_delta:
                self._put({"type": "content", "content": event.text_delta})
        elif isinstance(event, MessageEnd):
            self._note_calls(getattr(event.message, "tool_calls", ()))
        elif isinstance(event, ToolExecutionStart):
            arguments = event.args if isinstance(event.args, dict) else {}
            self._put_call({"id": event.tool_call_id, "name": event.tool_name, "arguments": arguments})
        elif isinstance(event, ToolExecutionEnd):
            self.brought([event.tool_call_id])
            result = {"tool_call_id": event.tool_call_id, "content": event.text, "is_error": event.is_error}
            self._put({"type": "tool_result", "tool_result": result})

    def _note_calls(self, calls: Sequence[ToolCall]) -> None:
        """The peer is told of its own at once, all of them: it may have to answer before Pi gets to the next one."""
        made: list[Record] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments}
            for call in calls
            if self._is_peers_tool(call.name)
        ]
        for each in made:
            self._expect(each["id"])
            self._put_call(each)
        self._await(self.awaited + made)

    def _put_call(self, call: Record) -> None:
        if call["id"] not in self._arguments:
            self._arguments[call["id"]] = call["arguments"]
            self._put({"type": "tool_call", "tool_call": call})
