"""What can go wrong with a Pi, as values: each a small frozen class that spoils one thing.

A fault is given to a world with the incarnation it is for (``open_world(faults=...)``). Several for one process are put
around each other, the last outermost. Each has a docstring, and one method of :class:`~pi_trio.testing.world.Fault`;
what stands in front of a program's stdout is a filter, which sees whole records.
"""

from __future__ import annotations

from ..world import Fault
from .connection import DropAfterBytes, DropAtRecord
from .end import Crash, CrashAtRecord, HalfRecordAtExit, IgnoredEnd, IgnoredSigterm, SlowDeath
from .grandchild import Grandchild
from .noise import Flood, GarbageLines, Mute, SplitWrites, Stopped, StopsReading
from .responses import DuplicatedResponses, LateResponses, LostResponses, ResponsesOutOfOrder, ResponsesWithoutId
from .start import BadSpawn, HangingStart, SlowSpawn, SlowStart

__all__ = [
    "FAULTS",
    "BadSpawn",
    "Crash",
    "CrashAtRecord",
    "DropAfterBytes",
    "DropAtRecord",
    "DuplicatedResponses",
    "Flood",
    "GarbageLines",
    "Grandchild",
    "HalfRecordAtExit",
    "HangingStart",
    "IgnoredEnd",
    "IgnoredSigterm",
    "LateResponses",
    "LostResponses",
    "Mute",
    "ResponsesOutOfOrder",
    "ResponsesWithoutId",
    "SlowDeath",
    "SlowSpawn",
    "SlowStart",
    "SplitWrites",
    "Stopped",
    "StopsReading",
]

FAULTS: tuple[type[Fault], ...] = (
    BadSpawn,
    Crash,
    CrashAtRecord,
    DropAfterBytes,
    DropAtRecord,
    DuplicatedResponses,
    Flood,
    GarbageLines,
    Grandchild,
    HalfRecordAtExit,
    HangingStart,
    IgnoredEnd,
    IgnoredSigterm,
    LateResponses,
    LostResponses,
    Mute,
    ResponsesOutOfOrder,
    ResponsesWithoutId,
    SlowDeath,
    SlowSpawn,
    SlowStart,
    SplitWrites,
    Stopped,
    StopsReading,
)
"""All of them."""
