"""Whether two runs were the same."""

from __future__ import annotations

from itertools import zip_longest

from ..trace import Trace
from .invariant import Violation

__all__ = ["same_trace"]


def same_trace(one: Trace, other: Trace) -> list[Violation]:
    """25. The same seed gives the same trace: what shows that it did not is the first pair of events that differ."""
    for left, right in zip_longest(one.events, other.events):
        if left != right:
            shown = tuple(event for event in (left, right) if event is not None)
            return [Violation("same_trace", "the same plan gave two different traces", shown)]
    return []
