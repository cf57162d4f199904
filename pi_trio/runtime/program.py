"""Running a whole program: Trio, with signals that end it in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from ..process import watch_interrupts

__all__ = ["run"]

T = TypeVar("T")


def run(main: Callable[..., Awaitable[T]], *args: object) -> T:
    """``trio.run`` for a program that owns agents: SIGINT and SIGTERM end it in order.

    The first signal cancels ``main``: every instance gets SIGTERM, its grace period, then SIGKILL to its whole
    tree. A second one shortens the grace period to half a second, a third kills at once. None of them skips the
    sweep.

    Only in the main thread.

    Raises:
        KeyboardInterrupt: SIGINT ended ``main``.
        SystemExit: SIGTERM ended ``main``; with code 143.
    """

    async def program() -> T:
        async with watch_interrupts() as interruption:
            with interruption.scope:
                return await main(*args)
        if interruption.signal_name == "SIGINT":
            raise KeyboardInterrupt
        raise SystemExit(interruption.exit_code)

    return trio.run(program)
