"""A circuit breaker: whether to try something again that kept failing. Pure.

    state      failure                              success    due, and somebody asks
    CLOSED     counted; OPEN at the threshold       CLOSED     -
    OPEN       (ignored: nobody should have tried)  CLOSED     HALF_OPEN: one probe; with news, before it is due
    HALF_OPEN  OPEN, for longer than before         CLOSED     - (the probe is out)

A probe that was given up, its outcome unknown, leaves it OPEN and due. An OPEN one is closed by a success, for
that is proof, wherever it comes from.
"""

from __future__ import annotations

import enum
from typing import Any

import attrs

__all__ = [
    "Breaker",
    "BreakerPolicy",
    "BreakerState",
    "after_abandoned",
    "after_failure",
    "after_success",
    "try_again",
]


class BreakerState(enum.Enum):
    """Whether what the breaker guards may be tried."""

    CLOSED = "closed"
    """It may."""
    OPEN = "open"
    """It may not, until its time is up."""
    HALF_OPEN = "half_open"
    """One probe is out, to see; nobody else may."""

    def __str__(self) -> str:
        return self.value


def _positive(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be positive, not {value!r}")


def _at_least_one(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value >= 1:
        raise ValueError(f"{attribute.name} must be at least 1, not {value!r}")


@attrs.frozen(kw_only=True)
class BreakerPolicy:
    """When a breaker opens, and for how long. Times are in seconds."""

    failures: int = attrs.field(default=3, validator=_at_least_one)
    """So many in a row open it."""
    reset_timeout: float = attrs.field(default=5.0, validator=_positive)
    """How long it is open the first time."""
    widening: float = attrs.field(default=2.0, validator=_at_least_one)
    """Each failed probe makes it open for so many times as long as before ..."""
    max_reset_timeout: float = attrs.field(default=300.0, validator=_positive)
    """... but not for longer than this."""

    def open_for(self, openings: int) -> float:
        """How long it is open when it opens for the ``openings``-th time in a row, from 1."""
        # A float has no room for 2.0 ** 1024; any time-out reaches its limit long before.
        return min(self.max_reset_timeout, self.reset_timeout * self.widening ** min(openings - 1, 64))


@attrs.frozen
class Breaker:
    """One breaker at one moment. A new one is closed."""

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    """How many there were in a row."""
    openings: int = 0
    """How often it opened since it was last closed."""
    retry_at: float | None = None
    """When a probe may be sent, on the clock that ``now`` is read from, while it is open."""


def after_failure(policy: BreakerPolicy, breaker: Breaker, now: float) -> Breaker:
    """The breaker after one more failure, at ``now``."""
    if breaker.state is BreakerState.OPEN:
        return breaker
    failures = breaker.failures + 1
    if breaker.state is BreakerState.CLOSED and failures < policy.failures:
        return attrs.evolve(breaker, failures=failures)
    openings = breaker.openings + 1
    return Breaker(BreakerState.OPEN, failures, openings, now + policy.open_for(openings))


def after_success(_breaker: Breaker) -> Breaker:
    """The breaker after a success."""
    return Breaker()


def try_again(breaker: Breaker, now: float, *, news: bool = False) -> Breaker | None:
    """The breaker with a probe out; ``None`` when there may be none (not due, or out already, or closed).

    With ``news``, what failed is not what would be tried now: then the time that it would be open for is no reason to wait.
    """
    if breaker.state is not BreakerState.OPEN or breaker.retry_at is None or (now < breaker.retry_at and not news):
        return None
    return attrs.evolve(breaker, state=BreakerState.HALF_OPEN)


def after_abandoned(breaker: Breaker) -> Breaker:
    """The breaker when the probe was given up before anything came of it."""
    return attrs.evolve(breaker, state=BreakerState.OPEN) if breaker.state is BreakerState.HALF_OPEN else breaker
