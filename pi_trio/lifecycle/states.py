"""The life of an instance, as a table.

An *instance* outlives its processes; an *incarnation* is one process of it. Health is another matter:
a running instance may be unhealthy.

    starting ──> running ──> stopping ──> stopped
       │  └─────────┼───────────^ ^          ^
       └──────> backing_off ──────┘   any end without another start
                    └──> starting again; failed when the restart budget is spent
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import Final

__all__ = ["TERMINAL", "TRANSITIONS", "IllegalTransition", "InstanceState", "advance"]


class InstanceState(enum.Enum):
    """Where an instance is in its life."""

    STARTING = "starting"
    """A process is being started, or has not answered its first request yet."""
    RUNNING = "running"
    """It answered: a real ``get_state`` came back."""
    STOPPING = "stopping"
    """Its end was asked for, and is under way."""
    BACKING_OFF = "backing_off"
    """Its process ended; another will be started after a delay."""
    STOPPED = "stopped"
    """Nothing of it is left. For good."""
    FAILED = "failed"
    """Nothing of it is left, and its restart budget is spent. For good."""

    def __str__(self) -> str:
        return self.value


_S = InstanceState

TRANSITIONS: Final = MappingProxyType(
    {
        # A start that fails ends in `stopped` when nobody wants another, in `failed` when none is left.
        _S.STARTING: frozenset({_S.RUNNING, _S.STOPPING, _S.BACKING_OFF, _S.STOPPED, _S.FAILED}),
        _S.RUNNING: frozenset({_S.STOPPING, _S.BACKING_OFF, _S.STOPPED, _S.FAILED}),
        # Stopping has one way out, whatever the process does meanwhile: a stop is never undone.
        _S.STOPPING: frozenset({_S.STOPPED}),
        # There is no process to wait for: a stop during the delay is the end at once.
        _S.BACKING_OFF: frozenset({_S.STARTING, _S.STOPPED}),
        _S.STOPPED: frozenset(),
        _S.FAILED: frozenset(),
    }
)
"""From each state, the states that may come next."""

TERMINAL: Final = frozenset(state for state, following in TRANSITIONS.items() if not following)
"""The states that nothing follows."""


class IllegalTransition(AssertionError):
    """A bug in the supervisor: the table has no such step."""


def advance(current: InstanceState, to: InstanceState) -> InstanceState:
    """Take the step to ``to``, if the table has it.

    Raises:
        IllegalTransition: it has not.
    """
    if to not in TRANSITIONS[current]:
        raise IllegalTransition(f"{current} -> {to}")
    return to
