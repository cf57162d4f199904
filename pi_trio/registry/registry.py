"""The channel of instance events: what supervisors send is folded, numbered, and passed on."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Self

import attrs
import trio

from ..concurrency import Broadcast, Lagged, Subscription, WhenFull
from ..lifecycle import InstanceEvent
from .table import Entry, fold

__all__ = ["EventFeed", "Numbered", "Registry", "Snapshot"]


@attrs.frozen
class Numbered:
    """An event, with its place in the registry's sequence: 1, 2, 3, ... without a gap."""

    seq: int
    event: InstanceEvent


@attrs.frozen
class Snapshot:
    """The whole table, as it was after event ``seq``."""

    seq: int
    instances: Mapping[str, Entry]


class EventFeed:
    """A subscriber's end: first a :class:`Snapshot`, then every later event in order.

    A feed that falls behind finds a :class:`Lagged` that counts what it missed, and a new snapshot behind
    it. It ends with the runtime. Use it as a context manager.
    """

    def __init__(self, registry: Registry, subscription: Subscription[Numbered]) -> None:
        self._registry = registry
        self._subscription = subscription
        self._pending: Snapshot | None = registry.snapshot()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._subscription.close()

    def __aiter__(self) -> AsyncIterator[Snapshot | Numbered | Lagged]:
        return self

    async def __anext__(self) -> Snapshot | Numbered | Lagged:
        if self._pending is not None:
            await trio.lowlevel.checkpoint()
            snapshot, self._pending = self._pending, None
            return snapshot
        while True:
            try:
                item = await self._subscription.receive()
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
            if isinstance(item, Lagged):
                # Everything still in the buffer is in the new snapshot already.
                skipped = self._subscription.clear()
                self._pending = self._registry.snapshot()
                return Lagged(item.missed + skipped)
            return item


class Registry:
    """Folds the events of all instances. Supervisors hold clones of one send channel."""

    def __init__(self) -> None:
        # Unbounded: a supervisor must never wait for its audience, and an instance has a handful of events.
        self._send, self._receive = trio.open_memory_channel[InstanceEvent](math.inf)
        self._broadcast: Broadcast[Numbered] = Broadcast()
        self._table: dict[str, Entry] = {}
        self._seq = 0

    def __repr__(self) -> str:
        return f"<Registry {len(self._table)} instances seq={self._seq}>"

    def sender(self) -> trio.MemorySendChannel[InstanceEvent]:
        """A send channel of the caller's own, to be closed when it has nothing more to say."""
        return self._send.clone()

    def snapshot(self) -> Snapshot:
        """The table as it is now."""
        return Snapshot(self._seq, MappingProxyType(dict(self._table)))

    def subscribe(self, *, capacity: int = 1024) -> EventFeed:
        """A snapshot, then every event after it, in a buffer of ``capacity`` events of its own."""
        subscription = self._broadcast.subscribe(capacity=capacity, when_full=WhenFull.LAG)
        return EventFeed(self, subscription)

    def close(self) -> None:
        """No sender will be given out any more: :meth:`run` ends when the last one was closed."""
        self._send.close()

    async def run(self) -> None:
        """Take events in until every sender was closed."""
        async for event in self._receive:
            self._table = fold(self._table, event)
            self._seq += 1
            self._broadcast.publish([Numbered(self._seq, event)])
        self._broadcast.close()
