"""Which of those that match is taken. Frozen values; what a strategy remembers is kept beside the pool."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from ..table import Entry
from .criteria import several
from .rendezvous import Rendezvous
from .turns import Turns
from .views import Rotation, Scatter, Standing, View

__all__ = ["CapabilityMatch", "LeastLoaded", "PowerOfTwoChoices", "Random", "RoundRobin", "Sticky", "Strategy"]


class Strategy(ABC):
    """An order in which those that match are taken."""

    @property
    @abstractmethod
    def view_key(self) -> Hashable:
        """Strategies alike in this share one view of a pool."""

    @abstractmethod
    def make_view(self, turns: Turns) -> View:
        """An empty view of the kind that it reads. ``turns`` is what all rotations share."""

    @abstractmethod
    def order(self, view: Any, entries: Mapping[str, Entry]) -> Iterator[str]:
        """The ids, the first choice first; lazily."""

    @abstractmethod
    def why(self, entry: Entry) -> str:
        """Why this one came first, in a few words."""

    def chosen(self, _view: Any, _instance_id: str) -> None:
        """It was taken."""
        return


@attrs.frozen
class LeastLoaded(Strategy):
    """The one of which the smallest part is in use; of equals, the one that has matched so for the longest."""

    view_key = "least-loaded"

    def make_view(self, _turns: Turns) -> Standing:
        """By load."""
        return Standing(lambda entry: entry.load)

    def order(self, view: Standing, _entries: Mapping[str, Entry]) -> Iterator[str]:
        """From the least loaded on."""
        return iter(view)

    def why(self, entry: Entry) -> str:
        """Its load."""
        return f"least loaded: {entry.in_use} of {entry.max_concurrent} in use"


@attrs.frozen
class RoundRobin(Strategy):
    """Each in its turn: of those that match, the one that had none for the longest, whatever the criteria were then.

    So between two turns of one, each other that matches all the while has one, and only one if all ask with the same
    criteria.
    """

    view_key = "round-robin"

    def make_view(self, turns: Turns) -> Rotation:
        """A queue."""
        return Rotation(turns)

    def order(self, view: Rotation, _entries: Mapping[str, Entry]) -> Iterator[str]:
        """As they stand in the queue."""
        return iter(view)

    def why(self, _entry: Entry) -> str:
        """Its turn."""
        return "it is its turn"

    def chosen(self, view: Rotation, instance_id: str) -> None:
        """To the end of the queue."""
        view.taken(instance_id)


@attrs.frozen
class Random(Strategy):
    """Any, with equal chances. With a ``seed``, the same choices each time the same things happen."""

    seed: int | None = None

    @property
    def view_key(self) -> Hashable:
        """Each seed has a row of draws of its own."""
        return ("random", self.seed)

    def make_view(self, _turns: Turns) -> Scatter:
        """Something to draw from."""
        return Scatter(self.seed)

    def order(self, view: Scatter, _entries: Mapping[str, Entry]) -> Iterator[str]:
        """As they are drawn."""
        return iter(view)

    def why(self, _entry: Entry) -> str:
        """Chance."""
        return "drawn at random"


@attrs.frozen
class PowerOfTwoChoices(Strategy):
    """The less loaded of two that are drawn: nearly as even as the least loaded, without all going to the same one."""

    seed: int | None = None

    @property
    def view_key(self) -> Hashable:
        """Each seed has a row of draws of its own."""
        return ("two choices", self.seed)

    def make_view(self, _turns: Turns) -> Scatter:
        """Something to draw from."""
        return Scatter(self.seed)

    def order(self, view: Scatter, entries: Mapping[str, Entry]) -> Iterator[str]:
        """Pair by pair."""
        drawn = iter(view)
        for one in drawn:
            other = next(drawn, None)
            if other is None:
                yield one
            elif entries[other].load < entries[one].load:
                yield from (other, one)
            else:
                yield from (one, other)

    def why(self, entry: Entry) -> str:
        """Its load."""
        return f"the less loaded of two: {entry.in_use} of {entry.max_concurrent} in use"


@attrs.frozen
class CapabilityMatch(Strategy):
    """The one that is best at what is preferred, and not wasted on it.

    First by how many of ``prefer`` it has, then by how few others, then by load. What it *must* have belongs into the
    criteria.
    """

    prefer: frozenset[str] = attrs.field(default=frozenset(), converter=several)

    @property
    def view_key(self) -> Hashable:
        """Each wish list has an order of its own."""
        return ("capabilities", self.prefer)

    def score(self, capabilities: Iterable[str]) -> tuple[int, int]:
        """How many of the preferred are missing, and how many others there are: the lower, the better."""
        has = frozenset(capabilities)
        return len(self.prefer - has), len(has - self.prefer)

    def make_view(self, _turns: Turns) -> Standing:
        """By score, then by load."""
        return Standing(lambda entry: (*self.score(entry.profile.capabilities), entry.load))

    def order(self, view: Standing, _entries: Mapping[str, Entry]) -> Iterator[str]:
        """From the best on."""
        return iter(view)

    def why(self, entry: Entry) -> str:
        """Its score."""
        missing, others = self.score(entry.profile.capabilities)
        wanted = len(self.prefer)
        return f"has {wanted - missing} of {wanted} preferred capabilities and {others} more"


@attrs.frozen
class Sticky(Strategy):
    """The same one for the same ``key``, as long as it matches; see :mod:`.rendezvous`."""

    key: str

    view_key = "sticky"

    def make_view(self, _turns: Turns) -> Rendezvous:
        """Slots."""
        return Rendezvous()

    def order(self, view: Rendezvous, _entries: Mapping[str, Entry]) -> Iterator[str]:
        """As the key prefers them."""
        return view.preferred(self.key)

    def why(self, _entry: Entry) -> str:
        """The key."""
        return f"the first choice of the key {self.key!r}"
