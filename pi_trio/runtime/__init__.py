"""The runtime that a program opens."""

from __future__ import annotations

from .program import run
from .runtime import Runtime, RuntimeStatistics, open_runtime

__all__ = ["Runtime", "RuntimeStatistics", "open_runtime", "run"]
