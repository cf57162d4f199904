"""What Pi said, on its way to any number of peers."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..errors import ProtocolError
from ..protocol import Item, Record, encode_record
from .frames import batch_frames, single_frames

__all__ = ["Said"]

_log = logging.getLogger("pi_trio.endpoint")


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
            lines = [line for item in self.items if (line := _line(item)) is not None]
            made = self._frames[batching] = (batch_frames if batching else single_frames)(lines)
        return made


def _line(item: bytes | Record) -> bytes | None:
    if isinstance(item, bytes):
        return item
    try:
        return encode_record(item)[:-1]
    except ProtocolError as error:  # nested more deeply than encoders go, though a decoder did
        _log.warning("an event cannot be passed on: %s", error)
        return None
