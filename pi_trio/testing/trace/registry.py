"""What the registry did with events, leases and breakers, as a trace tells it."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from ...lifecycle import RegistryEvent
from ...registry import CapacityReport, Criteria, Strategy

__all__ = [
    "BreakerTold",
    "CapacityReported",
    "Folded",
    "LeaseAsked",
    "LeaseEnded",
    "LeaseGranted",
    "LeaseLeft",
    "LeaseRefused",
    "ProbeSent",
    "RegistryTraceEvent",
]


@attrs.frozen
class _RegistryTraceEvent:
    at: float
    """When, on the Trio clock, in seconds."""


@attrs.frozen
class Folded(_RegistryTraceEvent):
    """The registry numbered and folded these: those that came through its channel, and its own, in one sequence."""

    events: tuple[RegistryEvent, ...]


@attrs.frozen
class CapacityReported(_RegistryTraceEvent):
    """What the registry's report of capacity says behind an event."""

    report: CapacityReport


@attrs.frozen
class LeaseAsked(_RegistryTraceEvent):
    """Somebody wants a lease of an instance that is like this."""

    asker: int
    criteria: Criteria
    timeout: float | None
    """In seconds; ``None`` for none."""
    strategy: Strategy | None = None
    newcomers: bool = True
    """Whether there is hope as long as a discovery runs."""


@attrs.frozen
class LeaseGranted(_RegistryTraceEvent):
    """Whoever asked has it: the task that asked runs again. It was theirs from the ``ResourceAcquired`` of ``lease``."""

    asker: int
    lease: str
    instance: str


@attrs.frozen
class LeaseRefused(_RegistryTraceEvent):
    """Whoever asked does not get it: ``"cancelled"``, or the name of the exception."""

    asker: int
    outcome: str


@attrs.frozen
class LeaseLeft(_RegistryTraceEvent):
    """The body of a lease is over: ``"returned"``, ``"cancelled"``, or the name of the exception."""

    lease: str
    instance: str
    how: str
    blamed: bool = False
    """Whether it said that the instance failed, whatever the end."""


@attrs.frozen
class LeaseEnded(_RegistryTraceEvent):
    """What came out of the ``async with`` of a lease: ``"ok"``, ``"cancelled"``, or the name of the exception."""

    lease: str
    instance: str
    outcome: str


@attrs.frozen
class BreakerTold(_RegistryTraceEvent):
    """Somebody told an instance's breaker how it did."""

    instance: str
    worked: bool


@attrs.frozen
class ProbeSent(_RegistryTraceEvent):
    """The registry asks an instance how it is."""

    instance: str


RegistryTraceEvent: TypeAlias = (
    Folded
    | CapacityReported
    | LeaseAsked
    | LeaseGranted
    | LeaseRefused
    | LeaseLeft
    | LeaseEnded
    | BreakerTold
    | ProbeSent
)
