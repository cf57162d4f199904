"""Which instance to take: criteria, strategies, and an index that is kept with every event. No task, no clock."""

from __future__ import annotations

from .criteria import Criteria, hindrance, refused_by
from .index import Index, Selection
from .strategies import CapabilityMatch, LeastLoaded, PowerOfTwoChoices, Random, RoundRobin, Sticky, Strategy

__all__ = [
    "CapabilityMatch",
    "Criteria",
    "Index",
    "LeastLoaded",
    "PowerOfTwoChoices",
    "Random",
    "RoundRobin",
    "Selection",
    "Sticky",
    "Strategy",
    "hindrance",
    "refused_by",
]
