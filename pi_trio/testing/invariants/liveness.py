"""Safety alone can be had by doing nothing: everything must come right, too."""

from __future__ import annotations

from collections.abc import Iterator

from ...launch import InstanceSpec
from ...lifecycle import InstanceState
from ..trace import FaultsOff
from .invariant import Finding, invariant
from .life import TERMINAL_STATES, Life
from .stopping import STOP_SLACK
from .story import Story

__all__ = ["everything_comes_right", "recovery_time", "time_of_a_start"]

START_SLACK = 2.0
"""Seconds within which a Pi that nothing is wrong with is ready."""

# One that is given less than this may be given up again and again, though nothing is wrong with it.
_SHORTEST_START = 1.0


def recovery_time(spec: InstanceSpec) -> float:
    """Seconds within which an instance that no fault disturbs any more is running, or over, whatever state it was in.

    The longest way: a start that hangs; or a Pi that hangs, until its probes have found it out; its end, with all the
    patience there is; the longest backoff; and a start.
    """
    health = spec.health
    found_out = 0.0 if health is None else (health.misses + 1) * (health.period + health.timeout)
    backoff = spec.restart.backoff
    end = spec.drain_timeout + spec.grace_timeout + STOP_SLACK
    return spec.start_timeout + found_out + end + backoff.cap * (1 + backoff.jitter) + START_SLACK


def time_of_a_start(spec: InstanceSpec) -> float:
    """Seconds that a start takes at the most, one that hangs and has to be ended."""
    return spec.start_timeout + spec.grace_timeout + STOP_SLACK


@invariant(26)
def everything_comes_right(story: Story) -> Iterator[Finding]:
    """After the faults stop, every instance reaches its target state within a bound: it is running, or it is over."""
    for off in story.all(FaultsOff):
        end = story.left.get("runtime")
        until, index = (end.event.at, end.index) if end else (story.end_at, len(story.trace.events))
        for life in story.lives:
            if (
                life.spec is None
                or life.spec.start_timeout < _SHORTEST_START
                or life.registered > off.index
                or (life.stops and life.stops[0].index < index)
            ):
                continue
            bound = _bound(story, life, life.spec) + _queue(story, off.index)
            state = life.state_at(index)
            if until - off.event.at >= bound and state not in (InstanceState.RUNNING, *TERMINAL_STATES):
                says = f"{life.instance} is {state} {until - off.event.at:g} s after the faults stopped"
                yield Finding(says, off, *life.states[-2:], end)


def _queue(story: Story, index: int) -> float:
    """There may be one start slot, and before each instance all the others that are starting, in vain."""
    starting = [life.spec for life in story.lives if life.state_at(index) is InstanceState.STARTING]
    return sum(time_of_a_start(spec) for spec in starting if spec is not None)


def _bound(story: Story, life: Life, spec: InstanceSpec) -> float:
    """A child of a tree may have to wait for every other child."""
    if life.tree is None or life.tree not in story.trees:
        return recovery_time(spec)
    family = [each.spec for each in story.lives if each.tree == life.tree and each.spec is not None]
    return sum(recovery_time(each) for each in family)
