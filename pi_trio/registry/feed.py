"""What a subscriber of the registry reads: a snapshot, then every event behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Self

import attrs
import trio

from ..concurrency import Lagged, Subscription
from ..lifecycle import RegistryEvent
from .table import DiscoveryEntry, Entry

__all__ = ["EventFeed", "Numbered", "Snapshot"]


@attrs.frozen
class Numbered:
    """An event, with its place in the registry's sequence: 1, 2, 3, ... without a gap."""

    seq: int
    event: RegistryEvent


@attrs.frozen
class Snapshot:
    """The whole table, as it was after event ``seq``."""

    seq: int
    instances: Mapping[str, Entry]
    discoveries: Mapping[str, DiscoveryEntry] = attrs.field(factory=lambda: MappingProxyType({}))


# A checkpoint costs ten times what an item does; once in so many it is lost in the noise.
_ITEMS_PER_CHECKPOINT = 128


class EventFeed:
    """A subscriber's end: first a :class:`Snapshot`, then every later event in order.

    A feed that falls behind finds a :class:`Lagged` that counts what it missed, and a new snapshot behind
    it. With ``match`` it is shown only the events for which that is true; what it does not want counts for its buffer all
    the same. It ends with the runtime. Use it as a context manager, with ``with`` or ``async with``.
    """

    def __init__(
        self,
        take_snapshot: Callable[[], Snapshot],
        subscription: Subscription[Numbered],
        match: Callable[[RegistryEvent], bool] | None,
    ) -> None:
        self._take_snapshot = take_snapshot
        self._subscription = subscription
        # Asked here and not where events are published: what a subscriber's function raises, or takes, is its own.
        self._match = match
        self._ready: deque[Snapshot | Numbered | Lagged] = deque((take_snapshot(),))
        self._unasked: deque[Numbered | Lagged] = deque()
        self._since_checkpoint = _ITEMS_PER_CHECKPOINT

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Want no more. Idempotent."""
        self._ready.clear()
        self._unasked.clear()
        self._subscription.close()

    def __aiter__(self) -> AsyncIterator[Snapshot | Numbered | Lagged]:
        return self

    async def __anext__(self) -> Snapshot | Numbered | Lagged:
        if not self._ready:
            self._ask()
        if not self._ready:
            await self._refill()
        elif self._since_checkpoint >= _ITEMS_PER_CHECKPOINT:
            await trio.lowlevel.checkpoint()
            self._since_checkpoint = 0
        self._since_checkpoint += 1
        return self._ready.popleft()

    async def _refill(self) -> None:
        self._since_checkpoint = 0
        while not self._ready:
            try:
                batch = await self._subscription.receive_batch()
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
            if isinstance(batch[0], Lagged):
                # Everything behind it is in the new snapshot already.
                self._ready.append(Lagged(batch[0].missed + len(batch) - 1))
                self._ready.append(self._take_snapshot())
            elif self._match is None:
                self._ready.extend(batch)
            else:
                self._unasked.extend(batch)
                self._ask()

    def _ask(self) -> None:
        """Look for the next event that is wanted. When ``match`` raises, that is about one; those behind it are kept."""
        while self._unasked and not self._ready:
            item = self._unasked.popleft()
            if self._match is not None and isinstance(item, Numbered) and self._match(item.event):
                self._ready.append(item)
