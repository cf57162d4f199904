"""How instances are brought to their end."""

from __future__ import annotations

from collections.abc import Iterator

from ...launch import InstanceSpec
from ...lifecycle import Health, HealthChanged, InstanceState, Ready, RestartScheduled, StateChanged, StopManner
from ..trace import PipeOpened, ProcessSignalled, StopAsked
from .invariant import Finding, invariant
from .launch import Launch
from .life import Life
from .placed import EPSILON, Placed
from .story import Story

__all__ = [
    "a_failed_spawn_leaves_nothing",
    "a_stop_ends_in_time",
    "nothing_starts_after_a_stop",
    "sigcont_follows_sigterm",
    "sigkill_comes_last",
    "STOP_SLACK",
]

STOP_SLACK = 1.0
"""Seconds that a stop may take beyond what the specs give it: for the pipes, and for taking a killed tree apart."""

# What is left of the grace period when somebody has interrupted the program twice.
_HASTY_GRACE = 0.5


@invariant(7)
def sigkill_comes_last(story: Story) -> Iterator[Finding]:
    """SIGKILL for a stop comes after SIGTERM, and not before the grace period is over, unless the process is gone or
    the caller forced it; SIGTERM for a polite stop comes after EOF, and not before the drain time is over.
    """
    for life in story.lives:
        if life.spec is None:
            continue
        for launch in life.launches:
            if launch.abandoned:
                continue  # what nobody was given has nothing to finish
            for kill in _first(launch, "SIGKILL"):
                if not _is_forced(life, kill.index):
                    yield from _killed_early(life.spec, launch, kill)
            for term in _first(launch, "SIGTERM"):
                yield from _terminated_early(life, life.spec, launch, term)


def _first(launch: Launch, signal: str) -> list[Placed[ProcessSignalled]]:
    """The first time the living root got this signal from the runtime."""
    end = launch.exited.index if launch.exited else None
    # The end that a signal itself brings about stands right behind it.
    return [each for each in launch.sent(signal) if end is None or each.index < end][:1]


def _is_forced(life: Life, index: int) -> bool:
    return any(stop.index < index and stop.event.manner is StopManner.FORCE for stop in life.stops)


def _killed_early(spec: InstanceSpec, launch: Launch, kill: Placed[ProcessSignalled]) -> Iterator[Finding]:
    name = f"{launch.life.instance}/{launch.incarnation}"
    terms = [each for each in launch.sent("SIGTERM") if each.index < kill.index]
    if not terms:
        yield Finding(f"{name} got SIGKILL without SIGTERM before it", launch.root.spawned, kill)
        return
    hurried = any(stop.event.manner is StopManner.HASTY and stop.index < kill.index for stop in launch.life.stops)
    grace = min(spec.grace_timeout, _HASTY_GRACE) if hurried else spec.grace_timeout
    given = kill.event.at - terms[0].event.at
    if given < grace - EPSILON:
        yield Finding(f"{name} got {given:g} s of its grace period of {grace:g} s", terms[0], kill)


def _terminated_early(
    life: Life, spec: InstanceSpec, launch: Launch, term: Placed[ProcessSignalled]
) -> Iterator[Finding]:
    asked = [stop for stop in life.stops if stop.index < term.index]
    was_ready = any(each.event.incarnation == launch.incarnation for each in life.readies if each.index < term.index)
    if not asked or not was_ready or any(stop.event.manner is not StopManner.POLITE for stop in asked):
        return
    if life.tree is not None or _ended_for_its_health(life, launch):
        return  # its tree, or its health, may have asked for less patience
    name = f"{life.instance}/{launch.incarnation}"
    eof, given = launch.closed.get("stdin"), term.event.at - asked[0].event.at
    if given < spec.drain_timeout - EPSILON:
        yield Finding(f"{name} got {given:g} s of its drain time of {spec.drain_timeout:g} s", asked[0], eof, term)
    # EOF stands behind what is queued for it: a process that does not read its stdin never comes to it.
    elif given > EPSILON and (eof is None or eof.index > term.index) and launch.has_read_its_stdin(term.index):
        yield Finding(f"{name} was stopped politely, and got SIGTERM without EOF before it", asked[0], term)


def _ended_for_its_health(life: Life, launch: Launch) -> bool:
    return any(
        isinstance(each.event, HealthChanged)
        and each.event.incarnation == launch.incarnation
        and each.event.health is Health.UNHEALTHY
        for each in life.published
    )


