"""Which tools Pi is offered, and which of these lists it has taken.

Pi's side asks for the tools with a dialog that stays open until there is another list than the one it has.
When it asks again it says which it took: that is how somebody who added a tool knows that it is there.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from ..protocol import Record
from .call import Answer, answer_line
from .tool import Tool

__all__ = ["Offer"]


class Offer:
    """The tools on offer, by name. Changed from any task; told to one Pi after the other."""

    def __init__(self, answer: Answer) -> None:
        self.tools: dict[str, Tool] = {}
        self.refused: Mapping[str, str] = {}
        """Which of the tools that Pi was told last it does not use, and why."""
        self._answer = answer
        self.version = 1
        """The number of the list; a Pi that has none yet has number 0."""
        self._taken = 0
        self._dialog: str | None = None
        self._listening = False
        self._undecided = False  # Pi is gone, and it is not known yet whether another comes
        self._changed = trio.Event()

    def replace(self, tools: Mapping[str, Tool]) -> None:
        """Offer these, and no others."""
        self.tools = dict(tools)
        self.version += 1
        self._push()

    def asked(self, dialog: str, taken: int, refused: Mapping[str, str]) -> None:
        """Pi wants to know of another list than ``taken``; 0 for a Pi, or a session, that has none yet."""
        self._dialog, self._taken, self.refused = dialog, taken, refused
        self._listening, self._undecided = True, False
        self._wake()
        self._push()

    def disconnected(self) -> None:
        """That Pi is gone. Another will ask, and get the list of then: see :meth:`decided`."""
        self._undecided = self._undecided or self._listening
        self._dialog, self._taken, self.refused, self._listening = None, 0, {}, False

    def decided(self) -> None:
        """There is another Pi, or there will be none any more."""
        self._undecided = False
        self._wake()

    async def wait_taken(self, version: int) -> None:
        """Wait until Pi has this list, or a later one. Not for a Pi that is not there: it will get it.

        When Pi goes meanwhile, wait until it is :meth:`decided` what follows.
        """
        await trio.lowlevel.checkpoint()
        waits = self._listening
        while waits and self._taken < version:
            await self._changed.wait()
            waits = self._listening or self._undecided

    def _push(self) -> None:
        if self._dialog is not None and self._taken != self.version:
            payload: Record = {"version": self.version, "tools": [tool.declaration() for tool in self.tools.values()]}
            if self._answer(answer_line(self._dialog, payload)):
                self._dialog = None

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
