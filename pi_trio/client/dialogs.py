"""Who answers what an extension in Pi asks."""

from __future__ import annotations

from collections.abc import Callable

from ..protocol import Record

__all__ = ["DialogInterceptor"]

DialogInterceptor = Callable[[Record], bool]
"""Is given an ``extension_ui_request``; returns whether it takes it over. Sync: it is called while Pi's output is read."""