@invariant(7)
def sigcont_follows_sigterm(story: Story) -> Iterator[Finding]:
    """SIGTERM is followed by SIGCONT at once: a stopped process would never see the first."""
    for launch in story.launches:
        continued = [
            each for each in launch.signals if (each.event.signal, each.event.sender) == ("SIGCONT", "runtime")
        ]
        for term in launch.sent("SIGTERM"):
            if term.event.fate == "acted":
                continue  # that was its end
            if not any(each.index > term.index and each.event.at - term.event.at <= story.slack for each in continued):
                yield Finding(f"{launch.life.instance}/{launch.incarnation} got no SIGCONT behind SIGTERM", term)


@invariant(8)
def a_stop_ends_in_time(story: Story) -> Iterator[Finding]:
    """A stop request ends in a terminal event within drain + grace + a fixed slack, whatever the process does."""
    for life in story.lives:
        if life.spec is None:
            continue
        for stop in life.stops:
            if life.terminal is not None and life.terminal.index < stop.index:
                continue
            due = (
                stop.event.at
                + _bound(life.spec, stop.event)
                + STOP_SLACK
                + _dying(life)
                + _still_spawning(story, life, stop)
            )
            ended = life.terminal.event.at if life.terminal else None
            if (ended is None and story.end_at > due) or (ended is not None and ended > due + EPSILON):
                yield Finding(f"{life.instance} was not over at {due:g}, when it had to be", stop, life.terminal)


def _still_spawning(story: Story, life: Life, stop: Placed[StopAsked]) -> float:
    """How much longer a spawn took that was under way: a system need not let itself be interrupted in it."""
    handed_over = [each.event for each in story.all(PipeOpened) if each.event.instance == life.instance]
    under_way = {launch.number for launch in life.launches if launch.root.spawned.event.at <= stop.event.at}
    return max([0.0, *(each.at - stop.event.at for each in handed_over if each.incarnation in under_way)])


def _dying(life: Life) -> float:
    """How long the system took to end what had no way back any more: in an uninterruptible sleep nothing dies."""
    seconds = 0.0
    for launch in life.launches:
        for each in launch.signals:
            end = launch.exited if each.event.process == launch.root.spawned.event.process else None
            doomed = each.event.fate == "gone" or (each.event.signal == "SIGKILL" and each.event.fate == "acted")
            if doomed and end is not None:
                seconds = max(seconds, end.event.at - each.event.at)
    return seconds


def _bound(spec: InstanceSpec, stop: StopAsked) -> float:
    if stop.manner is StopManner.FORCE:
        return 0.0
    if stop.manner is StopManner.POLITE:
        return spec.drain_timeout + spec.grace_timeout
    return spec.grace_timeout if stop.manner is StopManner.PROMPT else min(spec.grace_timeout, _HASTY_GRACE)


@invariant(8)
def a_failed_spawn_leaves_nothing(story: Story) -> Iterator[Finding]:
    """A ``spawn`` that was cancelled, or raised, returns when nothing of what it started is left."""
    for started, ends in story.calls.values():
        if started.event.what != "spawn":
            continue
        for end in ends:
            life = next((each for each in story.lives if each.instance == started.event.instance), None)
            if end.event.outcome == "ok" or life is None or life.registered < started.index:
                continue
            if life.terminal is None or life.terminal.index > end.index:
                yield Finding(f"{life.instance} was not over when its spawn raised", started, end, life.terminal)


@invariant(19)
def nothing_starts_after_a_stop(story: Story) -> Iterator[Finding]:
    """After a stop request: no start, no spawn, no backoff."""
    for life in story.lives:
        if not life.stops:
            continue
        stop = life.stops[0]
        for each in life.published:
            if each.index > stop.index and _is_start(each.event):
                yield Finding(f"{life.instance} had been asked to stop", stop, each)
        for launch in life.launches:
            spawned = launch.root.spawned
            # A spawn that was under way may come to its end in the same instant: it is ended then.
            if spawned.index > stop.index and spawned.event.at > stop.event.at + EPSILON:
                yield Finding(f"{life.instance} had been asked to stop", stop, spawned)
        yield from _backoff_goes_on(story, life, stop)


def _backoff_goes_on(story: Story, life: Life, stop: Placed[StopAsked]) -> Iterator[Finding]:
    before = [each for each in life.states if each.index < stop.index]
    if not before or before[-1].event.state is not InstanceState.BACKING_OFF:
        return
    following = next((each for each in life.states if each.index > stop.index), None)
    at = story.end_at if following is None else following.event.at
    if at > stop.event.at + story.slack:
        yield Finding(f"the backoff of {life.instance} went on", before[-1], stop, following)


def _is_start(event: object) -> bool:
    starts = (InstanceState.STARTING, InstanceState.RUNNING, InstanceState.BACKING_OFF)
    return isinstance(event, Ready | RestartScheduled) or (isinstance(event, StateChanged) and event.state in starts)
