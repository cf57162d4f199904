"""Trio in virtual time, for tests without processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from trio.testing import MockClock

__all__ = ["bounded", "is_stuck", "run"]


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a test's async part. Time passes only when nothing else can happen, and ends after a while."""

    trio.run(bounded, main, clock=MockClock(autojump_threshold=0))


async def bounded(main: Callable[[], Awaitable[None]]) -> None:
    """Run ``main`` for a limited time. What is shielded needs a limit of its own, or a failing test would hang."""
    with trio.fail_after(10_000):
        await main()


async def is_stuck(waiting: Callable[[], Awaitable[object]]) -> bool:
    """Whether ``waiting`` does not return by itself. If so, it is cancelled."""
    with trio.move_on_after(1) as scope:
        await waiting()
    return scope.cancelled_caught
