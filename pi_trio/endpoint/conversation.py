"""The language that a peer speaks: Pi's records or the dialect; or not known yet."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import trio

from ..protocol import MalformedRecord, Record, decode_line
from .said import Said

__all__ = ["Conversation", "Undecided"]


class Conversation(ABC):
    """One peer's. Nothing but :meth:`run` may block."""

    @abstractmethod
    def take(self, message: bytes) -> None:
        """A text came. It is UTF-8."""

    @abstractmethod
    def show(self, said: Said) -> None:
        """Pi said something to all."""

    @abstractmethod
    def ask(self, dialog: Record) -> None:
        """An ``extension_ui_request`` is put to this peer."""

    @abstractmethod
    async def run(self) -> None:
        """Do what takes time, until cancelled."""

    @property
    @abstractmethod
    def answers_dialogs(self) -> bool:
        """Whether dialogs may be put to it."""


# A peer that does not say by its first message what it speaks, and stays silent for so long, only wants to listen.
_PATIENCE = 1.0
# What is kept for it meanwhile.
_MOST_HELD = 4096


class Undecided(Conversation):
    """For a peer that named no subprotocol: its first message tells. What Pi says meanwhile is kept for it."""

    def __init__(self, records: Callable[[], Conversation], dialect: Callable[[], Conversation]) -> None:
        self._make_records = records
        self._make_dialect = dialect
        self._chosen: Conversation | None = None
        self._decided = trio.Event()
        self._held: list[Said] = []

    def take(self, message: bytes) -> None:
        """See :class:`Conversation`."""
        if self._chosen is None:
            self._choose(self._make_dialect if _is_dialect(message) else self._make_records)
        assert self._chosen is not None
        self._chosen.take(message)

    def show(self, said: Said) -> None:
        """See :class:`Conversation`."""
        if self._chosen is not None:
            self._chosen.show(said)
            return
        self._held.append(said)
        if len(self._held) > _MOST_HELD:
            self._choose(self._make_records)

    def ask(self, dialog: Record) -> None:
        """See :class:`Conversation`."""
        if self._chosen is not None:
            self._chosen.ask(dialog)

    @property
    def answers_dialogs(self) -> bool:
        """See :class:`Conversation`."""
        return self._chosen is not None and self._chosen.answers_dialogs

    async def run(self) -> None:
        """See :class:`Conversation`."""
        with trio.move_on_after(_PATIENCE):
            await self._decided.wait()
        if self._chosen is None:
            self._choose(self._make_records)
        assert self._chosen is not None
        await self._chosen.run()

    def _choose(self, make: Callable[[], Conversation]) -> None:
        self._chosen = make()
        self._decided.set()
        for said in self._held:
            self._chosen.show(said)
        self._held.clear()


def _is_dialect(message: bytes) -> bool:
    record = decode_line(message)
    return not isinstance(record, MalformedRecord) and "type" not in record and "method" in record
