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
from .turns import Turns

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
    """Whose turn is next: of who had none for the longest.

    Turns are taken in other rotations, too. Who took one there is still where it was here, which is too far in front, and
    is moved when it comes up.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._queue: list[tuple[int, str]] = []  # sorted
        self._place: dict[str, int] = {}

    def add(self, entry: Entry) -> None:
        """Stand where its last turn says."""
        self._stand(entry.instance_id)

    def _stand(self, instance_id: str) -> None:
        self._place[instance_id] = turn = self._turns[instance_id]
        insort(self._queue, (turn, instance_id))

    def remove(self, instance_id: str) -> None:
        """Leave the queue."""
        del self._queue[bisect_left(self._queue, (self._place.pop(instance_id), instance_id))]

    def __iter__(self) -> Iterator[str]:
        at = 0
        while at < len(self._queue):
            turn, name = self._queue[at]
            if turn == self._turns[name]:
                yield name
                at += 1
            else:
                del self._queue[at]
                self._stand(name)

    def taken(self, instance_id: str) -> None:
        """It has had its turn."""
        self._turns.take(instance_id)


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
