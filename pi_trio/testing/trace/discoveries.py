"""What discoveries told, and how the members that they found were watched, as a trace tells it."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from ...abc import Found
from ...registry import Criteria

__all__ = [
    "DiscoveryBegun",
    "DiscoveryEnded",
    "DiscoveryTold",
    "DiscoveryTraceEvent",
    "FarCut",
    "MemberAnswered",
    "MemberAsked",
    "SomewhereAsked",
]


@attrs.frozen
class _DiscoveryEvent:
    at: float
    """When, on the Trio clock, in seconds."""


@attrs.frozen
class DiscoveryBegun(_DiscoveryEvent):
    """Somebody runs a discovery from here on."""

    discovery: str


@attrs.frozen
class DiscoveryEnded(_DiscoveryEvent):
    """Its scope is over: nothing of what it found may be left."""

    discovery: str


@attrs.frozen
class DiscoveryTold(_DiscoveryEvent):
    """It tells something, and then this is all that is there: what it has not told of is not."""

    discovery: str
    members: tuple[Found, ...]


@attrs.frozen
class FarCut(_DiscoveryEvent):
    """Nobody gets to an instance from somewhere else until then, and links to it drop."""

    instance: str
    until: float


@attrs.frozen
class MemberAsked(_DiscoveryEvent):
    """The registry asks a member how it is that is not supervised here."""

    member: str


@attrs.frozen
class MemberAnswered(_DiscoveryEvent):
    """What came of it."""

    member: str
    latency: float | None
    """Seconds; ``None``: there was no answer in time."""


@attrs.frozen
class SomewhereAsked(_DiscoveryEvent):
    """Somebody wants a prompt to be run by any member that is like this."""

    call: int
    criteria: Criteria
    attempts: int


DiscoveryTraceEvent: TypeAlias = (
    DiscoveryBegun | DiscoveryEnded | DiscoveryTold | FarCut | MemberAsked | MemberAnswered | SomewhereAsked
)
