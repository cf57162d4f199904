"""The end of what a process wrote to stderr."""

from __future__ import annotations

__all__ = ["TAIL_BYTES", "Tail"]

TAIL_BYTES = 64 * 1024
"""How much is kept: a Node.js stack trace with its source lines fits many times over."""


class Tail:
    """Keeps the last bytes of a stream, and no more than twice as many for a moment."""

    def __init__(self, max_bytes: int = TAIL_BYTES) -> None:
        self._max = max_bytes
        self._bytes = bytearray()

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        self._bytes += data[-self._max :]
        if len(self._bytes) > 2 * self._max:
            del self._bytes[: -self._max]

    def get(self) -> bytes:
        """The last bytes."""
        return bytes(self._bytes[-self._max :])
