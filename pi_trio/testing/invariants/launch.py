"""One process tree of an instance, as the world tells of it: its processes, its signals, what went through its pipes."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING

import attrs
import orjson

from ..trace import (
    PipeClosed,
    PipeRead,
    PipeWritten,
    ProcessExited,
    ProcessReaped,
    ProcessSignalled,
    ProcessSpawned,
    TreeEmptied,
)
from .placed import Placed

if TYPE_CHECKING:
    from .life import Life

__all__ = ["Launch", "Line", "Process"]


@attrs.define(eq=False)
class Process:
    """One process."""

    spawned: Placed[ProcessSpawned]
    exited: Placed[ProcessExited] | None = None
    reaped: list[Placed[ProcessReaped]] = attrs.field(factory=list)

    def lives_at(self, index: int) -> bool:
        """Whether it has started and not ended at this place in the trace."""
        return self.spawned.index < index and (self.exited is None or self.exited.index > index)


@attrs.frozen
class Line:
    """One line that went through a pipe."""

    data: bytes
    written_at: float
    """When its last byte went into the pipe."""
    read_at: float | None
    """When its last byte was taken out; ``None`` when it never was."""
    ended: bool = True
    """Whether an LF came behind it: what nothing comes behind is cut off, be it JSON or not."""

    @property
    def record(self) -> dict[str, object] | None:
        """What it decodes to, when that is a record."""
        if not self.ended:
            return None
        try:
            record = orjson.loads(self.data)
        except ValueError:
            return None
        return record if isinstance(record, dict) else None


@attrs.define(eq=False)
class Launch:
    """One process tree of an instance."""

    life: Life
    number: int
    """As the world counts."""
    incarnation: int
    """As the runtime counts."""
    root: Process
    processes: list[Process] = attrs.field(factory=list)
    emptied: Placed[TreeEmptied] | None = None
    abandoned: bool = False
    """Whether its spawn raised all the same: the runtime was never given it, and the host ended it."""
    signals: list[Placed[ProcessSignalled]] = attrs.field(factory=list)
    written: dict[str, list[Placed[PipeWritten]]] = attrs.field(factory=lambda: defaultdict(list))
    read: dict[str, list[Placed[PipeRead]]] = attrs.field(factory=lambda: defaultdict(list))
    closed: dict[str, Placed[PipeClosed]] = attrs.field(factory=dict)

    @property
    def exited(self) -> Placed[ProcessExited] | None:
        """The end of its root."""
        return self.root.exited

    def lives_at(self, index: int) -> bool:
        """Whether any process of the tree lives at this place in the trace."""
        return any(process.lives_at(index) for process in self.processes)

    def sent(self, signal: str) -> list[Placed[ProcessSignalled]]:
        """When the runtime sent this signal to the root while that lived."""
        return [
            each
            for each in self.signals
            if each.event.signal == signal
            and each.event.sender == "runtime"
            and each.event.fate != "gone"
            and self._is_of_root(each)
        ]

    def _is_of_root(self, signal: Placed[ProcessSignalled]) -> bool:
        return signal.event.process == self.root.spawned.event.process

    @property
    def over_since(self) -> float:
        """From when on its root is known to run no more: it exited, or, on its way out, a signal found it gone."""
        gone = [each.event.at for each in self.signals if each.event.fate == "gone" and self._is_of_root(each)]
        return min([*gone, math.inf if self.exited is None else self.exited.event.at])

    @property
    def ended_from_here(self) -> bool:
        """Whether the runtime did anything to end it before it had ended."""
        end = self.exited.index if self.exited else None
        acts = (*self.sent("SIGTERM"), *self.sent("SIGKILL"))
        return any(end is None or act.index < end for act in acts)

    def bytes_written(self, pipe: str) -> bytes:
        """Everything that went into a pipe."""
        return b"".join(each.event.data for each in self.written[pipe])

    def has_read_its_stdin(self, index: int) -> bool:
        """Whether it has taken in, at this place in the trace, what it was sent."""
        sent = sum(len(each.event.data) for each in self.written["stdin"] if each.index < index)
        return sent == sum(each.event.size for each in self.read["stdin"] if each.index < index)

    @cached_property
    def stdin(self) -> bytes:
        """What it was sent."""
        return self.bytes_written("stdin")

    @cached_property
    def responses(self) -> dict[str, Line]:
        """The first response to each request's id."""
        found: dict[str, Line] = {}
        for line in self.lines:
            record = line.record if b'"response"' in line.data else None
            if record is not None and record.get("type") == "response" and isinstance(record.get("id"), str):
                found.setdefault(str(record["id"]), line)
        return found

    @cached_property
    def commands(self) -> list[tuple[Line, dict[str, object]]]:
        """What it was sent, decoded."""
        decoded = [(line, line.record) for line in self._lines_of("stdin")]
        return [(line, record) for line, record in decoded if record is not None]

    @cached_property
    def lines(self) -> list[Line]:
        """What it wrote to stdout, cut at LF; the rest behind the last one is a line, too."""
        return self._lines_of("stdout")

    def _lines_of(self, pipe: str) -> list[Line]:
        clock = _Clock(self.written[pipe], self.read[pipe])
        data = self.bytes_written(pipe)
        lines, end = [], 0
        *whole, rest = data.split(b"\n")
        for line in whole:
            end += len(line) + 1
            lines.append(Line(line, clock.written_at(end), clock.read_at(end)))
        if rest:
            lines.append(Line(rest, clock.written_at(len(data)), clock.read_at(len(data)), ended=False))
        return lines


class _Clock:
    """Says when the n-th byte of a pipe was written, and when it was read. To be asked in order."""

    def __init__(self, written: list[Placed[PipeWritten]], read: list[Placed[PipeRead]]) -> None:
        self._written = iter([(each.event.at, len(each.event.data)) for each in written])
        self._read = iter([(each.event.at, each.event.size) for each in read])
        self._written_to, self._read_to = 0, 0
        self._written_last, self._read_last = 0.0, 0.0

    def written_at(self, end: int) -> float:
        while self._written_to < end:
            self._written_last, size = next(self._written)
            self._written_to += size
        return self._written_last

    def read_at(self, end: int) -> float | None:
        while self._read_to < end:
            following = next(self._read, None)
            if following is None:
                return None
            self._read_last, size = following
            self._read_to += size
        return self._read_last
