"""Letting a task go on."""

from __future__ import annotations

from typing import Any

import trio

__all__ = ["wake"]


class _Nothing:
    """What a woken task gets. ``unwrap`` is all that Trio asks of an outcome."""

    def unwrap(self) -> None:
        return None


_NOTHING: Any = _Nothing()


def wake(task: trio.lowlevel.Task) -> None:
    """As ``trio.lowlevel.reschedule(task)``, for tasks that are woken some ten thousand times a second.

    Trio would make an ``outcome.Value(None)`` for it, which may be unwrapped once: with 32 requests under way that took a
    tenth of the time of each. One nothing is enough for all.
    """
    trio.lowlevel.reschedule(task, _NOTHING)
