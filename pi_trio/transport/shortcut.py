"""Short text messages, taken out of what the other side sends before trio-websocket looks at it. No I/O.

A request is a hundred bytes in one frame. To make events of that, and to carry them from one task to another, takes
trio-websocket longer than everything else that happens to a request; and what comes as a text is decoded, joined and
encoded again before it is the bytes that it was. So frames that are just that are understood here; every other one
(long, in pieces, control, binary, or wrong in any way) is passed on as it is, to whom it is a message, a ping or a
violation (RFC 6455, section 5.2).
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

__all__ = ["Shortcut"]

# Longer frames are passed on as they come, instead of being held back until they are whole. A message of several records
# is not longer, unless a record is.
_MOST_BYTES = 128 * 1024

_WHOLE_TEXT = 0x81
_CONTROL, _CLOSE = 0x8, 0x8
_KNOWN_OPCODES = frozenset({0x0, 0x1, 0x2, 0x8, 0x9, 0xA})


@attrs.frozen
class _Header:
    first: int
    """The final bit, three that are reserved, and the opcode."""
    start: int
    """Where the payload begins; the four bytes before it are its mask, if there is one."""
    length: int

    @property
    def final(self) -> bool:
        return bool(self.first & 0x80)

    @property
    def is_data(self) -> bool:
        return self.first & 0x0F < _CONTROL


class Shortcut:
    """Sorts a stream of frames, from its first byte on: whole short texts to :attr:`on_text`, all others to whoever
    calls :meth:`feed`.

    A text is taken only when everything before it has been dealt with: messages stay in order. ``masked``: whether they
    are a client's, which are.
    """

    def __init__(self, max_message_bytes: int, *, masked: bool) -> None:
        self.on_text: Callable[[bytes], bool] | None = None
        """Takes a message, which need not be UTF-8; if it returns false, it does not want that one, and it is passed on.
        ``None``: nobody takes any yet."""
        self._masked = masked
        self._mask_bytes = 4 if masked else 0
        self._mask_flag = 0x80 if masked else 0
        self._max_bytes = min(max_message_bytes, _MOST_BYTES)
        self._held = b""  # the beginning of a frame
        self._skip = 0  # bytes of a long frame that are still to come
        self._in_pieces = False  # a message has begun, and not ended
        self._passed_on = 0  # messages that others make of what they were given
        self._taken = 0
        self._shut = False

    def __repr__(self) -> str:
        return f"<Shortcut {'shut' if self._shut else 'open'} {len(self._held)} bytes held>"

    def taken(self) -> None:
        """A message that was passed on has been dealt with."""
        self._taken += 1

    def shut(self) -> None:
        """From now on, pass everything on."""
        self._shut = True

    def feed(self, data: bytes) -> bytes:
        """Take what came; return what is not for here, to be passed on."""
        # One frame that is one short text, while nothing is under way: so it is with most requests, and many answers.
        # It is what the rest would make of it, too, with more ado; a request's way to Pi is a quarter shorter so.
        if len(data) > 7 and data[0] == _WHOLE_TEXT and not self._held and not self._skip and not self._shut:
            start, length = 2 + self._mask_bytes, data[1] ^ self._mask_flag
            if length == 126:
                start, length = start + 2, data[2] << 8 | data[3]
            elif length > 126:  # longer, or the wrong side's
                length = -1
            if len(data) - start == length <= self._max_bytes and self._take_text(data, start):
                return b""
        return data if self._shut else self._sort(data)

    def _sort(self, data: bytes) -> bytes:
        """What :meth:`feed` does, with any frames."""
        data, at, passed = self._held + data if self._held else data, 0, []
        while at < len(data):
            if self._skip:
                end = min(len(data), at + self._skip)
                self._skip -= end - at
            elif self._ends_it(data[at : at + 2]):
                self._shut, end = True, len(data)
            else:
                header = self._header(data, at)
                if header is None:
                    break
                end = header.start + header.length
                if header.length > self._max_bytes:
                    self._skip, end = header.length, header.start
                elif end > len(data):
                    break
                if self._take(header, data):
                    at = end
                    continue
            passed.append(data[at:end])
            at = end
        self._held = data[at:]
        return b"".join(passed)

    def _take(self, header: _Header, data: bytes) -> bool:
        """Deal with a frame here, if it is a whole short text; else note what it does to those behind it."""
        if (
            header.first == _WHOLE_TEXT
            and not self._skip
            and self._take_text(data, header.start, header.start + header.length)
        ):
            return True
        if header.is_data:
            self._in_pieces = not header.final
            self._passed_on += header.final
        return False

    def _take_text(self, data: bytes, start: int, end: int | None = None) -> bool:
        if self.on_text is None or self._in_pieces or self._taken != self._passed_on:
            return False
        text = data[start:end]
        return self.on_text(_unmasked(text, data[start - 4 : start]) if self._masked else text)

    def _ends_it(self, beginning: bytes) -> bool:
        """Whether a frame that begins so is the last that counts: a goodbye, or a violation. What follows is passed on."""
        if len(beginning) < 2:
            return False
        first, second = beginning
        opcode = first & 0x0F
        is_wrong = bool(first & 0x70) or opcode not in _KNOWN_OPCODES or bool(second & 0x80) is not self._masked
        return is_wrong or opcode == _CLOSE or (opcode > _CONTROL and (not first & 0x80 or second & 0x7F > 125))

    def _header(self, data: bytes, at: int) -> _Header | None:
        """The frame's header at this place; ``None``: not all of it is there yet."""
        if len(data) < at + 2:
            return None
        length, start = data[at + 1] & 0x7F, at + 2
        if length > 125:
            start += 2 if length == 126 else 8
            length = int.from_bytes(data[at + 2 : start], "big")
        start += self._mask_bytes
        return _Header(data[at], start, length) if len(data) >= start else None


def _unmasked(text: bytes, mask: bytes) -> bytes:
    length = len(text)
    key = mask * (length // 4) + mask[: length % 4]
    return (int.from_bytes(text, "little") ^ int.from_bytes(key, "little")).to_bytes(length, "little")
