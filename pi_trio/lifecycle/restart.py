"""Whether to restart, and when: pure functions of (policy, history, what ended, now, a random number).

The rules are those of OTP's ``supervisor``: the restart *type* says which endings ask for another start; the
*intensity* and *period* are a budget, so many restarts in any window of so many seconds, behind which the
supervisor gives up and tells its parent. The delay before each start is ours: it doubles with every restart in
a row, and is forgotten after a while of running well.
"""

from __future__ import annotations

import enum
from typing import Any, TypeAlias

import attrs

__all__ = [
    "Backoff",
    "GiveUp",
    "Restart",
    "RestartDecision",
    "RestartHistory",
    "RestartPolicy",
    "RestartType",
    "StayDown",
    "decide_restart",
]


class RestartType(enum.Enum):
    """Which endings, of those that nobody asked for, are followed by another start."""

    PERMANENT = "permanent"
    """Every one."""
    TRANSIENT = "transient"
    """Those that went wrong: not an exit with code 0."""
    TEMPORARY = "temporary"
    """None."""

    def wants(self, *, clean: bool) -> bool:
        """Whether an ending is to be followed by another start; ``clean`` is an exit with code 0."""
        return self is RestartType.PERMANENT or (self is RestartType.TRANSIENT and not clean)


def _positive(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be positive, not {value!r}")


def _not_negative(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{attribute.name} must not be negative, but is {value!r}")


def _fraction(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{attribute.name} must be from 0 to 1, not {value!r}")


@attrs.frozen(kw_only=True)
class Backoff:
    """How long to wait before the next start, in seconds."""

    base: float = attrs.field(default=0.25, validator=_not_negative)
    """Before the first restart in a row."""
    cap: float = attrs.field(default=30.0, validator=_not_negative)
    """At the most, jitter aside."""
    jitter: float = attrs.field(default=0.2, validator=_fraction)
    """The delay is spread by this fraction of itself to both sides, so that many do not start together."""

    def delay(self, in_a_row: int, random: float) -> float:
        """The delay when there were ``in_a_row`` restarts in a row already; ``random`` is from 0 to 1."""
        # 2.0 ** 1024 is too large for a float; any base reaches any cap long before.
        nominal = min(self.cap, self.base * 2.0 ** min(in_a_row, 1000))
        return nominal * (1 + self.jitter * (2 * random - 1))


@attrs.frozen(kw_only=True)
class RestartPolicy:
    """What follows an ending that nobody asked for."""

    type: RestartType = RestartType.TRANSIENT
    intensity: int = attrs.field(default=5, validator=_not_negative)
    """At most so many restarts ..."""
    period: float = attrs.field(default=60.0, validator=_positive)
    """... in any window of so many seconds."""
    backoff: Backoff = attrs.field(factory=Backoff)
    reset_after: float = attrs.field(default=30.0, validator=_not_negative)
    """An incarnation that ran so many seconds ends the row: the next delay is ``backoff.base`` again."""


@attrs.frozen
class RestartHistory:
    """What has been restarted so far, as far as it still matters."""

    starts: tuple[float, ...] = ()
    """When the restarts in the current window were due, on the clock that ``now`` is read from."""
    in_a_row: int = 0
    """How many restarts there were since one last ran for ``reset_after``."""


@attrs.frozen
class Restart:
    """Start again at ``due``, after ``delay`` seconds."""

    due: float
    delay: float
    history: RestartHistory
    """To be given to the next decision."""


@attrs.frozen
class StayDown:
    """No other start follows this kind of ending."""


@attrs.frozen
class GiveUp:
    """Another start is asked for, but the budget is spent."""


RestartDecision: TypeAlias = Restart | StayDown | GiveUp


def decide_restart(
    policy: RestartPolicy, history: RestartHistory, *, clean: bool, ran_for: float, now: float, random: float
) -> RestartDecision:
    """What follows an ending that nobody asked for.

    Args:
        policy: the rules.
        history: what went before.
        clean: whether it was an exit with code 0.
        ran_for: how many seconds it had been ready; 0.0 for one that never was.
        now: the time, in seconds on any clock that does not jump.
        random: a number from 0 to 1, for the jitter.
    """
    if not policy.type.wants(clean=clean):
        return StayDown()
    in_a_row = 0 if ran_for >= policy.reset_after else history.in_a_row
    delay = policy.backoff.delay(in_a_row, random)
    due = now + delay
    # The window is over the starts themselves, not over the endings before them: a long delay must not
    # bring two starts closer together than the budget allows.
    recent = tuple(start for start in history.starts if start > due - policy.period)
    if len(recent) >= policy.intensity:
        return GiveUp()
    return Restart(due, delay, RestartHistory((*recent, due), in_a_row + 1))
