"""What stands in front of a program's stdout, and sees whole records."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ..world import Stream, System

__all__ = ["Acted", "Filter"]

Acted: TypeAlias = Callable[[], None]
"""Called when a fault did what it does."""


class Filter(Stream):
    """Passes everything on; others are made of it."""

    def __init__(self, system: System, acted: Acted) -> None:
        self._system = system
        self._below = system.stdout
        self._acted = acted
        self._count = 0

    def write(self, data: bytes) -> None:
        """Pass a record on."""
        self._count += 1
        self._below.write(data)

    async def wait_flushed(self) -> None:
        """Wait for what is below."""
        await self._below.wait_flushed()
