"""Turning a terminal's Ctrl-C, and a polite kill, into a cancelled scope; and into haste, when repeated."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import trio

from ..concurrency import open_service_nursery

__all__ = ["Interruption", "current_interruption", "watch_interrupts"]


class Interruption:
    """The signals that came. The first cancels :attr:`scope`; what the next mean is up to who waits for them."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        """To be entered around what the first signal is to end."""
        self.count = 0
        """How many signals have come."""
        self.signal_name: str | None = None
        """The first: ``"SIGINT"`` or ``"SIGTERM"``."""
        self.exit_code: int | None = None
        """What a shell expects of a program that the first one ended: 130 or 143."""
        self._came = trio.Event()

    def __repr__(self) -> str:
        return f"<Interruption {self.signal_name or 'none'} {self.count}>"

    def take(self, number: int) -> None:
        """A signal came."""
        self.count += 1
        if self.signal_name is None:
            self.signal_name = signal.Signals(number).name
            self.exit_code = 128 + number
        self.scope.cancel()
        self._came.set()
        self._came = trio.Event()

    async def wait_count(self, count: int) -> None:
        """Wait until ``count`` signals have come."""
        while self.count < count:
            await self._came.wait()


current_interruption: ContextVar[Interruption | None] = ContextVar("pi_trio_interruption", default=None)
"""The innermost :func:`watch_interrupts` that this task is inside of."""


@asynccontextmanager
async def watch_interrupts() -> AsyncIterator[Interruption]:
    """Take SIGINT and SIGTERM for the body; what they do is in the value it yields.

    The first cancels its ``scope``, which the body enters around what is to end; a runtime inside of the body
    hurries at the second and uses force at the third. Behind the body the signals do what they did before.
    Only in the main thread.
    """
    interruption = Interruption()
    watching = trio.CancelScope()

    async def stop(_: BaseException | None) -> None:
        watching.cancel()

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:

        async def watch() -> None:
            with watching:
                async for number in received:
                    interruption.take(number)

        async with open_service_nursery(stop) as service:
            service.start_soon(watch)
            token = current_interruption.set(interruption)
            try:
                yield interruption
            finally:
                current_interruption.reset(token)
