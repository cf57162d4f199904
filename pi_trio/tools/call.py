"""One call of a tool: from the moment Pi asks until it has been told what came of it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import trio

from ..errors import ToolError
from ..protocol import Record, encode_record
from .context import ToolContext
from .result import to_result
from .tool import Tool

__all__ = ["Answer", "Call", "answer_line"]

_log = logging.getLogger("pi_trio.tools")

Answer = Callable[[bytes], bool]
"""Sends an :func:`answer_line`. Never blocks; false when so much is on its way to Pi that there is no room now.
Does nothing when the connection is gone."""

# Seconds until an answer for which there was no room is tried again: nothing announces room, and it takes tens of
# megabytes on their way for there to be none.
_ROOM_PERIOD = 0.05


def answer_line(dialog: str, payload: Record) -> bytes:
    """The record that answers the dialog with this id. May take megabytes: to be made once."""
    value = encode_record(payload).decode().rstrip("\n")
    return encode_record({"type": "extension_ui_response", "id": dialog, "value": value})


class Call:
    """A call that is under way. One task runs it; anybody may :meth:`cancel` it."""

    def __init__(
        self,
        tool: Tool,
        *,
        call_id: str,
        arguments: Mapping[str, Any],
        written: Any = None,
        instance_id: str,
        dialog: str,
        answer: Answer,
    ) -> None:
        self.tool = tool
        self._arguments = arguments
        self._written = written
        self._context = ToolContext(tool.name, call_id, instance_id, self._progress)
        self._dialog: str | None = dialog  # Pi waits for the answer to this one; None behind an update
        self._answer = answer
        self._asked = trio.Event()
        self._turn = trio.Lock()
        self._scope = trio.CancelScope()
        self._why = ""
        self._telling = trio.CancelScope()
        self._over = False
        self._unwound = trio.Event()
        self._taken = trio.Event()

    def __repr__(self) -> str:
        return f"<Call {self._context.call_id} of {self.tool.name}>"

    def ask_again(self, dialog: str) -> None:
        """Pi has taken the last update, and waits for what comes next."""
        self._dialog = dialog
        self._asked.set()

    def cancel(self, why: str) -> None:
        """Cancel the function; Pi is told why, when it has unwound. The first reason counts."""
        self._why = self._why or why
        self._scope.cancel()

    def taken(self) -> None:
        """Pi is done with the call: it has the outcome, or does not want it any more."""
        self._taken.set()
        self._telling.cancel()

    async def run(self, turns: trio.CapacityLimiter) -> None:
        """Wait for a turn, call the function, tell Pi. What the function raises goes to Pi, not further."""
        try:
            outcome = await self._call(turns)
            self._over = True
            with self._telling:
                await self._tell(outcome)
        finally:
            self._over = True
            self._unwound.set()

    async def wait_unwound(self) -> None:
        """Wait until the function has unwound, and the answer to Pi is on its way."""
        await self._unwound.wait()

    async def wait_taken(self) -> None:
        """Wait until Pi has taken the answer. A Pi that is stopped never does: to be bounded."""
        await self._taken.wait()

    async def _call(self, turns: trio.CapacityLimiter) -> Record:
        try:
            with self._scope:
                async with turns:
                    return await self._call_in_time()
        except Exception as error:  # whatever the function raises, also while it is being cancelled
            return {"error": self._failure(error)}
        return {"error": f"{self.tool.name} was cancelled: {self._why}"}

    async def _call_in_time(self) -> Record:
        seconds = self.tool.timeout
        with trio.move_on_after(math.inf if seconds is None else seconds):
            value = await self.tool.call(self._arguments, self._context, written=self._written)
            try:
                return to_result(value)
            except TypeError as error:
                raise ToolError(f"{self.tool.name} returned something that JSON cannot say: {error}") from error
        return {"error": f"{self.tool.name} was cancelled: it did not end within {seconds:g} s"}

    def _failure(self, error: Exception) -> str:
        if not isinstance(error, ToolError):
            # The model gets the message alone. Where it came from is the program's business.
            _log.warning("%s: the tool %s raised", self._context.instance_id, self.tool.name, exc_info=error)
        return "; ".join(_messages(error))

    async def _progress(self, value: Any) -> None:
        if self._over:
            await trio.lowlevel.checkpoint()
            raise trio.ClosedResourceError("the call is over: nothing can be said about its progress any more")
        await self._tell({"update": to_result(value)})

    async def _tell(self, payload: Record) -> None:
        async with self._turn:  # the function may report from several tasks
            while self._dialog is None:
                await self._asked.wait()
            line = answer_line(self._dialog, payload)
            while not self._answer(line):
                await trio.sleep(_ROOM_PERIOD)
            # Not before it was answered: what is cancelled, or cannot be said, leaves the dialog to what comes next.
            self._dialog, self._asked = None, trio.Event()


def _messages(error: BaseException) -> Iterator[str]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _messages(each)
    else:
        message = _message(error)
        yield message if isinstance(error, ToolError) else f"{type(error).__name__}: {message}".removesuffix(": ")


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # its class is not ours, and it must not end more than its call
        return ""
