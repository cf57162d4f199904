"""What an instance's processes wrote, kept within a bound, readable after their death."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import NamedTuple

import attrs
import trio

__all__ = ["LogGap", "LogLine", "Logs", "OutputRing", "Redactor"]

# A line that does not end is shown in pieces of this size.
_PIECE_BYTES = 64 * 1024

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH", re.IGNORECASE)
# Shorter values ("1", "true", "none") are settings that happen to have such a name; hiding them would hide
# half of the text.
_SHORTEST_SECRET = 8


@attrs.frozen
class LogLine:
    """One line that a process wrote."""

    at: float
    """When its first byte was read, on the Trio clock."""
    stream: str
    """``"stdout"`` (Pi's records) or ``"stderr"``."""
    incarnation: int
    text: str
    """Without its line end; what is not UTF-8 is replaced, secrets are blotted out."""


@attrs.frozen
class LogGap:
    """Stands where a follower was too slow, and the ring had to forget."""

    lost_bytes: int


def _forms(value: str) -> set[str]:
    """How a secret may look in output: as it is, inside of JSON, and each of its lines (of a private key, say)."""
    forms = {value, *value.splitlines()}
    return forms | {json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in forms for ascii_only in (True, False)}


class Redactor:
    """Blots out the values of variables that look like secrets by their names."""

    def __init__(self, env: Mapping[str, str]) -> None:
        secrets = {
            form.encode("utf-8", "surrogateescape"): name
            for name, value in env.items()
            if _SECRET_NAME.search(name)
            for form in _forms(value)
            if len(form) >= _SHORTEST_SECRET
        }
        # The longest first: one secret may be the beginning of another.
        self._secrets = sorted(secrets.items(), key=lambda item: -len(item[0]))
        self.longest = len(self._secrets[0][0]) if self._secrets else 0
        """The length of the longest secret, in bytes."""

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._secrets)} secrets>"

    def __call__(self, data: bytes) -> bytes:
        """``data`` without the secrets that are in it whole."""
        for secret, name in self._secrets:
            if secret in data:
                data = data.replace(secret, f"[{name}]".encode())
        return data


class _Chunk(NamedTuple):  # one is made for each read: an attrs class takes twice as long
    seq: int
    at: float
    stream: str
    incarnation: int
    data: bytes
    offset: int
    """How many bytes were written before it."""


# What a chunk costs beside its bytes: many small writes must not take much more memory than the bound says.
_CHUNK_OVERHEAD = 256
_SLACK = 64 * 1024


class OutputRing:
    """The last bytes that were written, with their times: at most ``max_bytes``, whatever comes."""

    def __init__(self, max_bytes: int, redactor: Redactor) -> None:
        self.redactor = redactor
        self._max = max_bytes
        self._chunks: deque[_Chunk] = deque()
        self._bytes = 0
        self._cost = 0
        self._max_cost = max_bytes + _SLACK
        self._next_seq = 0
        self._written = 0
        self._torn: set[str] = set()
        self._news = trio.Event()
        self._waiting = False
        self.closed = False

    def __repr__(self) -> str:
        return f"<OutputRing {self._bytes}/{self._max} bytes>"

    def add(self, stream: str, incarnation: int, data: bytes) -> None:
        """Keep what was just read, at least a byte. Costs the same however much: lines are made when somebody looks."""
        kept = len(data)
        if kept > self._max:
            self._written += kept - self._max
            data = data[-self._max :]
            kept = self._max
            self._torn.add(stream)
        self._chunks.append(_Chunk(self._next_seq, trio.current_time(), stream, incarnation, data, self._written))
        self._written += kept
        self._next_seq += 1
        self._bytes += kept
        self._cost += kept + _CHUNK_OVERHEAD
        if self._bytes > self._max or self._cost > self._max_cost:
            self._forget_oldest()
        if self._waiting:  # hardly ever: not worth an Event for each piece of output
            self._announce()

    def _forget_oldest(self) -> None:
        while self._bytes > self._max or (self._cost > self._max_cost and len(self._chunks) > 1):
            oldest = self._chunks.popleft()
            self._bytes -= len(oldest.data)
            self._cost -= len(oldest.data) + _CHUNK_OVERHEAD
            self._torn.add(oldest.stream)

    def is_torn(self, stream: str) -> bool:
        """Whether the beginning of this stream has been forgotten."""
        return stream in self._torn

    def close(self) -> None:
        """Nothing more will be added: followers end. What is kept stays readable."""
        self.closed = True
        self._announce()

    def _announce(self) -> None:
        if self._waiting:
            self._waiting = False
            self._news.set()
            self._news = trio.Event()

    def since(self, seq: int) -> list[_Chunk]:
        """The chunks that are kept, from number ``seq`` on."""
        return [chunk for chunk in self._chunks if chunk.seq >= seq]

    async def wait_for(self, seq: int) -> None:
        """Wait until there is a chunk with at least this number, or no more to come."""
        await trio.lowlevel.checkpoint()
        while self._next_seq <= seq and not self.closed:
            self._waiting = True
            await self._news.wait()


