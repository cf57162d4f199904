"""What is published of an instance, and whether it is true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ...lifecycle import (
    Exited,
    Health,
    HealthChanged,
    InstanceEvent,
    InstanceState,
    ModelChanged,
    Ready,
    Registered,
    RestartScheduled,
    StateChanged,
    Unregistered,
)
from .invariant import Finding, invariant
from .launch import Launch
from .life import TERMINAL_STATES, Life
from .placed import EPSILON, Placed
from .story import Story

__all__ = [
    "announced_once",
    "exit_status_is_the_process_s_own",
    "nothing_after_exited",
    "nothing_after_the_end",
    "one_exit_one_end",
    "reasons_are_true",
    "states_follow_the_table",
]

_S = InstanceState
# Written out here once more: a table that was changed by mistake must not be its own judge.
_FOLLOWING: dict[InstanceState | None, set[InstanceState]] = {
    None: {_S.STARTING},
    _S.STARTING: {_S.RUNNING, _S.STOPPING, _S.BACKING_OFF, _S.STOPPED, _S.FAILED},
    _S.RUNNING: {_S.STOPPING, _S.BACKING_OFF, _S.STOPPED, _S.FAILED},
    _S.STOPPING: {_S.STOPPED},
    _S.BACKING_OFF: {_S.STARTING, _S.STOPPED},
    _S.STOPPED: set(),
    _S.FAILED: set(),
}
# Another event comes right behind these.
_WITH_MORE = (_S.RUNNING, _S.BACKING_OFF)


@invariant(1)
def one_exit_one_end(story: Story) -> Iterator[Finding]:
    """At most one ``exited`` for each incarnation, and at most one of ``stopped`` and ``failed`` for each instance."""
    for life in story.lives:
        exits = [Placed(each.index, each.event) for each in life.published if isinstance(each.event, Exited)]
        for incarnation, count in Counter(each.event.incarnation for each in exits).items():
            if count > 1:
                twice = [each for each in exits if each.event.incarnation == incarnation]
                yield Finding(f"the end of {life.instance}/{incarnation} was published {count} times", *twice)
        ends = [each for each in life.states if each.event.state in TERMINAL_STATES]
        if len(ends) > 1:
            yield Finding(f"{life.instance} came to its end {len(ends)} times", *ends)


@invariant(2)
def nothing_after_the_end(story: Story) -> Iterator[Finding]:
    """Nothing is published of an instance after its terminal event, but once that it is no member any more; nor
    anything before it was registered.
    """
    for life in story.lives:
        first = life.published[0] if life.published else None
        if first is not None and not isinstance(first.event, Registered):
            yield Finding(f"{life.instance} was not registered first", first)
        left = [each for each in life.published if isinstance(each.event, Unregistered)]
        if life.terminal is None:
            if left:
                yield Finding(f"{life.instance} was taken out though it is not over", left[0])
            continue
        for each in life.published:
            if each.index > life.terminal.index and each not in left[:1]:
                yield Finding(f"{life.instance} was over, and then this was published", life.terminal, each)
        if story.left.get("runtime") and not left:
            yield Finding(f"{life.instance} is over, and still a member", life.terminal)


@invariant(3)
def states_follow_the_table(story: Story) -> Iterator[Finding]:
    """Published states follow the transition table, and each says the incarnation it belongs to."""
    for life in story.lives:
        before: Placed[StateChanged] | None = None
        for each in life.states:
            state: InstanceState | None = before.event.state if before else None
            if each.event.state not in _FOLLOWING[state]:
                yield Finding(f"{life.instance} went from {state} to {each.event.state}", before, each)
            step = each.event.incarnation - (before.event.incarnation if before else 0)
            started = state is _S.STARTING  # a process was started since that was published
            if step != (1 if started else 0):
                yield Finding(f"{life.instance} went on to incarnation {each.event.incarnation}", before, each)
            before = each


@invariant(3)
def announced_once(story: Story) -> Iterator[Finding]:
    """Each change is published once: ``ready`` right behind ``running``, a scheduled restart right behind
    ``backing_off``, and health and model only when they are others than before.
    """
    for life in story.lives:
        health = Health.UNKNOWN
        before: Placed[InstanceEvent] | None = None
        for each in life.published:
            event: InstanceEvent = each.event
            if abs(event.at - story.trace.events[each.index].at) > story.slack:
                yield Finding(f"that was published at another time than {event.at:g}", each)
            last: InstanceEvent | None = before.event if before else None
            if isinstance(event, HealthChanged):
                if event.health is health:
                    yield Finding(f"the health of {life.instance} was {health} already", each)
                health = event.health
            for follower, state in ((Ready, _S.RUNNING), (RestartScheduled, _S.BACKING_OFF)):
                is_behind = isinstance(last, StateChanged) and last.state is state
                if isinstance(event, follower) != is_behind:
                    yield Finding(f"{follower.__name__} belongs right behind {state}", before, each)
                elif isinstance(last, StateChanged) and is_behind and _incarnation(event) != last.incarnation:
                    yield Finding(f"{follower.__name__} is of another incarnation", before, each)
            before = each
        yield from _models_twice(life)
        if isinstance(before, Placed) and isinstance(before.event, StateChanged) and before.event.state in _WITH_MORE:
            yield Finding(f"nothing came behind {before.event.state}", before)


def _models_twice(life: Life) -> Iterator[Finding]:
    model: tuple[str | None, str | None] | None = None
    for each in life.published:
        if isinstance(each.event, ModelChanged):
            if model == (each.event.provider, each.event.model):
                yield Finding(f"that {each.event.model} answers was said already", each)
            model = each.event.provider, each.event.model


def _incarnation(event: InstanceEvent) -> int:
    return (
        event.incarnation if isinstance(event, StateChanged | Ready | Exited | RestartScheduled | HealthChanged) else 0
    )


@invariant(14)
def nothing_after_exited(story: Story) -> Iterator[Finding]:
    """No ``ready`` and no health of an incarnation after its ``exited``; ``ready`` only behind the answer to a real
    ``get_state``, from the process with the pid it tells.
    """
    for life in story.lives:
        for each in life.published:
            event = each.event
            known = isinstance(event, HealthChanged) and event.health is not Health.UNKNOWN
            if not (isinstance(event, Ready) or known):
                continue
            assert isinstance(event, Ready | HealthChanged)
            gone = life.exits.get(event.incarnation)
            if gone is not None and gone.index < each.index:
                yield Finding(f"{life.instance}/{event.incarnation} was gone already", gone, each)
            if isinstance(event, Ready):
                launch = life.launch_of(event.incarnation)
                if launch is None or launch.root.spawned.event.pid != event.pid:
                    yield Finding(f"{life.instance}/{event.incarnation} is no process with this pid", each)
                elif not _has_answered(launch, event.at):
                    yield Finding(f"{life.instance}/{event.incarnation} had not answered get_state", each)


def _has_answered(launch: Launch, at: float) -> bool:
    for _, command in launch.commands:
        if command.get("type") == "get_state" and isinstance(command.get("id"), str):
            line = launch.responses.get(str(command["id"]))
            if line is not None and line.read_at is not None and line.read_at <= at + EPSILON:
                record = line.record
                return record is not None and record.get("success") is True
    return False


@invariant(15)
def exit_status_is_the_process_s_own(story: Story) -> Iterator[Finding]:
    """Every process that ended is published, with its own exit status, and with whether it was told to end."""
    for life in story.lives:
        for launch in life.launches:
            published = life.exits.get(launch.incarnation)
            if launch.abandoned and published is None:
                continue
            if published is None:
                if life.terminal is not None and launch.exited is not None:
                    yield Finding(f"the end of {life.instance}/{launch.incarnation} was never published", launch.exited)
                continue
            if launch.exited is None or launch.exited.index > published.index:
                yield Finding(f"{life.instance}/{launch.incarnation} had not ended", published, launch.exited)
                continue
            if launch.exited.event.status != published.event.status:
                says = f"{life.instance}/{launch.incarnation} ended otherwise"
                yield Finding(says, launch.exited, published)
            yield from _told_to(life, launch)
        for incarnation, published in life.exits.items():
            if life.launch_of(incarnation) is None:
                yield Finding(f"there was no process {life.instance}/{incarnation}", published)


def _told_to(life: Life, launch: Launch) -> Iterator[Finding]:
    published, exited = life.exits[launch.incarnation], launch.exited
    assert exited is not None
    before = [stop for stop in life.stops if stop.event.at < exited.event.at - EPSILON]
    if before and not published.event.requested:
        yield Finding(f"{life.instance}/{launch.incarnation} was told to end", before[0], published)
    # A health policy may stop an instance, a cancelled spawn does, and a tree that is given up.
    others = life.tree is not None or not life.readies or (life.spec is not None and _health_stops(life))
    if published.event.requested and not others and not any(stop.index < published.index for stop in life.stops):
        yield Finding(f"nobody told {life.instance}/{launch.incarnation} to end", exited, published)


def _health_stops(life: Life) -> bool:
    return life.spec is not None and life.spec.health is not None and life.spec.health.action == "stop"


@invariant(0)
def reasons_are_true(story: Story) -> Iterator[Finding]:
    """What is published as the reason of an end is the reason: of a process that ended by itself, how it did; of one
    that was ended from here, why.
    """
    for life in story.lives:
        for each in life.states:
            if each.event.state not in (_S.BACKING_OFF, _S.STOPPED, _S.FAILED):
                continue
            if not each.event.reason:
                yield Finding(f"{life.instance} is {each.event.state}, and nobody says why", each)
            launch = life.launch_of(each.event.incarnation)
            published = life.exits.get(each.event.incarnation)
            if launch is None or launch.exited is None or published is None or published.event.requested:
                continue
            told = str(launch.exited.event.status) in each.event.reason
            if _given_up_as_it_ended(life, launch, each.event.at):
                continue
            if told == launch.ended_from_here and not life.asked_before(each.index) and life.tree is None:
                yield Finding(f"that is not why {life.instance} is {each.event.state}", launch.exited, each)


def _given_up_as_it_ended(life: Life, launch: Launch, published_at: float) -> bool:
    """Whether its time was up, or its health, between the cause of its end and the moment that this was known."""
    assert launch.exited is not None
    # A process dies a moment after the signal that ends it: what is decided in between is decided about a living one.
    deadly = (each.event.at for each in launch.signals if each.event.signal == launch.exited.event.status.signal)
    dying_since = min([launch.over_since, *deadly])
    moments = [each.event.at for each in life.published if _is_unhealthy(each.event)]
    if life.spec is not None and launch.written["stdin"]:
        moments.append(launch.written["stdin"][0].event.at + life.spec.start_timeout)
    return any(dying_since - EPSILON <= moment <= published_at + EPSILON for moment in moments)


def _is_unhealthy(event: InstanceEvent) -> bool:
    return isinstance(event, HealthChanged) and event.health is Health.UNHEALTHY
