"""Whether, when and how often an instance is started again."""

from __future__ import annotations

from collections.abc import Iterator

from ...launch import InstanceSpec
from ...lifecycle import Backoff, InstanceState, RestartScheduled, RestartType, StateChanged
from .invariant import Finding, invariant
from .launch import Launch
from .life import TERMINAL_STATES, Life
from .placed import EPSILON, Placed
from .story import Story

__all__ = ["delays_grow_and_are_forgotten", "restarts_keep_to_the_budget", "restarts_where_they_are_due"]

_S = InstanceState


@invariant(16)
def restarts_where_they_are_due(story: Story) -> Iterator[Finding]:
    """A restart happens if and only if the restart type asks for it, the budget allows it, and nobody asked for a stop.

    (The first start is its caller's: an instance that was never ready is not restarted.) Of an instance in a
    supervision tree only the restart type counts here.
    """
    for life in story.lives:
        if life.spec is None:
            continue
        for end in life.states:
            if (
                end.event.state not in (_S.BACKING_OFF, *TERMINAL_STATES)
                or life.state_at(end.index - 1) is _S.BACKING_OFF
            ):
                continue  # a stop while it was backing off is no ending
            wanted = _wanted(life, life.spec, end)
            if end.event.state not in wanted:
                names = " or ".join(sorted(str(state) for state in wanted))
                launch = life.launch_of(end.event.incarnation)
                yield Finding(f"{life.instance} should be {names} now", launch.exited if launch else None, end)


def _wanted(life: Life, spec: InstanceSpec, end: Placed[StateChanged]) -> set[InstanceState]:
    """The states that may follow this ending."""
    ended_at = _ended_at(life, end)
    if any(stop.event.at < ended_at - EPSILON for stop in life.stops):
        return {_S.STOPPED}
    maybe = {_S.STOPPED} if life.asked_before(end.index) else set()
    exited = life.exits.get(end.event.incarnation)
    if exited is not None and exited.event.requested:
        return {_S.STOPPED}
    if life.tree is not None:
        return {_S.STOPPED, _S.BACKING_OFF, _S.FAILED} if _wants(life, spec, end) else {_S.STOPPED, _S.BACKING_OFF}
    if not any(ready.index < end.index for ready in life.readies) or not _wants(life, spec, end):
        return {_S.STOPPED}
    return maybe | _by_budget(life, spec, end)


def _ended_at(life: Life, end: Placed[StateChanged]) -> float:
    launch = life.launch_of(end.event.incarnation)
    return launch.exited.event.at if launch is not None and launch.exited is not None else end.event.at


def _wants(life: Life, spec: InstanceSpec, end: Placed[StateChanged]) -> bool:
    if spec.restart.type is not RestartType.TRANSIENT:
        return spec.restart.type is RestartType.PERMANENT
    launch = life.launch_of(end.event.incarnation)
    clean = launch is not None and launch.exited is not None and launch.exited.event.status.code == 0
    return not clean or (launch is not None and launch.ended_from_here)


def _by_budget(life: Life, spec: InstanceSpec, end: Placed[StateChanged]) -> set[InstanceState]:
    """What the budget allows. With jitter, a start at the edge of the window may be counted or not."""
    starts = [each.event.at + each.event.delay for each in _scheduled(life) if each.index < end.index]
    low, high = _delay_range(spec.restart.backoff, _row_before(life, end))
    earliest, latest = end.event.at + low, end.event.at + high
    window = spec.restart.period
    most = sum(start > earliest - window - EPSILON for start in starts)
    least = sum(start > latest - window + EPSILON for start in starts)
    allowed = {_S.BACKING_OFF} if least < spec.restart.intensity else set()
    return allowed | ({_S.FAILED} if most >= spec.restart.intensity else set())


def _scheduled(life: Life) -> list[Placed[RestartScheduled]]:
    return [Placed(each.index, each.event) for each in life.published if isinstance(each.event, RestartScheduled)]


def _delay_range(backoff: Backoff, in_a_row: int) -> tuple[float, float]:
    nominal = min(backoff.cap, backoff.base * 2.0 ** min(in_a_row, 1000))
    return nominal * (1 - backoff.jitter), nominal * (1 + backoff.jitter)


