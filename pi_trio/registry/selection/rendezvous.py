"""Rendezvous hashing that does not ask everybody.

Every key has its own order of preference over all *slots*, a permutation of them that is drawn from the key. An instance
stands in the slot that its id says, and a key goes to the first instance in its order. That is highest-random-weight
hashing, the weight being how early a slot comes: an instance that goes gives away its own keys and no other, one that
comes takes only those that prefer it, and all get equal shares (save the few that share a slot).

The permutation can be read both ways. Where there are few instances, each is asked for its place in the order; where
there are many, the order is walked until there is somebody. Neither takes more than about a square root of the slots,
for any number of instances, and both find the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import attrs

from ..table import Entry
from .views import View

__all__ = ["Preference", "Rendezvous"]

# Of 1,000 instances about 15 share a slot with another, and halve their share; it takes at most some 500 steps of
# a tenth of a microsecond to find four of them.
_BITS = 16
_MASK = (1 << _BITS) - 1
_HALF = _BITS // 2
_FEW = 2 << _HALF


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


@attrs.frozen
class Preference:
    """A key's order of preference: a permutation of the slots.

    Multiply by an odd number, fold the upper half of the bits onto the lower, multiply and add: each can be undone.
    """

    first: int
    second: int
    shift: int

    @classmethod
    def of(cls, key: str) -> Preference:
        """The key's own."""
        drawn = _hash(key)
        return cls(drawn & _MASK | 1, drawn >> _BITS & _MASK | 1, drawn >> 2 * _BITS & _MASK)

    def slot(self, place: int) -> int:
        """The slot that comes at this place in the order, from 0."""
        mixed = place * self.first & _MASK
        return (mixed ^ mixed >> _HALF) * self.second + self.shift & _MASK

    def places(self, slots: Iterable[int]) -> list[int]:
        """The places of these slots in the order."""
        undo_first, undo_second = pow(self.first, -1, _MASK + 1), pow(self.second, -1, _MASK + 1)
        shift = self.shift
        return [
            ((mixed := (slot - shift) * undo_second & _MASK) ^ mixed >> _HALF) * undo_first & _MASK for slot in slots
        ]


class Rendezvous(View):
    """The instances of a pool in their slots."""

    def __init__(self) -> None:
        self._slots: dict[int, list[str]] = {}

    def add(self, entry: Entry) -> None:
        """Stand in its slot."""
        self._slots.setdefault(_hash(entry.instance_id) & _MASK, []).append(entry.instance_id)

    def remove(self, instance_id: str) -> None:
        """Leave its slot."""
        slot = _hash(instance_id) & _MASK
        self._slots[slot].remove(instance_id)
        if not self._slots[slot]:
            del self._slots[slot]

    def preferred(self, key: str) -> Iterator[str]:
        """All of them, in the key's order of preference."""
        order = Preference.of(key)
        if len(self._slots) <= _FEW:
            slots: Iterable[int] = map(order.slot, sorted(order.places(self._slots)))
        else:
            slots = filter(self._slots.__contains__, map(order.slot, range(_MASK + 1)))
        for slot in slots:
            here = self._slots[slot]
            # Two in one slot settle it between themselves, for each key anew.
            yield from here if len(here) == 1 else sorted(here, key=lambda name: _hash(f"{key}\0{name}"))
