"""Looking at what a runtime does from outside: what it publishes, and who holds a start slot.

The runtime knows nothing of it. What its supervisors send passes through here on its way into the registry's channel, so
that a trace has it where it happened, and not where somebody heard of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import trio

from ..lifecycle import InstanceEvent
from ..runtime import Runtime
from .trace import Published, Record, ResourceAcquired, ResourceReleased

__all__ = ["tap"]


class _Tap:
    """Stands in for a ``MemorySendChannel``, and takes down what is sent."""

    def __init__(
        self, channel: trio.MemorySendChannel[InstanceEvent], publish: Callable[[InstanceEvent], None]
    ) -> None:
        self._channel = channel
        self._publish = publish

    def clone(self) -> _Tap:
        return _Tap(self._channel.clone(), self._publish)

    def send_nowait(self, event: InstanceEvent) -> None:
        self._publish(event)
        self._channel.send_nowait(event)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Slots:
    """Stands in for a ``CapacityLimiter``, and takes down who holds a token."""

    def __init__(self, limiter: trio.CapacityLimiter, record: Record) -> None:
        self._limiter = limiter
        self._record = record
        self._holders: dict[object, str] = {}

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        await self._limiter.acquire_on_behalf_of(borrower)
        name = self._holders.setdefault(borrower, f"start {len(self._holders) + 1}")
        limit = int(self._limiter.total_tokens)
        self._record(ResourceAcquired(trio.current_time(), "start slot", name, limit))

    def release_on_behalf_of(self, borrower: object) -> None:
        name = self._holders.get(borrower, "nobody")
        self._record(ResourceReleased(trio.current_time(), "start slot", name))
        self._limiter.release_on_behalf_of(borrower)


def tap(runtime: Runtime, record: Record, seen: Callable[[InstanceEvent], None]) -> None:
    """Take down what a runtime does from now on. ``seen`` is called with each event that is published, at once."""

    def publish(event: InstanceEvent) -> None:
        record(Published(trio.current_time(), event))
        seen(event)

    registry: Any = runtime._registry
    registry._send = _Tap(registry._send, publish)
    anyway: Any = runtime
    anyway._starts = _Slots(runtime._starts, record)
