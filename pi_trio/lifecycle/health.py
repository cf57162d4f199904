"""How well an instance is: a pure fold of what its probes found.

    unknown ──> healthy <──> degraded ──> unhealthy
                   ^                          │
                   └──────────────────────────┘

A probe is one real request. Answered in time it is a hit, answered late a slow hit, not answered a miss.
"""

from __future__ import annotations

import enum
from typing import Any, Literal

import attrs

__all__ = ["Health", "HealthPolicy", "HealthState", "Probe", "after_probe"]


class Health(enum.Enum):
    """How well a running instance is."""

    UNKNOWN = "unknown"
    """No probe has come back yet, or it is not running."""
    HEALTHY = "healthy"
    """The last probe was answered in time."""
    DEGRADED = "degraded"
    """The last probe was slow, or missed, but not often enough yet."""
    UNHEALTHY = "unhealthy"
    """So many probes in a row were missed as the policy allows."""

    def __str__(self) -> str:
        return self.value


def _positive(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be positive, not {value!r}")


@attrs.frozen(kw_only=True)
class HealthPolicy:
    """How an instance is watched. Times are in seconds."""

    period: float = attrs.field(default=10.0, validator=_positive)
    """From one probe to the next."""
    timeout: float = attrs.field(default=5.0, validator=_positive)
    """How long a probe is waited for."""
    slow_after: float = attrs.field(default=1.0, validator=_positive)
    """An answer that took longer is slow."""
    misses: int = attrs.field(default=3, validator=_positive)
    """So many misses in a row are unhealthy."""
    action: Literal["restart", "stop", "report"] = attrs.field(
        default="restart", validator=attrs.validators.in_(("restart", "stop", "report"))
    )
    """What is done then: end the process, and go on as the restart policy says of one that went wrong; stop
    the instance; or only say so."""


@attrs.frozen
class Probe:
    """What one probe found."""

    latency: float | None
    """Seconds until the answer; ``None`` when there was none in time."""
    heard: bool = False
    """Whether Pi said anything else meanwhile: then it is busy, not dead."""


@attrs.frozen
class HealthState:
    """Where the fold stands."""

    health: Health = Health.UNKNOWN
    misses: int = 0
    """How many probes in a row were missed."""


def after_probe(policy: HealthPolicy, state: HealthState, probe: Probe) -> HealthState:
    """The state after one more probe."""
    if probe.latency is not None:
        return HealthState(Health.HEALTHY if probe.latency <= policy.slow_after else Health.DEGRADED)
    if probe.heard:
        return HealthState(Health.DEGRADED)
    misses = state.misses + 1
    return HealthState(Health.UNHEALTHY if misses >= policy.misses else Health.DEGRADED, misses)
