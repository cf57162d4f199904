"""Whether to connect again, and when: tables and a function of (policy, failures in a row, a random number)."""

from __future__ import annotations

import enum

import attrs

from .restart import Backoff

__all__ = ["ConnectionState", "ReconnectPolicy", "is_final_close", "is_final_status"]


class ConnectionState(enum.Enum):
    """Where a client's connection stands."""

    CONNECTING = "connecting"
    """There was none yet."""
    CONNECTED = "connected"
    """Pi has answered on it."""
    AWAY = "away"
    """It is gone, and another is being made; requests wait."""
    CLOSED = "closed"
    """It is over, for good."""


# What the other side says when there is nothing to come back to: it is done, its instance was stopped (1001) or has
# failed (4000), or it does not want us (1008). RFC 6455, 7.4.1, and our endpoint's own.
_FINAL_CLOSES = frozenset({1000, 1001, 1008, 4000})

# What may be answered otherwise in a while: a time-out, too early, too many requests.
_PASSING_STATUSES = frozenset({408, 425, 429})


def is_final_close(code: int) -> bool:
    """Whether this close code means that connecting again is of no use."""
    return code in _FINAL_CLOSES


def is_final_status(status: int) -> bool:
    """Whether this HTTP status of a refused connection means that asking again is of no use."""
    return 400 <= status < 500 and status not in _PASSING_STATUSES


@attrs.frozen(kw_only=True)
class ReconnectPolicy:
    """What follows the loss of a connection."""

    attempts: int = attrs.field(default=10)
    """How often it is tried in a row before it is given up; 0 for never."""
    backoff: Backoff = attrs.field(factory=Backoff)
    """How long to wait before each attempt."""
    reset_after: float = 30.0
    """A connection that lasted so many seconds ends the row."""

    def __attrs_post_init__(self) -> None:
        if self.attempts < 0:
            raise ValueError(f"attempts must not be negative, but is {self.attempts}")

    def delay(self, in_a_row: int, random: float) -> float | None:
        """Seconds before the next attempt when there were ``in_a_row`` already; ``None``: give up."""
        return None if in_a_row >= self.attempts else self.backoff.delay(in_a_row, random)
