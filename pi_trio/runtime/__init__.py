"""The runtime that a program opens."""

from __future__ import annotations

from .current import current_runtime
from .program import run
from .runtime import Runtime, RuntimeStatistics, open_runtime

__all__ = ["Runtime", "RuntimeStatistics", "current_runtime", "open_runtime", "run"]