def _row_before(life: Life, end: Placed[StateChanged]) -> int:
    """How many restarts in a row there had been when this incarnation ended."""
    assert life.spec is not None
    row = 0
    for each in life.states:
        if each.event.state not in (_S.BACKING_OFF, *TERMINAL_STATES):
            continue
        ready = next((ready for ready in life.readies if ready.event.incarnation == each.event.incarnation), None)
        if ready is not None and each.event.at - ready.event.at >= life.spec.restart.reset_after:
            row = 0
        if ready is None and life.spec.restart.reset_after <= 0:
            row = 0
        if each.index >= end.index:
            return row
        row += 1
    return row


@invariant(17)
def restarts_keep_to_the_budget(story: Story) -> Iterator[Finding]:
    """In any window of ``period`` seconds there are at most ``intensity`` restarts, of one instance, or of all children
    of a supervision tree that were not taken down with another.
    """
    for life in story.lives:
        if life.spec is not None and life.tree is None:
            restart = life.spec.restart
            yield from _too_many(_scheduled(life), restart.intensity, restart.period, life.instance)
    for scope, opened in story.trees.items():
        tree = opened.event
        own = [
            scheduled
            for life in story.lives
            if life.tree == scope
            for backing, scheduled in zip(_backing_off(life), _scheduled(life), strict=False)
            if _by_itself(life.launch_of(scheduled.event.incarnation)) and not _taken_down(backing)
        ]
        yield from _too_many(sorted(own, key=lambda each: each.index), tree.intensity, tree.period, scope)


def _by_itself(launch: Launch | None) -> bool:
    return launch is not None and launch.exited is not None and not launch.ended_from_here


def _taken_down(backing: Placed[StateChanged]) -> bool:
    """Whether another child took it with it: it may have ended by itself in the same instant."""
    return backing.event.reason.startswith("goes down with")


def _too_many(
    scheduled: list[Placed[RestartScheduled]], intensity: int, period: float, whose: str
) -> Iterator[Finding]:
    starts = sorted(scheduled, key=lambda each: each.event.at + each.event.delay)
    for first, last in zip(starts, starts[intensity:], strict=False):
        apart = last.event.at + last.event.delay - first.event.at - first.event.delay
        if apart < period - EPSILON:
            yield Finding(f"{intensity + 1} restarts of {whose} within {apart:g} s, and not {period:g} s", first, last)


@invariant(18)
def delays_grow_and_are_forgotten(story: Story) -> Iterator[Finding]:
    """The n-th delay in a row lies within the jitter of min(cap, base * 2**n); n goes back to 0 only after
    ``reset_after`` seconds of running; and the start comes when it is due, not before.
    """
    for life in story.lives:
        if life.spec is None or life.tree is not None:
            continue
        for backing, scheduled in zip(_backing_off(life), _scheduled(life), strict=False):
            row = _row_before(life, backing)
            low, high = _delay_range(life.spec.restart.backoff, row)
            if not low - EPSILON <= scheduled.event.delay <= high + EPSILON:
                yield Finding(f"restart {row + 1} in a row should be {low:g} to {high:g} s off", backing, scheduled)
            if scheduled.event.in_a_row != row + 1:
                yield Finding(f"this is restart {row + 1} in a row", backing, scheduled)
            yield from _starts_when_due(story, life, scheduled)


def _backing_off(life: Life) -> list[Placed[StateChanged]]:
    return [each for each in life.states if each.event.state is _S.BACKING_OFF]


def _starts_when_due(story: Story, life: Life, scheduled: Placed[RestartScheduled]) -> Iterator[Finding]:
    due = scheduled.event.at + scheduled.event.delay
    following = next((each for each in life.states if each.index > scheduled.index), None)
    at = following.event.at if following is not None else story.end_at
    on_time = due - EPSILON <= at <= due + story.slack
    if following is not None and following.event.state is _S.STARTING and not on_time:
        yield Finding(f"{life.instance} was started at {at:g}, and not at {due:g}", scheduled, following)
    elif (following is None or following.event.state is not _S.STARTING) and at > due + EPSILON:
        yield Finding(f"{life.instance} was not started when that was due, at {due:g}", scheduled, following)
