"""Turning a terminal's Ctrl-C, and a polite kill, into a cancelled scope."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from ..concurrency import open_service_nursery

__all__ = ["Interruption", "cancel_on_signals"]


@attrs.define
class Interruption:
    """Which signal ended the scope, if one did."""

    signal_name: str | None = None
    """``"SIGINT"`` or ``"SIGTERM"``."""
    signal_number: int | None = None

    @property
    def exit_code(self) -> int | None:
        """What a shell expects of a program that this signal ended: 130 or 143."""
        return None if self.signal_number is None else 128 + self.signal_number


@asynccontextmanager
async def cancel_on_signals() -> AsyncIterator[Interruption]:
    """Cancel the body at SIGINT or SIGTERM, quietly; what came is in the value it yields.

    Behind the body the signals do what they did before. Only in the main thread.
    """
    interruption = Interruption()
    watching = trio.CancelScope()

    async def stop(_: BaseException | None) -> None:
        watching.cancel()

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received, trio.CancelScope() as scope:

        async def watch() -> None:
            with watching:
                async for number in received:
                    interruption.signal_number = number
                    interruption.signal_name = signal.Signals(number).name
                    scope.cancel()

        async with open_service_nursery(stop) as service:
            service.start_soon(watch)
            yield interruption
