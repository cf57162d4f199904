"""When each instance last had its turn, whatever the criteria were: what rotations go by."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Turns"]


class Turns:
    """One number for each instance: the lower, the longer ago is its last turn. Who joins counts as having just had one.

    It belongs to the index, and not to a pool: what is remembered of turns is not lost with the pools that are forgotten,
    and is never more than there are instances.
    """

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._count = 0

    def __getitem__(self, instance_id: str) -> int:
        return self._last[instance_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._last)

    def join(self, instance_id: str) -> None:
        """There is such an instance. Nothing new, if it is known."""
        if instance_id not in self._last:
            self.take(instance_id)

    def leave(self, instance_id: str) -> None:
        """There is none any more."""
        self._last.pop(instance_id, None)

    def take(self, instance_id: str) -> None:
        """It has its turn."""
        self._count += 1
        self._last[instance_id] = self._count
