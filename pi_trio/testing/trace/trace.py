"""A trace: everything that happened in one run, in order."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import attrs

from .callers import CallerEvent
from .connections import ConnectionEvent
from .discoveries import DiscoveryTraceEvent
from .registry import RegistryTraceEvent
from .world import WorldEvent

__all__ = ["Record", "Recorder", "Trace", "TraceEvent"]

TraceEvent: TypeAlias = WorldEvent | CallerEvent | RegistryTraceEvent | ConnectionEvent | DiscoveryTraceEvent
Record: TypeAlias = Callable[[TraceEvent], None]
"""Takes down one event. Given to whatever has something to tell."""

E = TypeVar("E")


@attrs.frozen
class Trace:
    """What happened, in order. Two runs of one plan have equal traces, in whatever process, on whatever Python."""

    events: tuple[TraceEvent, ...]
    lateness: float = 0.0
    """How many seconds late a task may run that is due: nothing on virtual time, something on a busy machine."""

    def __repr__(self) -> str:
        return f"<Trace {len(self.events)} events {self.digest()[:12]}>"

    def of(self, kind: type[E]) -> Iterator[E]:
        """The events of one class, in order."""
        return (event for event in self.events if isinstance(event, kind))

    def plain(self) -> list[Any]:
        """The trace as JSON-able lists and dicts: no ids of objects, no addresses, no wall clock."""
        return [_plain(event) for event in self.events]

    def digest(self) -> str:
        """The SHA-256 of :meth:`plain`, in hexadecimal."""
        text = json.dumps(self.plain(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class Recorder:
    """Takes down what happens; call it with each event."""

    def __init__(self) -> None:
        self._events: list[TraceEvent] = []
        self._length: int | None = None
        self.record: Record = self._events.append
        """Take down one event."""

    def __repr__(self) -> str:
        return f"<Recorder {len(self._events)} events>"

    def end(self) -> None:
        """Take down nothing more: what comes now is not what the trace is of."""
        self._length = len(self._events)

    def trace(self, *, lateness: float = 0.0) -> Trace:
        """What was taken down so far, or until :meth:`end`."""
        return Trace(tuple(self._events[: self._length]), lateness)


def _plain(value: Any) -> Any:
    if value is None or (isinstance(value, bool | int | float | str) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [_plain(each) for each in value]
    if isinstance(value, frozenset):
        return sorted((_plain(each) for each in value), key=str)
    if attrs.has(type(value)):
        fields = {name: _plain(getattr(value, name)) for name in _names(type(value))}
        return {"": type(value).__name__, **fields}
    return str(value)


_NAMES: dict[type, tuple[str, ...]] = {}


def _names(cls: type[attrs.AttrsInstance]) -> tuple[str, ...]:
    if cls not in _NAMES:
        _NAMES[cls] = tuple(field.name for field in attrs.fields(cls))
    return _NAMES[cls]
