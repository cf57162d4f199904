"""Bytes in, lines out: the outer layer of Pi's wire.

A record is one JSON object on one line. Lines end with LF and nothing else (Pi's ``docs/json.md``); one
CR before the LF is stripped; U+2028 and U+2029 are ordinary characters, which is why neither
``str.splitlines`` nor a text-mode reader may come near this.
"""

from __future__ import annotations

import attrs

__all__ = ["DEFAULT_MAX_RECORD_BYTES", "HEAD_BYTES", "LineSplitter", "MalformedRecord"]

# The largest records are `get_messages` and `agent_end` of a long session with images in it, each of
# which is base64 of up to a few MiB: tens of MiB happen. Beyond 64 MiB it is a runaway writer without a
# newline, and must not take the host program's memory with it.
DEFAULT_MAX_RECORD_BYTES = 64 * 1024 * 1024

HEAD_BYTES = 200
"""How many bytes of a bad line are kept."""


@attrs.frozen
class MalformedRecord:
    """A line that is no record. The stream goes on behind it."""

    reason: str
    """What is wrong with it."""
    head: bytes
    """Its first bytes, at most :data:`HEAD_BYTES`."""


class LineSplitter:
    """Cuts a byte stream into lines, however the bytes arrive.

    Each byte is searched for a line end once: what is pending is a list of pieces without one, joined
    when the end comes.
    """

    def __init__(self, max_record_bytes: int = DEFAULT_MAX_RECORD_BYTES) -> None:
        if max_record_bytes < 1:
            raise ValueError(f"max_record_bytes must be positive, not {max_record_bytes}")
        self._max = max_record_bytes
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._skipping = False  # inside a line that was too long, and has been reported

    def __repr__(self) -> str:
        return f"<LineSplitter {self._pending_bytes} bytes pending>"

    def feed(self, data: bytes) -> list[bytes | MalformedRecord]:
        """Take the next bytes; return the lines that they complete, without their line ends.

        A line longer than the cap (its CR counted, its LF not) becomes one :class:`MalformedRecord`,
        in its place, as soon as it is known to be too long.
        """
        pieces = data.split(b"\n")
        rest = pieces.pop()
        # One look at the chunk takes an eighth of the time of one at each line, and is nearly always enough.
        plain = len(data) <= self._max and b"\r" not in data
        if plain and not rest and not self._pending_bytes and not self._skipping:
            return pieces  # type: ignore[return-value]  # a list that nobody else has
        lines: list[bytes | MalformedRecord] = []
        if pieces and (self._pending or self._skipping):
            first = self._complete(pieces.pop(0))
            if first is not None:
                lines.append(first)
        lines += pieces if plain else self._whole(pieces)
        if rest:
            overlong = self._hold(rest)
            if overlong is not None:
                lines.append(overlong)
        return lines

    def end(self) -> bytes | None:
        """The stream is over: return the line it was cut off in, if any."""
        rest = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        self._skipping = False
        return rest or None

    def _whole(self, pieces: list[bytes]) -> list[bytes | MalformedRecord]:
        return [
            self._too_long(piece) if len(piece) > self._max else piece[:-1] if piece[-1:] == b"\r" else piece
            for piece in pieces
        ]

    def _complete(self, piece: bytes) -> bytes | MalformedRecord | None:
        """The pending line ends with ``piece``."""
        if self._skipping:
            self._skipping = False
            return None
        self._pending.append(piece)
        line = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        return self._whole([line])[0]

    def _hold(self, piece: bytes) -> MalformedRecord | None:
        """``piece`` belongs to a line whose end is not here yet."""
        if self._skipping:
            return None
        self._pending.append(piece)
        self._pending_bytes += len(piece)
        if self._pending_bytes <= self._max:
            return None
        overlong = self._too_long(b"".join(self._pending))
        self._pending.clear()
        self._pending_bytes = 0
        self._skipping = True
        return overlong

    def _too_long(self, line: bytes) -> MalformedRecord:
        # No more than the cap: what is known of the line beyond it depends on how the bytes arrived.
        return MalformedRecord(f"longer than {self._max} bytes", line[: min(HEAD_BYTES, self._max)])
