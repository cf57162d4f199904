"""What is known of every instance and every discovery, folded from events. Pure.

The unit of the fold is the entry: an event changes one, whatever else is in the table. So the registry can keep one
table and replace an entry in it (:func:`step`), while whoever follows its events folds tables (:func:`fold`); both
come to the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from ..abc import ExitStatus, Mode, Profile
from ..lifecycle import (
    Breaker,
    BreakerChanged,
    CapacityChanged,
    DiscoveryBreakerChanged,
    DiscoveryCompleted,
    DiscoveryEvent,
    DiscoveryFailed,
    Exited,
    Health,
    HealthChanged,
    InstanceEvent,
    InstanceState,
    ModelChanged,
    Ready,
    Registered,
    RegistryEvent,
    RestartScheduled,
    Retired,
    SessionChanged,
    StateChanged,
    Unregistered,
)

__all__ = ["DiscoveryEntry", "Entry", "fold", "step", "step_discovery"]


@attrs.frozen(slots=False)  # for _but
class Entry:
    """One instance, as its events tell."""

    instance_id: str
    provider: str | None
    model: str | None
    cwd: str
    state: InstanceState = InstanceState.STARTING
    health: Health = Health.UNKNOWN
    incarnation: int = 0
    pid: int | None = None
    session_id: str | None = None
    exit_status: ExitStatus | None = None
    restart_at: float | None = None
    """When its next process is due, on the Trio clock, while it is backing off."""
    reason: str = ""
    """Why it is in its state."""
    since: float = 0.0
    """When it got there, on the Trio clock."""
    profile: Profile = attrs.field(factory=Profile)
    in_use: int = 0
    """How many leases of it there are."""
    breaker: Breaker = attrs.field(factory=Breaker)
    retired: bool = False
    """Whether it gets no lease any more, because it is about to be ended."""

    @property
    def mode(self) -> Mode:
        """Local or remote."""
        return self.profile.mode

    @property
    def max_concurrent(self) -> int:
        """How many leases of it there may be."""
        return self.profile.max_concurrent

    @property
    def free(self) -> int:
        """How many more leases of it there may be."""
        return self.profile.max_concurrent - self.in_use

    @property
    def load(self) -> float:
        """How much of it is in use: from 0.0 to 1.0."""
        return self.in_use / self.profile.max_concurrent


@attrs.frozen
class DiscoveryEntry:
    """One discovery, as its events tell."""

    name: str
    breaker: Breaker = attrs.field(factory=Breaker)
    completed: int = 0
    """How often it has told what there is."""
    error: str | None = None
    """Why it failed last; ``None`` when it has completed since."""
    since: float = 0.0
    """When that was, on the Trio clock."""


def step(entry: Entry | None, event: InstanceEvent) -> Entry | None:
    """The entry of the event's instance behind the event; ``None`` when it is no member (any more).

    An event of an instance that was never registered changes nothing.
    """
    if type(event) is Registered:
        return _registered(event)
    return None if entry is None else _STEPS[type(event)](entry, event)


def _but(entry: Entry, **changes: Any) -> Entry:
    """The entry with these fields changed. What ``attrs.evolve`` does, in a tenth of its time: this is done for every
    event, and it need not call the constructor to copy what a constructor has checked.
    """
    changed = object.__new__(Entry)
    changed.__dict__.update(entry.__dict__)
    changed.__dict__.update(changes)
    return changed


def _registered(event: Registered) -> Entry:
    return Entry(event.instance_id, event.provider, event.model, event.cwd, since=event.at, profile=event.profile)


def _state_changed(entry: Entry, event: StateChanged) -> Entry:
    return _but(
        entry,
        state=event.state,
        incarnation=event.incarnation,
        restart_at=None,
        reason=event.reason,
        since=event.at,
    )


_STEPS: dict[type[InstanceEvent], Callable[[Entry, Any], Entry | None]] = {
    Unregistered: lambda _entry, _event: None,
    StateChanged: _state_changed,
    Ready: lambda entry, event: _but(entry, pid=event.pid, session_id=event.session_id),
    Exited: lambda entry, event: _but(entry, pid=None, exit_status=event.status),
    HealthChanged: lambda entry, event: _but(entry, health=event.health),
    RestartScheduled: lambda entry, event: _but(entry, restart_at=event.at + event.delay),
    CapacityChanged: lambda entry, event: _but(entry, in_use=event.in_use),
    Retired: lambda entry, _event: _but(entry, retired=True),
    SessionChanged: lambda entry, event: _but(entry, session_id=event.session_id),
    ModelChanged: lambda entry, event: _but(entry, provider=event.provider, model=event.model),
    BreakerChanged: lambda entry, event: _but(entry, breaker=event.breaker),
}


def fold(table: Mapping[str, Entry], event: RegistryEvent) -> dict[str, Entry]:
    """The instances after ``event``. Events of discoveries change nothing here."""
    after = dict(table)
    if not isinstance(event, DiscoveryEvent):
        entry = step(table.get(event.instance_id), event)
        if entry is not None:
            after[event.instance_id] = entry
        else:
            after.pop(event.instance_id, None)
    return after


def step_discovery(entry: DiscoveryEntry | None, event: DiscoveryEvent) -> DiscoveryEntry:
    """The entry of the event's discovery behind the event."""
    if entry is None:
        entry = DiscoveryEntry(event.discovery)
    if isinstance(event, DiscoveryCompleted):
        return attrs.evolve(entry, completed=entry.completed + 1, error=None, since=event.at)
    if isinstance(event, DiscoveryFailed):
        return attrs.evolve(entry, error=event.error, since=event.at)
    assert isinstance(event, DiscoveryBreakerChanged)
    return attrs.evolve(entry, breaker=event.breaker)