class _Lines:
    """Makes lines of one stream's chunks."""

    def __init__(self, redactor: Redactor, *, torn: bool) -> None:
        self._redactor = redactor
        self._pending = b""
        self._first: _Chunk | None = None
        # Where the beginning is forgotten, the first line is half a line, and may begin with half a secret.
        self._skip = redactor.longest - 1 if torn and redactor.longest else 0
        self._torn = torn

    def feed(self, chunk: _Chunk) -> Iterator[LogLine]:
        if self._first is not None and self._first.incarnation != chunk.incarnation:
            yield from self.flush()
        data = self._pending + chunk.data
        if self._torn:
            data, done = self._mend(data)
            if not done:
                self._pending, self._first = data, self._first or chunk
                return
            self._torn = False
        first = self._first or chunk
        *whole, rest = data.split(b"\n")
        for line in whole:
            yield self._line(first, line)
            first = chunk
        keep = self._redactor.longest
        while len(rest) > _PIECE_BYTES + keep:
            # Not through the middle of a secret: what may be the beginning of one waits for the rest of it.
            clean = self._redactor(rest)
            yield self._line(first, clean[:_PIECE_BYTES])
            rest, first = clean[_PIECE_BYTES:], chunk
        self._pending, self._first = rest, first if rest else None

    def _mend(self, data: bytes) -> tuple[bytes, bool]:
        end = data.find(b"\n")
        if end >= 0:
            return data[end + 1 :], True
        # No line end for a long time: give the torn line's rest, but for what may be half a secret.
        return (data[self._skip :], True) if len(data) > _PIECE_BYTES else (data, False)

    def flush(self) -> Iterator[LogLine]:
        rest, first = self._pending[self._skip if self._torn else 0 :], self._first
        self._pending, self._first = b"", None
        if rest and first is not None:
            yield self._line(first, rest)

    def _line(self, first: _Chunk, line: bytes) -> LogLine:
        text = self._redactor(line.removesuffix(b"\r")).decode("utf-8", "replace")
        return LogLine(first.at, first.stream, first.incarnation, text)


class _Assembly:
    """Makes lines of the chunks of both streams."""

    def __init__(self, ring: OutputRing) -> None:
        self._ring = ring
        self._streams: dict[str, _Lines] = {}

    def feed(self, chunks: list[_Chunk]) -> Iterator[LogLine]:
        for chunk in chunks:
            if chunk.stream not in self._streams:
                self._streams[chunk.stream] = _Lines(self._ring.redactor, torn=self._ring.is_torn(chunk.stream))
            yield from self._streams[chunk.stream].feed(chunk)

    def flush(self) -> Iterator[LogLine]:
        for lines in self._streams.values():
            yield from lines.flush()


class Logs:
    """An instance's output. Iterate it for what there is now, oldest first; with ``async for`` it may follow."""

    def __init__(self, ring: OutputRing, *, tail: int | None, follow: bool) -> None:
        if tail is not None and tail < 0:
            raise ValueError(f"tail must be a number of lines, not {tail}")
        self._ring = ring
        self._tail = tail
        self._follow = follow

    def __iter__(self) -> Iterator[LogLine]:
        assembly = _Assembly(self._ring)
        lines = deque(assembly.feed(self._ring.since(0)), maxlen=self._tail)
        lines.extend(assembly.flush())
        return iter(lines)

    def __aiter__(self) -> AsyncIterator[LogLine | LogGap]:
        return _Follower(self._ring, self._tail, self._follow)


class _Follower(AsyncIterator[LogLine | LogGap]):
    """Reads a ring from its beginning, and goes on as it grows."""

    def __init__(self, ring: OutputRing, tail: int | None, follow: bool) -> None:
        self._ring = ring
        self._assembly = _Assembly(ring)
        chunks = ring.since(0)
        self._next_seq = chunks[-1].seq + 1 if chunks else 0
        self._next_offset = chunks[-1].offset + len(chunks[-1].data) if chunks else 0
        present = deque[LogLine](self._assembly.feed(chunks), maxlen=tail)
        if not follow:
            present.extend(self._assembly.flush())
        self._ready: deque[LogLine | LogGap] = deque(present)
        self._over = not follow

    async def __anext__(self) -> LogLine | LogGap:
        await trio.lowlevel.checkpoint()
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            await self._ring.wait_for(self._next_seq)
            self._take()
        return self._ready.popleft()

    def _take(self) -> None:
        chunks = self._ring.since(self._next_seq)
        if not chunks:
            self._ready.extend(self._assembly.flush())
            self._over = True
            return
        if chunks[0].seq > self._next_seq:
            self._ready.append(LogGap(chunks[0].offset - self._next_offset))
            self._assembly = _Assembly(self._ring)
        self._next_offset = chunks[-1].offset + len(chunks[-1].data)
        self._next_seq = chunks[-1].seq + 1
        self._ready.extend(self._assembly.feed(chunks))
