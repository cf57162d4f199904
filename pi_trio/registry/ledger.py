"""The channel of events, and the one table that is folded from it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import attrs
import trio

from ..concurrency import Broadcast, WhenFull
from ..lifecycle import (
    DiscoveryBreakerChanged,
    DiscoveryCompleted,
    DiscoveryFailed,
    InstanceEvent,
    Registered,
    RegistryEvent,
    Unregistered,
)
from .feed import EventFeed, Numbered, Snapshot
from .table import DiscoveryEntry, Entry, step, step_discovery

__all__ = ["Change", "Ledger", "Mark", "Sender"]

Change: TypeAlias = tuple[str, Entry | None, Entry | None]
"""An instance's id, its entry before, and its entry after. ``None``: it was, or is, no member."""


@attrs.frozen(eq=False)
class Mark:
    """Stands in the channel behind what was sent: ``reached`` is called when that is in the table."""

    reached: Callable[[], None]


Sender: TypeAlias = trio.MemorySendChannel[RegistryEvent | Mark]
"""A clone of the one send channel."""

# A tuple, not the union: that is asked three times as slowly.
_OF_DISCOVERIES = (DiscoveryCompleted, DiscoveryFailed, DiscoveryBreakerChanged)

# How many events are taken out of the channel before the subscribers get theirs: enough that the cost of handing
# over is shared by many, and not so many that anybody waits for long.
_BATCH = 256


class Ledger:
    """Takes events in, folds and numbers each, and passes it on to every subscriber.

    Every supervisor and every discovery holds a clone of one send channel, and one task takes in what comes of it. What is
    decided here, at a point where the table must not change in between (a lease), is entered directly (:meth:`enter`), in
    the same sequence of numbers.
    """

    def __init__(self) -> None:
        # Unbounded: a supervisor must never wait for its audience, and an instance has a handful of events.
        self._send, self._receive = trio.open_memory_channel[RegistryEvent | Mark](math.inf)
        self._marks = self._send.clone()
        self._broadcast: Broadcast[Numbered] = Broadcast()
        self._table: dict[str, Entry] = {}
        self._discoveries: dict[str, DiscoveryEntry] = {}
        self._snapshot: Snapshot | None = None
        self._looking = trio.lowlevel.ParkingLot()
        self._catching_up: set[trio.Event] = set()
        self._over = False
        self._seq = 0
        self._counts: Counter[type] = Counter()
        self._view = MappingProxyType(self._table)

    @property
    def instances(self) -> Mapping[str, Entry]:
        """The table, live and for reading only, in the order of registration."""
        return self._view

    def sender(self) -> Sender:
        """A send channel of the caller's own, to be closed when it has nothing more to say.

        Raises:
            trio.ClosedResourceError: the registry is over.
        """
        return self._send.clone()

    def snapshot(self) -> Snapshot:
        """The table as it is now. Between two events, the same one."""
        if self._snapshot is None:
            instances, discoveries = dict(self._table), dict(self._discoveries)
            self._snapshot = Snapshot(self._seq, MappingProxyType(instances), MappingProxyType(discoveries))
        return self._snapshot

    def subscribe(self, *, match: Callable[[RegistryEvent], bool] | None = None, capacity: int = 1024) -> EventFeed:
        """A snapshot, then every event after it, in a buffer of ``capacity`` events of its own.

        ``match`` says which events to show; see :class:`EventFeed`.
        """
        subscription = self._broadcast.subscribe(capacity=capacity, when_full=WhenFull.LAG)
        return EventFeed(self.snapshot, subscription, match)

    async def wait_for(self, predicate: Callable[[Mapping[str, Entry]], bool]) -> None:
        """Wait until ``predicate`` is true of the table; it is asked now, and behind every batch of events.

        What is true only for a moment may be missed. What the predicate raises comes out here.

        Raises:
            trio.ClosedResourceError: the registry is over, and it is not true.
        """
        await trio.lowlevel.checkpoint()
        while not predicate(self._view):
            if self._broadcast.closed:
                raise trio.ClosedResourceError("the registry is over: nothing will change any more")
            await self._looking.park()

    async def wait_change(self) -> None:
        """Wait until there is another event, or somebody waits for a lease."""
        await self._looking.park()

    def _look(self) -> None:
        if self._looking:
            self._looking.unpark_all()

    async def catch_up(self, sender: Sender | None = None) -> None:
        """Wait until everything that has been sent by now is in the table. At once, when nothing is taken in any more.

        ``sender`` is one of the caller's own, which goes on being read when the registry has been closed.
        """
        reached = trio.Event()
        try:
            if self._over:
                raise trio.BrokenResourceError
            (self._marks if sender is None else sender).send_nowait(Mark(reached.set))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            await trio.lowlevel.checkpoint()
            return
        self._catching_up.add(reached)
        try:
            await reached.wait()
        finally:
            self._catching_up.discard(reached)

    def enter(self, *events: RegistryEvent) -> None:
        """Fold these events now, and pass them on. Never blocks."""
        changes: list[Change] = []
        numbered: list[Numbered] = []
        for event in events:
            self._seq += 1
            numbered.append(Numbered(self._seq, event))
            if isinstance(event, _OF_DISCOVERIES):
                self._discoveries[event.discovery] = step_discovery(self._discoveries.get(event.discovery), event)
            else:
                self._enter_one(event, changes)
        self._snapshot = None
        self._broadcast.publish(numbered)
        self._look()
        if changes:
            self._settle(changes)

    def _enter_one(self, event: InstanceEvent, changes: list[Change]) -> None:
        name = event.instance_id
        before = self._table.get(name)
        after = step(before, event)
        kind = type(event)
        if kind is Registered or (kind is Unregistered and before is not None):
            self._counts[kind] += 1
        if after is None:
            if before is not None:
                del self._table[name]
                changes.append((name, before, None))
        else:
            self._table[name] = after
            if before is not None and kind is Registered:  # another one by this name
                changes.append((name, before, None))
                before = None
            changes.append((name, before, after))

    def _settle(self, changes: Sequence[Change]) -> None:
        """What follows from changes, behind the events that made them."""

    def close(self) -> None:
        """No sender will be given out any more: the ledger ends when the last one was closed."""
        self._send.close()
        self._marks.close()

    async def _take_in(self) -> None:
        """Take events in until every sender was closed."""
        try:
            async for item in self._receive:
                batch = [item]
                while len(batch) < _BATCH:
                    try:
                        batch.append(self._receive.receive_nowait())
                    except (trio.WouldBlock, trio.EndOfChannel):
                        break
                self._enter_batch(batch)
        finally:
            self._over = True
            for reached in self._catching_up:  # in vain, but not for ever
                reached.set()
        self._broadcast.close()
        self._look()  # whoever waits for something to be true waits in vain

    def _enter_batch(self, batch: Iterable[RegistryEvent | Mark]) -> None:
        marks = [item for item in batch if isinstance(item, Mark)]
        self.enter(*(item for item in batch if not isinstance(item, Mark)))
        for mark in marks:
            mark.reached()
