"""What a Pi is told of what nobody wants any more, and who waits for whom."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from ...lifecycle import Ready
from ..trace import CallEnded, CallStarted, FarCut, SomewhereAsked
from .invariant import Finding, invariant
from .launch import Launch, Line
from .placed import EPSILON, Placed
from .runs import said_to
from .story import Story

__all__ = [
    "runs_take_turns",
    "shell_commands_take_turns",
    "what_is_given_up_is_aborted",
    "who_is_given_is_a_member",
]

# What leaving a run may take: then Pi is busy with something that does not mind being aborted.
_ABORT_SECONDS = 5.0


@invariant(11)
def what_is_given_up_is_aborted(story: Story) -> Iterator[Finding]:
    """A shell command or a run that its caller gives up, or leaves early, is not left to itself: its Pi is told."""
    for number, (started, ends) in story.calls.items():
        if not ends or started.event.what not in ("run", "exec"):
            continue
        given_up = ends[0].event.outcome in ("cancelled", "RequestTimeout", "RunTimeout")
        given_up = given_up or (started.event.what == "run" and ends[0].event.detail == "left")
        mark = f"<{'x' if started.event.what == 'exec' else 'p'}{number}>"
        if given_up:
            for launch in story.launches:
                if launch.life.instance == started.event.instance and mark.encode() in launch.stdin:
                    yield from _is_told(launch, mark, started, ends[0])


def _is_told(launch: Launch, mark: str, started: Placed[CallStarted], ended: Placed[CallEnded]) -> Iterator[Finding]:
    over = [each.index for each in (launch.exited, launch.closed.get("stdin")) if each is not None]
    if min(over, default=ended.index + 1) < ended.index or launch.over_since <= ended.event.at + EPSILON:
        return
    if any(stop.event.at <= ended.event.at + EPSILON for stop in launch.life.stops):
        return
    if any(each.index < ended.index for each in (*launch.sent("SIGTERM"), *launch.sent("SIGKILL"))):
        return
    if not launch.has_read_its_stdin(ended.index):
        return  # what is sent now is queued behind the rest
    sent, record = next(each for each in launch.commands if mark.encode() in each[0].data)
    answered = launch.responses.get(str(record.get("id")))
    what, since = "abort_bash", ended.event.at
    if started.event.what == "run":
        said = said_to(launch, mark)
        if (
            answered is None
            or answered.read_at is None
            or answered.read_at > ended.event.at
            or said is None
            or said.settled
        ):
            return
        what, since = "abort", sent.written_at
    elif answered is not None and answered.read_at is not None and answered.read_at <= ended.event.at + EPSILON:
        return
    told = [line for line, each in launch.commands if each.get("type") == what and line.written_at >= since - EPSILON]
    if not told:
        yield Finding(f"{launch.life.instance} was not told: {what}", started, ended)


@invariant(11)
def shell_commands_take_turns(story: Story) -> Iterator[Finding]:
    """A shell command waits until the one before it is over: Pi can abort only all of them together."""
    sent: dict[int, list[tuple[float, Placed[CallStarted], float]]] = {}
    for number, (started, ends) in story.calls.items():
        if started.event.what != "exec" or not ends:
            continue
        for which, launch in enumerate(story.launches):
            line = _sent(launch, f"<x{number}>") if launch.life.instance == started.event.instance else None
            if line is not None:
                sent.setdefault(which, []).append((line.written_at, started, ends[0].event.at))
    for commands in sent.values():
        for (one_at, one, one_over), (other_at, other, other_over) in combinations(commands, 2):
            if one_at < other_over - EPSILON and other_at < one_over - EPSILON:
                yield Finding("both were under way", one, other)


def _sent(launch: Launch, mark: str) -> Line | None:
    if mark.encode() not in launch.stdin:
        return None
    return next((line for line, _ in launch.commands if mark.encode() in line.data), None)


@invariant(11)
def runs_take_turns(story: Story) -> Iterator[Finding]:
    """A run waits until the one before it is over, and is not refused for it: where all are asked for here."""
    elsewhere: list[Placed[Any]] = [*story.all(SomewhereAsked), *story.all(FarCut)]
    if elsewhere or any(started.event.what == "run over a connection" for started, _ in story.calls.values()):
        return
    for started, ends in story.calls.values():
        if started.event.what == "run" and ends and "already processing" in ends[0].event.detail:
            # Leaving the one before takes so long at most; then it is Pi that is asked.
            left = [
                each
                for other, results in story.calls.values()
                for each in results
                if other.event.instance == started.event.instance
                and each.event.at <= ends[0].event.at
                and each.event.at - other.event.at > _ABORT_SECONDS
                and each.event.outcome != "ok"
            ]
            if not left:
                yield Finding("it did not wait for its turn", started, ends[0])


@invariant(23)
def who_is_given_is_a_member(story: Story) -> Iterator[Finding]:
    """Whoever is given an instance finds it in the registry, too, and as it is."""
    for started, ends in story.calls.values():
        if started.event.what != "spawn" or not ends or ends[0].event.outcome != "ok":
            continue
        mine = [each for each in story.published if each.event.instance == started.event.instance]
        ready = [each for each in mine if isinstance(each.event.event, Ready) and each.index < ends[0].index]
        known = [each.event for each in story.numbered if each.index < ends[0].index]
        if ready and not any(each is ready[0].event.event for each in known):
            yield Finding("the registry did not know that it was ready", started, ready[0], ends[0])
