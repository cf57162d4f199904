"""How instances are started: how many at once, and for how long they are waited for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from ..trace import Limited, PipeOpened, ResourceAcquired
from .invariant import Finding, invariant
from .launch import Launch
from .life import Life
from .placed import EPSILON, Placed
from .story import Story

__all__ = ["a_start_has_its_time", "requests_wait_for_the_ready", "sessions_go_on", "starts_are_limited"]


@invariant(21)
def starts_are_limited(story: Story) -> Iterator[Finding]:
    """No more processes are between their spawn and their first answer than may start at the same time."""
    limits = [each.event.max_starting for each in story.all(Limited)]
    limits += [each.event.limit for each in story.all(ResourceAcquired) if each.event.resource == "start slot"]
    if not limits:
        return
    for launch in story.launches:
        spawned = launch.root.spawned
        starting = [other for other in story.launches if _is_starting(other, spawned.index)]
        if len(starting) >= limits[0]:
            says = f"{len(starting)} others were starting already, of at most {limits[0]}"
            yield Finding(says, *[other.root.spawned for other in starting], spawned)


def _is_starting(launch: Launch, index: int) -> bool:
    if not launch.root.lives_at(index):
        return False
    return not any(each.event.incarnation == launch.incarnation and each.index < index for each in launch.life.readies)


@invariant(0)
def a_start_has_its_time(story: Story) -> Iterator[Finding]:
    """A process that has not answered ``start_timeout`` seconds after it was there is ended then, and not before."""
    given = {
        (each.event.instance, each.event.incarnation): each
        for each in story.all(PipeOpened)
        if each.event.pipe == "stdin"
    }
    for launch in story.launches:
        spec, opened = launch.life.spec, given.get((launch.life.instance, launch.number))
        if spec is None or opened is None or launch.abandoned:
            continue
        due = opened.event.at + spec.start_timeout
        if story.end_at > due + EPSILON + story.trace.lateness:
            yield from _is_ended(launch, launch.life, opened, due + story.trace.lateness)


def _is_ended(launch: Launch, life: Life, opened: Placed[PipeOpened], due: float) -> Iterator[Finding]:
    moments = [each.event.at for each in life.readies if each.event.incarnation == launch.incarnation]
    moments += [each.event.at for signal in ("SIGTERM", "SIGKILL") for each in launch.sent(signal)]
    moments += [stop.event.at for stop in life.stops]
    moments.append(launch.over_since)  # what is on its way out already takes a signal as nothing
    if not any(at <= due + EPSILON for at in moments):
        says = f"{life.instance}/{launch.incarnation} had not answered at {due:g}, and was not ended"
        yield Finding(says, opened, launch.exited)


@invariant(0)
def sessions_go_on(story: Story) -> Iterator[Finding]:
    """A Pi that is started again continues the session of the one before, where the spec says so."""
    for life in story.lives:
        if life.spec is None or life.spec.restart_session != "continue" or life.spec.ephemeral:
            continue
        for before, after in pairwise(life.readies):
            if after.event.session_id != before.event.session_id:
                yield Finding(f"{life.instance} is in another session now", before, after)


@invariant(22)
def requests_wait_for_the_ready(story: Story) -> Iterator[Finding]:
    """No request of a caller goes to a process that has not become ready."""
    for started, _ in story.requests.values():
        launch, mark = story.marks.get(started.event.mark), started.event.mark
        if launch is None:
            continue
        sent = [line for line, command in launch.commands if command.get("mark") == mark]
        ready = next((each for each in launch.life.readies if each.event.incarnation == launch.incarnation), None)
        if sent and (ready is None or sent[0].written_at < ready.event.at - EPSILON):
            yield Finding(f"{launch.life.instance}/{launch.incarnation} was not ready", started, ready)
