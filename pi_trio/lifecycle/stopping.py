"""How a process is brought to its end: which step comes next, and how long to wait for it.

Four manners, from patient to none at all. A stop may become harsher while it is under way, never
gentler. Each step is taken once, in this order:

    manner   close stdin        SIGTERM + SIGCONT          SIGKILL to the whole tree
    POLITE   then drain time    then grace time            the end
    PROMPT   -                  then grace time            the end
    HASTY    -                  then a short grace time    the end
    FORCE    -                  -                          the end
"""

from __future__ import annotations

import enum

import attrs

__all__ = ["KILL_TIMEOUT", "StopManner", "StopPatience", "StopStep", "next_step"]


class StopManner(enum.IntEnum):
    """How much patience a stop has. A larger value is a harsher stop."""

    POLITE = 0
    """Asked for: let it finish writing what it has."""
    PROMPT = 1
    """The scope was cancelled: no more time than the grace period."""
    HASTY = 2
    """Somebody is waiting at a terminal, and has said so twice."""
    FORCE = 3
    """Now."""


class StopStep(enum.IntEnum):
    """What is done to a process that has to end, in order."""

    CLOSE_STDIN = 0
    """Pi takes the end of its stdin as "finish and go"; it flushes stdout first, which SIGTERM does not."""
    TERMINATE = 1
    """SIGTERM, and SIGCONT behind it: a stopped process would never see the first."""
    KILL = 2
    """SIGKILL to every process of the tree."""


# What SIGTERM is given when somebody has run out of patience: Pi needs 16 to 32 ms for it.
_HASTY_GRACE = 0.5
# SIGKILL cannot be refused, but a process in an uninterruptible system call dies only after it.
KILL_TIMEOUT = 10.0


@attrs.frozen
class StopPatience:
    """How long each step is given, in seconds."""

    drain_timeout: float
    """After stdin was closed."""
    grace_timeout: float
    """After SIGTERM."""

    def after(self, step: StopStep, manner: StopManner) -> float:
        """How long to wait for the process to end after ``step``: nothing for one that the manner leaves out."""
        if step < _FIRST[manner]:
            return 0.0
        if step is StopStep.CLOSE_STDIN:
            return self.drain_timeout
        if step is StopStep.TERMINATE:
            return self.grace_timeout if manner < StopManner.HASTY else min(self.grace_timeout, _HASTY_GRACE)
        return KILL_TIMEOUT


_FIRST = {
    StopManner.POLITE: StopStep.CLOSE_STDIN,
    StopManner.PROMPT: StopStep.TERMINATE,
    StopManner.HASTY: StopStep.TERMINATE,
    StopManner.FORCE: StopStep.KILL,
}


def next_step(manner: StopManner, taken: StopStep | None) -> StopStep | None:
    """The step to take now, when ``taken`` was the last one; ``None`` when all have been taken."""
    following = StopStep.CLOSE_STDIN if taken is None else taken + 1
    step = max(following, _FIRST[manner])
    return StopStep(step) if step <= StopStep.KILL else None
