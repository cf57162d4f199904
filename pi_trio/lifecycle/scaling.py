"""How many instances there should be: a pure decision over those that there are.

The rules, first come first: at least ``min_instances``; more while there is less room than ``min_free``, up to
``max_instances``; fewer when one has had nothing to do for ``idle_timeout`` and the room without it would still do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import attrs

__all__ = ["Grow", "Keep", "ScalingDecision", "ScalingPolicy", "Shrink", "Staff", "decide_scaling"]


def _not_negative(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{attribute.name} must not be negative, but is {value!r}")


@attrs.frozen(kw_only=True)
class ScalingPolicy:
    """How many instances to keep."""

    min_instances: int = attrs.field(default=0, validator=_not_negative)
    max_instances: int = attrs.field(default=4, validator=_not_negative)
    min_free: int = attrs.field(default=1, validator=_not_negative)
    """More are spawned while there is room for fewer leases than this, those who wait counted as if they had theirs."""
    idle_timeout: float = attrs.field(default=60.0, validator=_not_negative)
    """Seconds without a lease, after which one may go."""

    def __attrs_post_init__(self) -> None:
        if self.max_instances < max(1, self.min_instances):
            raise ValueError(f"max_instances must be at least 1 and min_instances, not {self.max_instances}")


@attrs.frozen
class Staff:
    """One of the instances that there are."""

    instance_id: str
    free: int
    """How many more leases it has room for; 0 when it cannot be used just now."""
    idle_since: float | None
    """Since when it has no lease; ``None`` while it has one."""


@attrs.frozen
class Grow:
    """Start so many more."""

    count: int


@attrs.frozen
class Shrink:
    """End this one."""

    instance_id: str


@attrs.frozen
class Keep:
    """Nothing is to be done; ask again at ``until``, or when anything has changed."""

    until: float


ScalingDecision: TypeAlias = Grow | Shrink | Keep


def decide_scaling(
    policy: ScalingPolicy,
    staff: Sequence[Staff],
    *,
    starting: int,
    stopping: int = 0,
    room_of_each: int,
    waiting: int,
    now: float,
) -> ScalingDecision:
    """What to do next.

    Args:
        policy: the rules.
        staff: the instances that there are.
        starting: how many more are being started.
        stopping: how many others are being ended: they have no room any more, but are there.
        room_of_each: how many leases a new one has room for.
        waiting: how many wait for a lease.
        now: the time, in seconds on any clock that does not jump.
    """
    count = len(staff) + starting
    room = sum(each.free for each in staff) + starting * room_of_each - waiting
    needed = max(policy.min_instances - count, math.ceil((policy.min_free - room) / room_of_each))
    growing = min(needed, policy.max_instances - count - stopping)
    if growing > 0:
        return Grow(growing)
    if count <= policy.min_instances:
        return Keep(math.inf)
    # One at a time, so that the room is counted anew before the next.
    spare = [each for each in staff if each.idle_since is not None and room - each.free >= policy.min_free]
    if not spare:
        return Keep(math.inf)
    oldest = min(spare, key=lambda each: each.idle_since or 0.0)
    due = (oldest.idle_since or 0.0) + policy.idle_timeout
    return Shrink(oldest.instance_id) if now >= due else Keep(due)
