"""The registry's table, written out once more, so that the registry has a judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from ...abc import ExitStatus, Profile
from ...lifecycle import (
    Breaker,
    BreakerChanged,
    BreakerState,
    CapacityChanged,
    Exited,
    Health,
    HealthChanged,
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
from ...registry import Criteria

__all__ = ["Member", "Members"]


@attrs.define
class Member:
    """What events tell of one instance. The fields are those of the registry's own entry."""

    provider: str | None
    model: str | None
    cwd: str
    profile: Profile
    since: float
    state: InstanceState = InstanceState.STARTING
    health: Health = Health.UNKNOWN
    incarnation: int = 0
    pid: int | None = None
    session_id: str | None = None
    exit_status: ExitStatus | None = None
    restart_at: float | None = None
    reason: str = ""
    in_use: int = 0
    breaker: Breaker = attrs.field(factory=Breaker)
    retired: bool = False

    @property
    def usable(self) -> bool:
        """Whether new work can be given to it, were there room."""
        return (
            self.state is InstanceState.RUNNING
            and not self.retired
            and self.health is not Health.UNHEALTHY
            and self.breaker.state is BreakerState.CLOSED
        )

    @property
    def load(self) -> float:
        """Which part of its places is in use."""
        return self.in_use / self.profile.max_concurrent

    def fits(self, criteria: Criteria) -> bool:
        """Whether it is of the kind that is wanted, however it is now."""
        return (
            self.profile.selectable
            and criteria.provider in (None, self.provider)
            and criteria.model in (None, self.model)
            and criteria.region in (None, self.profile.region)
            and criteria.capabilities.issubset(self.profile.capabilities)
            and criteria.tags.issubset(self.profile.tags)
            and criteria.min_free <= self.profile.max_concurrent
        )

    def matches(self, criteria: Criteria) -> bool:
        """Whether it may be taken now."""
        return (
            self.fits(criteria)
            and self.state is InstanceState.RUNNING
            and not self.retired
            and self.health in criteria.health
            and self.breaker.state is BreakerState.CLOSED
            and self.profile.max_concurrent - self.in_use >= criteria.min_free
        )


class Members(dict[str, Member]):
    """The members of the registry, as its events tell."""

    def take(self, event: RegistryEvent) -> None:
        """Heed one more event. Those of discoveries, and of who is no member, change nothing."""
        if isinstance(event, Registered):
            self[event.instance_id] = Member(event.provider, event.model, event.cwd, event.profile, event.at)
        elif isinstance(event, Unregistered):
            self.pop(event.instance_id, None)
        else:
            member = self.get(getattr(event, "instance_id", ""))
            if member is not None:
                for name, value in _CHANGES[type(event)](event).items():
                    setattr(member, name, value)

    def copy(self) -> Members:
        """As they are now."""
        copied = Members()
        for name, member in self.items():
            copied[name] = attrs.evolve(member)
        return copied

    def those_for(self, criteria: Criteria) -> list[str]:
        """Those that may be taken now."""
        return [name for name, member in self.items() if name not in criteria.exclude and member.matches(criteria)]

    def lacks_room(self, name: str, criteria: Criteria) -> bool:
        """Whether this one might be taken now, were there more room on it."""
        member = self[name]
        empty = attrs.evolve(member, in_use=0)
        return name not in criteria.exclude and empty.matches(criteria) and not member.matches(criteria)

    def hopeful(self, criteria: Criteria) -> bool:
        """Whether there is one that may match some day."""
        return any(name not in criteria.exclude and member.fits(criteria) for name, member in self.items())


_CHANGES: dict[type, Callable[[Any], dict[str, Any]]] = {
    StateChanged: lambda event: {
        "state": event.state,
        "incarnation": event.incarnation,
        "reason": event.reason,
        "since": event.at,
        "restart_at": None,
    },
    Ready: lambda event: {"pid": event.pid, "session_id": event.session_id},
    Exited: lambda event: {"pid": None, "exit_status": event.status},
    HealthChanged: lambda event: {"health": event.health},
    RestartScheduled: lambda event: {"restart_at": event.at + event.delay},
    CapacityChanged: lambda event: {"in_use": event.in_use},
    Retired: lambda _: {"retired": True},
    BreakerChanged: lambda event: {"breaker": event.breaker},
    SessionChanged: lambda event: {"session_id": event.session_id},
    ModelChanged: lambda event: {"provider": event.provider, "model": event.model},
}
