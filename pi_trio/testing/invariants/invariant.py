"""What an invariant is: a named predicate over a trace, that says what shows its violation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from ..trace import Trace, TraceEvent
from .placed import Placed
from .story import Story

__all__ = ["Finding", "Invariant", "Violation", "invariant"]


@attrs.frozen
class Violation:
    """An invariant did not hold."""

    invariant: str
    """Its name."""
    says: str
    """What is wrong, in words."""
    events: tuple[TraceEvent, ...]
    """Those that show it, in the order of the trace."""

    def __str__(self) -> str:
        shown = "".join(f"\n    {event!r}" for event in self.events)
        return f"{self.invariant}: {self.says}{shown}"


@attrs.frozen(init=False)
class Finding:
    """What a predicate found: words, and the events behind them."""

    says: str
    events: tuple[TraceEvent, ...]

    def __init__(self, says: str, *events: Placed[Any] | None) -> None:
        shown = sorted((each for each in events if each is not None), key=lambda each: each.index)
        self.__attrs_init__(says, tuple(each.event for each in shown))


@attrs.frozen
class Invariant:
    """A named predicate. Call it with a trace: it returns what violates it, nothing when it holds."""

    number: int
    """Its number among the promises of ``docs/testing.md``; 0 for one that follows from several."""
    name: str
    statement: str
    """The promise, in a sentence or two."""
    find: Callable[[Story], Iterable[Finding]] = attrs.field(repr=False)

    def __call__(self, trace: Trace | Story) -> list[Violation]:
        """What violates it."""
        story = trace if isinstance(trace, Story) else Story(trace)
        return [Violation(self.name, finding.says, finding.events) for finding in self.find(story)]


def invariant(number: int) -> Callable[[Callable[[Story], Iterator[Finding]]], Invariant]:
    """Make an :class:`Invariant` of a function: its name and docstring are the invariant's."""

    def make(find: Callable[[Story], Iterator[Finding]]) -> Invariant:
        assert find.__doc__ is not None
        return Invariant(number, find.__name__, find.__doc__.strip(), find)

    return make
