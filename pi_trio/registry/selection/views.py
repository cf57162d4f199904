"""Orders in which the instances of a pool are kept, so that a strategy finds the next without looking at all.

Each costs O(log n) or less for every instance that comes, changes or goes, and gives the first few in the same.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from ..table import Entry

__all__ = ["Rotation", "Scatter", "Standing", "View"]


class View(ABC):
    """One order of the instances of a pool."""

    @abstractmethod
    def add(self, entry: Entry) -> None:
        """It is in the pool now."""

    def change(self, _entry: Entry) -> None:
        """It is in the pool as before, but it has changed."""
        return

    @abstractmethod
    def remove(self, instance_id: str) -> None:
        """It is not in the pool any more."""


class Rotation(View):
    """Whose turn is next. Who joins goes to the end, and so does who was taken.

    So between two turns of one instance, each other that is there all the while has exactly one.
    """

    def __init__(self) -> None:
        self._queue: OrderedDict[str, None] = OrderedDict()  # a dict would look for its first key ever longer

    def add(self, entry: Entry) -> None:
        """Stand behind the others."""
        self._queue[entry.instance_id] = None

    def remove(self, instance_id: str) -> None:
        """Leave the queue."""
        del self._queue[instance_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._queue)

    def taken(self, instance_id: str) -> None:
        """It has had its turn."""
        self._queue.move_to_end(instance_id)


class Scatter(View):
    """All of them with equal chances."""

    def __init__(self, seed: int | None) -> None:
        self.random = random.Random(seed)
        self._ids: list[str] = []
        self._places: dict[str, int] = {}

    def add(self, entry: Entry) -> None:
        """Take the last place."""
        self._places[entry.instance_id] = len(self._ids)
        self._ids.append(entry.instance_id)

    def remove(self, instance_id: str) -> None:
        """Let the last one take its place."""
        place, last = self._places.pop(instance_id), self._ids.pop()
        if last != instance_id:
            self._ids[place] = last
            self._places[last] = place

    def __iter__(self) -> Iterator[str]:
        """Each once, in an order that is drawn as far as it is read."""
        # Fisher and Yates, remembering only the places that were touched: 10,000 are not copied to draw four.
        moved: dict[int, int] = {}
        for start in range(len(self._ids)):
            drawn = self.random.randrange(start, len(self._ids))
            yield self._ids[moved.get(drawn, drawn)]
            moved[drawn] = moved.get(start, start)


class Standing(View):
    """By rank, the lowest first; those of one rank in the order in which they got it."""

    def __init__(self, rank: Callable[[Entry], Any]) -> None:
        self._rank = rank
        self._rank_of: dict[str, Any] = {}
        self._by_rank: dict[Any, OrderedDict[str, None]] = {}
        self._ranks: list[Any] = []  # sorted; there are few: most instances share theirs with many

    def add(self, entry: Entry) -> None:
        """Stand where its rank says."""
        self._place(entry.instance_id, self._rank(entry))

    def _place(self, instance_id: str, rank: Any) -> None:
        self._rank_of[instance_id] = rank
        equals = self._by_rank.get(rank)
        if equals is None:
            equals = self._by_rank[rank] = OrderedDict()
            insort(self._ranks, rank)
        equals[instance_id] = None

    def change(self, entry: Entry) -> None:
        """Stand elsewhere, if its rank is another."""
        rank = self._rank(entry)
        if rank != self._rank_of[entry.instance_id]:
            self.remove(entry.instance_id)
            self._place(entry.instance_id, rank)

    def remove(self, instance_id: str) -> None:
        """Stand nowhere."""
        rank = self._rank_of.pop(instance_id)
        equals = self._by_rank[rank]
        del equals[instance_id]
        if not equals:
            del self._by_rank[rank]
            del self._ranks[bisect_left(self._ranks, rank)]

    def __iter__(self) -> Iterator[str]:
        for rank in self._ranks:
            yield from self._by_rank[rank]
