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


# A peer that stays silent for so long may want to listen only: it is shown records.
_PATIENCE = 1.0
# So is one for whom this much was kept meanwhile.
_MOST_HELD = 4096


class Undecided(Conversation):
    """For a peer that named no subprotocol: its first message tells, whenever that comes.

    What Pi says meanwhile is kept for it, for a while; then it is taken for one that speaks records, until it says
    something else.
    """

    def __init__(
        self,
        records: Callable[[], Conversation],
        dialect: Callable[[], Conversation],
        *,
        turned: Callable[[], None],
    ) -> None:
        """``turned``: who was taken for one that speaks records, does not, and was asked in vain."""
        self._make_records = records
        self._make_dialect = dialect
        self._turned = turned
        self._spoken: Conversation | None = None
        self._has_spoken = trio.Event()
        self._held: list[Said] = []

    def take(self, message: bytes) -> None:
        """See :class:`Conversation`."""
        if not self._has_spoken.is_set():
            self._decide(is_dialect=_is_dialect(message))
        assert self._spoken is not None
        self._spoken.take(message)

    def _decide(self, *, is_dialect: bool) -> None:
        if is_dialect and self._spoken is not None:
            self._spoken = None
            self._turned()
        if self._spoken is None:
            self._speak(self._make_dialect() if is_dialect else self._make_records())
        self._has_spoken.set()

    def show(self, said: Said) -> None:
        """See :class:`Conversation`."""
        if self._spoken is not None:
            self._spoken.show(said)
            return
        self._held.append(said)
        if len(self._held) > _MOST_HELD:
            self._speak(self._make_records())

    def ask(self, dialog: Record) -> None:
        """See :class:`Conversation`."""
        if self._spoken is not None:
            self._spoken.ask(dialog)

    @property
    def answers_dialogs(self) -> bool:
        """See :class:`Conversation`."""
        return self._spoken is not None and self._spoken.answers_dialogs

    async def run(self) -> None:
        """See :class:`Conversation`."""
        with trio.move_on_after(_PATIENCE):
            await self._has_spoken.wait()
        if self._spoken is None:
            self._speak(self._make_records())
        await self._has_spoken.wait()
        assert self._spoken is not None
        await self._spoken.run()

    def _speak(self, conversation: Conversation) -> None:
        self._spoken = conversation
        for said in self._held:
            conversation.show(said)
        self._held.clear()


def _is_dialect(message: bytes) -> bool:
    record = decode_line(message)
    return not isinstance(record, MalformedRecord) and "type" not in record and "method" in record
