"""What Pi said, on its way to any number of peers."""

from __future__ import annotations

from collections.abc import Iterable

from ..protocol import Item, encode_record
from .frames import batch_frames, single_frames

__all__ = ["Said"]


class Said:
    """Some events, made into frames once for all peers that take them the same way; and not at all if there is none.

    A streamed record is passed on as the line that Pi wrote. Lines that are no records are not passed on.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self.items = [item for item in items if isinstance(item, bytes | dict)]
        """Each as its line, or decoded."""
        self._frames: dict[bool, bytes] = {}

    def __bool__(self) -> bool:
        return bool(self.items)

    def frames(self, *, batching: bool) -> bytes:
        """All of it, one record a message; or several, where a peer agreed to that."""
        made = self._frames.get(batching)
        if made is None:
            lines = [item if isinstance(item, bytes) else encode_record(item)[:-1] for item in self.items]
            made = self._frames[batching] = (batch_frames if batching else single_frames)(lines)
        return made
