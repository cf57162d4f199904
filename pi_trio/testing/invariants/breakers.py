"""The breakers of the instances."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from ...lifecycle import (
    Breaker,
    BreakerChanged,
    BreakerPolicy,
    BreakerState,
    DiscoveryBreakerChanged,
    Registered,
    Unregistered,
)
from ..discovering import FAR, WATCH
from ..trace import BreakerTold, LeaseEnded, LeaseLeft, Limited, MemberAnswered, ProbeSent, ResourceAcquired
from .invariant import Finding, invariant
from .moves import Moves
from .placed import EPSILON, Placed
from .story import Story

__all__ = ["a_probe_goes_out_when_due", "breakers_follow_their_table"]

_S = BreakerState
# How long an instance is given for the answer to a probe.
_PROBE_SECONDS = WATCH.health.timeout
_FAILURES = ("ConnectFailed", "ConnectionClosed", "ConnectionLost", "ProcessExited")


@invariant(0)
def breakers_follow_their_table(story: Story) -> Iterator[Finding]:
    """A breaker opens at so many failures in a row, for as long as the policy says, and longer each time; a success
    closes it. Each failure and each success that it is told counts, at once, and nothing else does. Where a member is
    somewhere else, its breaker is that of its endpoint, and nobody is told of it while no member is there: so this is
    about the time between its coming and its going.
    """
    policy = _policy(story)
    if policy is None:
        return
    breakers: dict[str, Breaker] = {}
    cause: Placed[Any] | None = None  # what a breaker was told last, until that has had its effect
    causes, moves = _Causes(), Moves(story)
    for each in _in_order(story):
        event, due = each.event, _due(policy, breakers, cause)
        if due is not None and cause is not None and moves.are_near(due[0], cause.event.at):
            due = None
        if isinstance(event, ResourceAcquired):
            if due is not None and due[1].state is _S.OPEN and event.resource == f"lease of {due[0]}":
                yield Finding("it was given away before the failure counted", cause, each)
        elif isinstance(event, BreakerChanged):
            if not moves.are_near(event.instance_id, event.at):
                yield from _is_due(story, policy, breakers.get(event.instance_id), due, cause, each)
        elif due is not None:
            yield Finding("it did not count", cause, each)
        cause = causes.take(cause, each)
        _keep(breakers, event)


class _Causes:
    """What breakers are told."""

    def __init__(self) -> None:
        self._taken: dict[str, set[str]] = {}  # the leases of each member since it is one

    def take(self, before: Placed[Any] | None, each: Placed[Any]) -> Placed[Any] | None:
        """What one was told last, with this event; it has not had its effect yet."""
        event = each.event
        if isinstance(event, ResourceAcquired):
            self._taken.setdefault(event.resource.removeprefix("lease of "), set()).add(event.holder)
            return before
        if isinstance(event, Unregistered):
            self._taken.pop(event.instance_id, None)
        if isinstance(event, LeaseLeft):  # it may be of one by that name that was there before
            return each if event.lease in self._taken.get(event.instance, ()) else None
        return each if isinstance(event, BreakerTold | MemberAnswered) else None


def _is_due(
    story: Story,
    policy: BreakerPolicy,
    before: Breaker | None,
    due: tuple[str, Breaker] | None,
    cause: Placed[Any] | None,
    each: Placed[BreakerChanged],
) -> Iterator[Finding]:
    if before is None or (due is not None and (each.event.instance_id, each.event.breaker) != due):
        yield Finding(f"this should be {due}", cause, each)
    elif due is None and not _may_follow_by_itself(story, policy, before, each.event):
        yield Finding(f"nothing made it so: it was {before}", each)


def _keep(breakers: dict[str, Breaker], event: object) -> None:
    """Note what an event tells of breakers."""
    if isinstance(event, Registered):
        breakers[event.instance_id] = Breaker()
    elif isinstance(event, Unregistered):
        breakers.pop(event.instance_id, None)
    elif isinstance(event, BreakerChanged) and event.instance_id in breakers:
        breakers[event.instance_id] = event.breaker


def _policy(story: Story) -> BreakerPolicy | None:
    return next((each.event.breaker for each in story.all(Limited)), None)


def _in_order(story: Story) -> list[Placed[Any]]:
    kinds = (Registered, Unregistered, BreakerChanged)
    events: list[Placed[Any]] = [each for each in story.numbered if isinstance(each.event, kinds)]
    if any(isinstance(each.event, BreakerChanged) for each in events) or story.all(BreakerTold):
        for kind in (BreakerTold, LeaseLeft, LeaseEnded, MemberAnswered, ResourceAcquired):
            events += story.all(kind)
    return sorted(events, key=lambda each: each.index)


def _due(policy: BreakerPolicy, breakers: dict[str, Breaker], cause: Placed[Any] | None) -> tuple[str, Breaker] | None:
    """Which breaker has to be another now, and what; ``None`` when none has to."""
    worked = None if cause is None else _worked(cause.event)
    if cause is None or worked is None:
        return None
    name = cause.event.member if isinstance(cause.event, MemberAnswered) else cause.event.instance
    if name not in breakers:
        return None
    before = breakers[name]
    after = Breaker() if worked else _after_failure(policy, before, cause.event.at)
    return None if after == before else (name, after)


def _worked(event: BreakerTold | LeaseLeft | MemberAnswered) -> bool | None:
    """Whether that is a success, or a failure; ``None`` when it is neither."""
    if isinstance(event, BreakerTold):
        return event.worked
    if isinstance(event, MemberAnswered):
        return event.latency is not None
    if event.blamed or event.how in _FAILURES:
        return False
    return True if event.how == "returned" else None


def _after_failure(policy: BreakerPolicy, before: Breaker, at: float) -> Breaker:
    if before.state is _S.OPEN:
        return before
    failures = before.failures + 1
    if before.state is _S.CLOSED and failures < policy.failures:
        return Breaker(_S.CLOSED, failures)
    seconds = min(policy.max_reset_timeout, policy.reset_timeout * policy.widening**before.openings)
    return Breaker(_S.OPEN, failures, before.openings + 1, at + seconds)


def _may_follow_by_itself(story: Story, policy: BreakerPolicy, before: Breaker, event: BreakerChanged) -> bool:
    """Whether it is a probe that goes out when it is due, or what comes of one."""
    after, at = event.breaker, event.at
    if before.state is _S.OPEN and after.state is _S.HALF_OPEN:
        due = at >= (before.retry_at or 0.0) - EPSILON or _is_news(story, event)
        return after == attrs.evolve(before, state=_S.HALF_OPEN) and due
    # Something else may have opened or closed it while the probe was out.
    sent = [
        each.event.at
        for each in story.all(ProbeSent)
        if each.event.instance == event.instance_id and at - _PROBE_SECONDS - story.slack <= each.event.at <= at
    ]
    if not sent:
        return False
    if after == Breaker():
        return _has_answered(story, event.instance_id, sent[-1], at)
    given_up = before.state is _S.HALF_OPEN and after == attrs.evolve(before, state=_S.OPEN)
    return given_up or after == _after_failure(policy, before, at)


def _is_news(story: Story, event: BreakerChanged) -> bool:
    """Whether a discovery that had failed gets through again in this moment: then a probe need not wait."""
    return event.instance_id.startswith(FAR) and any(
        isinstance(each.event, DiscoveryBreakerChanged)
        and each.event.breaker == Breaker()
        and abs(each.event.at - event.at) <= story.slack
        for each in story.numbered
    )


def _has_answered(story: Story, instance: str, since: float, until: float) -> bool:
    """Whether its process answered a ``get_state`` that was sent in this time."""
    for launch in story.launches:
        if launch.life.instance != instance.removeprefix(FAR):
            continue
        for line, command in launch.commands:
            answer = launch.responses.get(str(command.get("id")))
            if command.get("type") != "get_state" or line.written_at < since - EPSILON or answer is None:
                continue
            if answer.read_at is not None and answer.read_at <= until + EPSILON:
                return True
    return False


@invariant(0)
def a_probe_goes_out_when_due(story: Story) -> Iterator[Finding]:
    """A breaker that has been open for its time is half open then, and lets one probe through; when that was answered
    it is closed, or else it is open again. None is sent at other times. A member that is somewhere else may come to an
    endpoint that is being probed, and is told so.
    """
    if not any(isinstance(each.event, BreakerChanged) for each in story.numbered):
        return
    left = story.left.get("runtime")
    probes = list(story.all(ProbeSent))
    moves = Moves(story)
    opened: dict[str, Placed[BreakerChanged]] = {}
    for each in [*_changes(story), None]:
        at = each.event.at if each is not None else left.event.at if left is not None else story.end_at
        for name, last in list(opened.items()):
            until = _until(last.event)
            if at > until + story.slack and (left is None or until < left.event.at - EPSILON):
                yield Finding(f"the breaker of {name} should be another since {until:g}", last, each)
                del opened[name]
        if each is None:
            continue
        name = each.event.instance_id
        opened.pop(name, None)
        if isinstance(each.event, BreakerChanged) and each.event.breaker.state is not _S.CLOSED:
            opened[name] = Placed(each.index, each.event)
            if each.event.breaker.state is _S.HALF_OPEN and not moves.are_near(name, each.event.at):
                yield from _has_one_probe(each, probes)
    yield from (Finding("nobody wanted to know", probe) for probe in probes if not _is_out(story, probe, moves))
    if left is not None:
        late = [each for each in story.all(ProbeSent) if each.event.at > left.event.at + EPSILON]
        yield from (Finding("everything was being stopped", left, probe) for probe in late)


def _is_out(story: Story, probe: Placed[ProbeSent], moves: Moves) -> bool:
    """Whether it goes to one that is out for its silence: nothing is published of the breaker then."""
    name = probe.event.instance
    so_far = [each for each in _changes(story) if each.event.instance_id == name and each.index < probe.index]
    is_out = name.startswith(FAR) and bool(so_far) and isinstance(so_far[-1].event, Unregistered)
    return is_out or moves.are_near(name, probe.event.at)


def _changes(story: Story) -> list[Placed[Any]]:
    kinds = (BreakerChanged, Registered, Unregistered)
    return [each for each in story.numbered if isinstance(each.event, kinds)]


def _until(event: BreakerChanged) -> float:
    if event.breaker.state is _S.HALF_OPEN:
        return event.at + _PROBE_SECONDS
    # A probe that was given up leaves it due: nobody sends another, for everything is about to be stopped.
    return max(event.breaker.retry_at or 0.0, event.at)


def _has_one_probe(half_open: Placed[Any], probes: list[Placed[ProbeSent]]) -> Iterator[Finding]:
    sent = [
        each
        for each in probes
        if each.event.instance == half_open.event.instance_id
        and half_open.index < each.index
        and each.event.at <= half_open.event.at + EPSILON
    ]
    if len(sent) != 1:
        yield Finding(f"{len(sent)} probes were sent", half_open, *sent)
    for each in sent:
        probes.remove(each)
