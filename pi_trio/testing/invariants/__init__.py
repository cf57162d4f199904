"""What must hold, always: named predicates over a trace. Each may be called by itself; :func:`check_trace` calls all."""

from __future__ import annotations

from .check import INVARIANTS, check_trace
from .invariant import Invariant, Violation
from .liveness import recovery_time, time_of_a_start
from .sameness import same_trace
from .story import Story

__all__ = [
    "INVARIANTS",
    "Invariant",
    "Story",
    "Violation",
    "check_trace",
    "recovery_time",
    "same_trace",
    "time_of_a_start",
]
