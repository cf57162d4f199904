"""What the runtime publishes about its instances. Frozen values, folded by the registry."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from ..abc import ExitStatus
from .health import Health
from .states import InstanceState

__all__ = ["Exited", "HealthChanged", "InstanceEvent", "Ready", "Registered", "RestartScheduled", "StateChanged"]


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


@attrs.frozen
class StateChanged(_Event):
    """The instance went from one state to another. With a terminal ``state``, its last event."""

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


InstanceEvent: TypeAlias = Registered | StateChanged | Ready | Exited | RestartScheduled | HealthChanged
