"""Instances that are kept for those who wait for more room on one than a single place."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping

from .selection import Criteria, refused_by
from .table import Entry

__all__ = ["Reservations"]

_NAMES: frozenset[str] = frozenset()


class Reservations:
    """For each of those who wait for several free places, one instance that nobody who came later may take.

    A single place is free as soon as a lease ends, and goes to whoever is first in the line. Several are free at once only
    when those that become free are left alone, or those who came later would take them one by one for ever. So the leases
    of the instance that is kept run out, one after the other, and no new one is taken of it: who waits is served when the
    longest of them is over, if no other instance has room before. One is enough for that, and everybody else has the
    others.
    """

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._kept: dict[Hashable, str] = {}
        # Who found none among all there are; only those that change can be one until something is given up.
        self._found_none: set[Hashable] = set()
        self.names = _NAMES
        """What is kept for anybody."""

    def renew(self, waiter: Hashable, criteria: Criteria, taken: Collection[str], changed: Iterable[str]) -> str | None:
        """What is kept for one who waits: the same as before while it is of use, and else the one that lacks least.

        Args:
            waiter: who waits.
            criteria: for what.
            taken: what is kept for those who came before.
            changed: which instances have changed since this was asked for anybody.
        """
        name = self._kept.get(waiter)
        if name is not None and name not in taken and self._lacks_only_room(criteria, name):
            return name
        self.give_up(waiter)
        names = changed if waiter in self._found_none else self._entries
        candidates = [each for each in names if each not in taken and self._lacks_only_room(criteria, each)]
        if not candidates:
            self._found_none.add(waiter)
            return None
        name = max(candidates, key=lambda each: self._entries[each].free)
        self._kept[waiter] = name
        self.names = frozenset(self._kept.values())
        return name

    def give_up(self, waiter: Hashable) -> bool:
        """Nothing is kept for this one any more. Whether something was."""
        if self._kept.pop(waiter, None) is None:
            return False
        self._found_none.clear()  # it may be of use to somebody else
        self.names = frozenset(self._kept.values())
        return True

    def forget(self, waiter: Hashable) -> bool:
        """It does not wait any more. Whether something was kept for it."""
        self._found_none.discard(waiter)
        return self.give_up(waiter)

    def _lacks_only_room(self, criteria: Criteria, name: str) -> bool:
        entry = self._entries.get(name)
        # Room is what is looked at last: see CHECKS.
        return entry is not None and criteria.fits(entry) and refused_by(criteria, entry) == "free capacity"
