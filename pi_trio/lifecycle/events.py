"""What the runtime publishes about its instances. Frozen values, folded by the registry."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from ..abc import ExitStatus, Profile
from .breaker import Breaker
from .health import Health
from .states import InstanceState

__all__ = [
    "BreakerChanged",
    "CapacityChanged",
    "DiscoveryBreakerChanged",
    "DiscoveryCompleted",
    "DiscoveryEvent",
    "DiscoveryFailed",
    "Exited",
    "HealthChanged",
    "InstanceEvent",
    "ModelChanged",
    "Ready",
    "Registered",
    "RegistryEvent",
    "RestartScheduled",
    "Retired",
    "SessionChanged",
    "StateChanged",
    "Unregistered",
]


@attrs.frozen
class _Event:
    instance_id: str
    at: float
    """When, on the Trio clock, in seconds."""


@attrs.frozen
class Registered(_Event):
    """The instance exists. The first event of every instance."""

    provider: str | None = None
    model: str | None = None
    cwd: str = ""
    profile: Profile = attrs.field(factory=Profile)
    """What it is, as far as choosing one goes."""


@attrs.frozen
class StateChanged(_Event):
    """The instance went from one state to another. With a terminal ``state``, its last event but ``Unregistered``."""

    state: InstanceState
    incarnation: int
    """How many processes it has had: 1 for the first. 0 before that."""
    reason: str = ""
    """Why, in a few words."""


@attrs.frozen
class Ready(_Event):
    """The incarnation answered its first request."""

    incarnation: int
    pid: int
    session_id: str
    start_seconds: float
    """From the spawn to the answer."""


@attrs.frozen
class Exited(_Event):
    """The incarnation's process is gone, and its output has been read to the end."""

    incarnation: int
    status: ExitStatus | None
    requested: bool
    """Whether it was told to."""


@attrs.frozen
class RestartScheduled(_Event):
    """Another incarnation will be started. Comes right behind the change to ``backing_off``."""

    incarnation: int
    """The one that ended."""
    delay: float
    """Seconds until the start."""
    in_a_row: int
    """How many restarts there have been since one last ran well for a while, this one included."""


@attrs.frozen
class HealthChanged(_Event):
    """The instance is better or worse off than before."""

    incarnation: int
    health: Health
    latency: float | None
    """Seconds the last probe took; ``None`` when it was not answered, or there was none."""
    error: str | None = None
    """Why it was not answered, in words, where that is known."""


@attrs.frozen
class CapacityChanged(_Event):
    """A lease of the instance was taken or given back."""

    in_use: int
    """How many leases there are now."""


@attrs.frozen
class Retired(_Event):
    """It gets no lease any more: it is about to be ended. Those that it has stay."""

    reason: str = ""
    """Why, in a few words."""


@attrs.frozen
class SessionChanged(_Event):
    """Its Pi is in another session."""

    session_id: str


@attrs.frozen
class ModelChanged(_Event):
    """Another model answers."""

    provider: str | None
    model: str | None


@attrs.frozen
class BreakerChanged(_Event):
    """The breaker of where the instance is reached has changed: a failure was counted, it opened, is half open, or closed."""

    breaker: Breaker
    endpoint: str = ""
    """What it is for: a URL, and each member that is reached there has such an event; or the instance itself."""


@attrs.frozen
class Unregistered(_Event):
    """The instance is not a member any more. Its very last event, unless it is registered anew."""

    reason: str = ""
    """Why, in a few words."""


@attrs.frozen
class _DiscoveryEvent:
    discovery: str
    """The discovery's name."""
    at: float
    """When, on the Trio clock, in seconds."""


@attrs.frozen
class DiscoveryCompleted(_DiscoveryEvent):
    """A discovery told what there is; the instances it found and lost have been registered and unregistered."""

    found: int
    """How many are new."""
    lost: int
    """How many are gone."""


@attrs.frozen
class DiscoveryFailed(_DiscoveryEvent):
    """A discovery failed. It will be tried again when its breaker lets it."""

    error: str
    """Why, in words."""


@attrs.frozen
class DiscoveryBreakerChanged(_DiscoveryEvent):
    """The discovery's breaker is in another state."""

    breaker: Breaker


InstanceEvent: TypeAlias = (
    Registered
    | StateChanged
    | Ready
    | Exited
    | RestartScheduled
    | HealthChanged
    | CapacityChanged
    | Retired
    | SessionChanged
    | ModelChanged
    | BreakerChanged
    | Unregistered
)
"""What happens to an instance."""

DiscoveryEvent: TypeAlias = DiscoveryCompleted | DiscoveryFailed | DiscoveryBreakerChanged
"""What happens to a discovery."""

RegistryEvent: TypeAlias = InstanceEvent | DiscoveryEvent
"""What the registry folds, numbers, and passes on."""
