"""Whether the health that is published is what the probes found."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from ...lifecycle import Health, HealthChanged, HealthPolicy, InstanceState, Ready
from .invariant import Finding, invariant
from .launch import Launch, Line
from .life import Life
from .placed import EPSILON, Placed
from .story import Story

__all__ = ["health_is_what_probes_found", "the_unhealthy_are_ended"]


@attrs.frozen
class _Probe:
    """What the wire shows of a probe."""

    ended_at: float
    latency: float | None
    heard: bool


class _Unclear(Exception):
    """Two things happened in one instant, and either order would be right."""


@invariant(0)
def health_is_what_probes_found(story: Story) -> Iterator[Finding]:
    """Health follows from the probes, one every ``period`` seconds: answered in time healthy, answered late or missed
    degraded, ``misses`` missed in a row, with nothing else heard, unhealthy.
    """
    for life in story.lives:
        policy = life.spec.health if life.spec is not None else None
        if policy is None:
            continue
        for ready in life.readies:
            launch = life.launch_of(ready.event.incarnation)
            if launch is not None:
                yield from _compare(life, launch, policy, ready, _watched_until(story, life, ready))


def _watched_until(story: Story, life: Life, ready: Placed[Ready]) -> float:
    """When nobody watched any more: it was being ended, or gone."""
    ends = [story.end_at]
    ends += [each.event.at for each in life.states if each.index > ready.index + 1][:1]
    launch = life.launch_of(ready.event.incarnation)
    if launch is not None:
        ends += [each.event.at for each in launch.sent("SIGTERM")][:1]
        ends += [launch.exited.event.at] if launch.exited else []
    ends += [stop.event.at for stop in life.stops if stop.index > ready.index][:1]
    return min(ends)


def _compare(life: Life, launch: Launch, policy: HealthPolicy, ready: Placed[Ready], until: float) -> Iterator[Finding]:
    published = [
        Placed(each.index, each.event)
        for each in life.published
        if isinstance(each.event, HealthChanged)
        and each.event.incarnation == launch.incarnation
        and each.event.health is not Health.UNKNOWN
    ]
    name = f"{life.instance}/{launch.incarnation}"
    clear_until = until
    told = 0
    for at, health in _expected(launch, policy, ready.event.at, until):
        if health is None:
            clear_until = at - 2 * EPSILON
            break
        if at > until - EPSILON:
            # The end of the watch itself, or in the same instant: whether it was told first is as it happened.
            told += told < len(published) and published[told].event.health is health
            break
        if told == len(published):
            yield Finding(f"the probes found {name} {health} at {at:g}, and nobody was told", ready)
            return
        change = published[told]
        if change.event.health is not health or abs(change.event.at - at) > EPSILON:
            yield Finding(f"the probes found {name} {health} at {at:g}", ready, change)
            return
        told += 1
    for change in published[told:]:
        ended_it = change.event.health is Health.UNHEALTHY and change.event.at <= clear_until + EPSILON
        if change.event.at < clear_until - EPSILON or ended_it:
            yield Finding(f"no probe had found that of {name}", ready, change)
            return


def _expected(
    launch: Launch, policy: HealthPolicy, ready_at: float, until: float
) -> Iterator[tuple[float, Health | None]]:
    """The changes of health, and when; ``None`` where the wire does not tell."""
    health, misses, at = Health.UNKNOWN, 0, ready_at + policy.period
    while at < until - EPSILON:
        try:
            probe = _probe(launch, policy, at)
        except _Unclear:
            yield at, None
            return
        before = health
        if probe.latency is not None:
            misses, health = 0, Health.HEALTHY if probe.latency <= policy.slow_after else Health.DEGRADED
        elif probe.heard:
            misses, health = 0, Health.DEGRADED
        else:
            misses += 1
            health = Health.UNHEALTHY if misses >= policy.misses else Health.DEGRADED
        if health is not before:
            yield probe.ended_at, health
        if health is Health.UNHEALTHY and policy.action != "report":
            return
        at = probe.ended_at + policy.period


def _probe(launch: Launch, policy: HealthPolicy, at: float) -> _Probe:
    answer = _answer(launch, at)
    if answer is not None and answer.read_at is not None:
        latency = answer.read_at - at
        if abs(latency - policy.timeout) <= EPSILON or abs(latency - policy.slow_after) <= EPSILON:
            raise _Unclear
        if 0.0 <= latency < policy.timeout:  # before it was asked for, it is the answer to another with its id
            if (answer.record or {}).get("success") is True:
                return _Probe(answer.read_at, latency, heard=True)
            raise _Unclear  # refused: whether anything else was heard makes no difference that matters
    return _Probe(at + policy.timeout, None, _heard(launch, at, at + policy.timeout))


def _answer(launch: Launch, at: float) -> Line | None:
    """The answer to the probe that was sent at that time."""
    probes = [
        command
        for line, command in launch.commands
        if abs(line.written_at - at) <= EPSILON and command.keys() == {"id", "type"} and command["type"] == "get_state"
    ]
    if len(probes) != 1:
        raise _Unclear  # it waits in a queue, or somebody else asked at the same time
    return launch.responses.get(str(probes[0]["id"]))


def _heard(launch: Launch, since: float, until: float) -> bool:
    read = [line.read_at for line in launch.lines if line.read_at is not None]
    if any(abs(at - edge) <= EPSILON for at in read for edge in (since, until)):
        if any(since + EPSILON < at < until - EPSILON for at in read):
            return True
        raise _Unclear
    return any(since < at < until for at in read)


@invariant(0)
def the_unhealthy_are_ended(story: Story) -> Iterator[Finding]:
    """An unhealthy instance is ended at once where the policy says so, and only then; with ``stop`` for good."""
    for life in story.lives:
        policy = life.spec.health if life.spec is not None else None
        if policy is None:
            continue
        for each in life.published:
            if not isinstance(each.event, HealthChanged) or each.event.health is not Health.UNHEALTHY:
                continue
            launch = life.launch_of(each.event.incarnation)
            if launch is None or life.asked_before(each.index):
                continue
            if policy.action == "report":
                terms = [term for term in launch.sent("SIGTERM") if term.index > each.index]
                if terms and life.tree is None and not life.asked_before(terms[0].index):
                    yield Finding(f"{life.instance} was only to be reported, and was ended", each, terms[0])
                continue
            # One that is dying already takes it, and nothing comes of it.
            signalled = any(
                term.event.signal == "SIGTERM"
                and term.event.sender == "runtime"
                and abs(term.event.at - each.event.at) <= EPSILON
                for term in launch.signals
            )
            gone = launch.over_since <= each.event.at + EPSILON
            if not signalled and not gone:
                yield Finding(f"{life.instance} is unhealthy, and nobody ended it", each)
            after = [state for state in life.states if state.index > each.index]
            if policy.action == "stop" and any(state.event.state is InstanceState.BACKING_OFF for state in after):
                yield Finding(f"{life.instance} was to be stopped for good", each, *after[:2])
