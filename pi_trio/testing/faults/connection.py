"""What ends a connection to a Pi that is somewhere else, while the Pi lives.

Of such a fault, the ``incarnation`` that it is given for is which of the links: the n-th that a client makes to the
instance.
"""

from __future__ import annotations

import attrs

from ..world import Cut, Fault, Way

__all__ = ["DropAfterBytes", "DropAtRecord"]


@attrs.frozen
class DropAtRecord(Fault):
    """A WebSocket drops at the n-th record that goes this way: when it has arrived, or in the middle of its frame."""

    record: int
    """1 is the first, which is the greeting."""
    way: Way = "back"
    half: bool = False
    """Whether only half of the frame arrives, which is nothing of the record."""

    def cut(self, way: Way, record: int, end: int) -> Cut | None:
        """See :meth:`Fault.cut`, here and below."""
        del end
        if way != self.way or record != self.record:
            return None
        return "within" if self.half else "behind"


@attrs.frozen
class DropAfterBytes(Fault):
    """A WebSocket drops when so many bytes of records have gone this way, which is in the middle of one most of the time."""

    size: int
    way: Way = "back"

    def cut(self, way: Way, record: int, end: int) -> Cut | None:
        del record
        if way != self.way or end < self.size:
            return None
        return "behind" if end == self.size else "within"
