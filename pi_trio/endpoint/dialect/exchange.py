"""One run, told in chunks. It may have to be told in parts: a tool of the peer's holds it up until there is a result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

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

__all__ = ["Exchange"]


class Exchange:
    """Runs a prompt in a task of its own (:meth:`run`), and gives out what comes of it."""

    def __init__(self, client: PiClient, is_peers_tool: Callable[[str], bool], expect: Callable[[str], None]) -> None:
        """``expect`` is told of each call of a tool of the peer's, as soon as the model has made it."""
        self._client = client
        self._is_peers_tool = is_peers_tool
        self._expect = expect
        self._send, self._receive = trio.open_memory_channel[Record](math.inf)
        self._arguments: dict[str, Record] = {}
        self.awaited: list[Record] = []
        """The peer's tools that the model has called in its last answer."""
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
            self._put_end()
            self._send.close()

    async def next_chunk(self) -> Record | None:
        """Wait for the next chunk; ``None`` behind the last."""
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            return None

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
        self._put({"type": "done", "stop_reason": self.stop_reason, **usage})

    @property
    def stop_reason(self) -> str:
        """Why it stopped."""
        if self.reply is None:
            return "error" if self.over else "tool_use"
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
            self.awaited = [call for call in self.awaited if call["id"] != event.tool_call_id]
            result = {"tool_call_id": event.tool_call_id, "content": event.text, "is_error": event.is_error}
            self._put({"type": "tool_result", "tool_result": result})

    def _note_calls(self, calls: Sequence[ToolCall]) -> None:
        """The peer is told of its own at once, all of them: it may have to answer before Pi gets to the next one."""
        for call in calls:
            if self._is_peers_tool(call.name):
                self._expect(call.id)
                made: Record = {"id": call.id, "name": call.name, "arguments": call.arguments}
                self.awaited.append(made)
        for made in self.awaited:
            self._put_call(made)

    def _put_call(self, call: Record) -> None:
        if call["id"] not in self._arguments:
            self._arguments[call["id"]] = call["arguments"]
            self._put({"type": "tool_call", "tool_call": call})
