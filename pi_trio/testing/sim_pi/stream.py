"""One answer of the model, piece by piece."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..model_server import Turn
from . import messages
from .messages import Json

if TYPE_CHECKING:
    from .program import PiProcess

__all__ = ["AnswerStream"]

# Seconds from one piece to the next, where the turn does not say: somewhere in this range.
_NEXT_PIECE = (0.0001, 0.01)


class AnswerStream:
    """The pieces of one answer, as they come."""

    def __init__(self, pi: PiProcess, answer: Json, turn: Turn) -> None:
        self._pi = pi
        self._answer = answer
        self._content: list[Json] = answer["content"]
        self._turn = turn
        self._usage = messages.no_usage()

    async def run(self) -> None:
        """Until the answer is there, or is cut off. An abort shows in what has been streamed so far."""
        turn = self._turn
        try:
            if turn.thinking:
                await self._block({"type": "thinking", "thinking": ""}, "thinking", [turn.thinking])
            pieces = turn.pieces
            if pieces:
                await self._block(
                    {"type": "text", "text": ""}, "text", pieces[: len(pieces) // 2 if turn.cut_off else None]
                )
            if turn.cut_off:
                return
            await self._tool_calls()
            self._usage = messages.usage_of(turn)
        finally:
            if not self._pi.ended:
                self._close_blocks()

    def _update(self, **step: Any) -> None:
        self._pi.emit({"type": "message_update", "usage": self._usage, "assistantMessageEvent": step})

    async def _block(self, block: Json, kind: str, pieces: Sequence[str]) -> None:
        index = len(self._content)
        self._content.append(block)
        self._update(type=f"{kind}_start", contentIndex=index)
        for piece in pieces:
            block[kind] += piece
            self._update(type=f"{kind}_delta", contentIndex=index, delta=piece)
            await self._pause()

    async def _tool_calls(self) -> None:
        for number, use in enumerate(self._turn.tools):
            call = messages.tool_call(use.id or f"call_{self._pi.model_calls - 1}_{number}", use)
            index = len(self._content)
            self._content.append(call)
            self._update(type="toolcall_start", contentIndex=index, id=call["id"], toolName=call["name"])
            self._update(type="toolcall_delta", contentIndex=index, delta=json.dumps(call["arguments"]))
            await self._pause()

    async def _pause(self) -> None:
        pi = self._pi
        if self._turn.chunk_delay:
            await pi.system.sleep(self._turn.chunk_delay)
        else:
            await pi.system.linger(_NEXT_PIECE)
        await pi.wait_flushed()

    def _close_blocks(self) -> None:
        for index, block in enumerate(self._content):
            if block["type"] == "toolCall":
                self._update(type="toolcall_end", contentIndex=index, toolCall=block)
            else:
                kind = block["type"]
                self._update(type=f"{kind}_end", contentIndex=index, content=block[kind])
