"""What becomes of prompts, and of what a Pi says to them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import attrs
import orjson

from ..trace import (
    CallEnded,
    CallStarted,
    Connected,
    LeaseAsked,
    LinkEnded,
    LinkReceived,
    LinkWritten,
    RunHeard,
    SomewhereAsked,
)
from .invariant import Finding, invariant
from .launch import Launch, Line
from .members import Members
from .placed import EPSILON, Placed
from .story import Story

__all__ = [
    "a_prompt_is_begun_once",
    "a_reply_is_what_was_said",
    "runs_outlive_connections",
    "who_refuses_is_not_the_last",
]


@attrs.define(eq=False)
class Said:
    """What a Pi wrote of one run, from the user's message to the end."""

    pieces: list[str] = attrs.field(factory=list)
    answers: list[str] = attrs.field(factory=list)
    """The text of each answer, put together from its pieces."""
    messages: int = 0
    stop_reason: str | None = None
    began_at: float = 0.0
    early: int = 0
    """How many of the messages came before the response to the prompt, which was late then."""
    settled: bool = False
    accepted_too_late: bool = False
    """Whether the response to the prompt came behind its end: nobody can know then that it was its end."""


def said_to(launch: Launch, mark: str) -> Said | None:
    """What this Pi wrote of the run whose prompt has this mark in it; ``None`` when it never began one."""
    said: Said | None = None
    encoded = mark.encode()
    accepted = _response_to(launch, encoded)
    opening: list[Line] = []
    for line in launch.lines:
        if said is None:
            opening = _opening(opening, line)
        if said is None and (encoded not in line.data or b'"message_end"' not in line.data):
            continue  # most of what is written
        record = line.record
        kind = None if record is None else record.get("type")
        if record is None or kind not in ("message_start", "message_update", "message_end", "agent_settled"):
            continue
        if said is None:
            if kind == "message_end" and _role(record) == "user":
                heard = [*opening, line]
                early = sum(_is_before(each, accepted) for each in heard)
                said = Said(messages=len(heard), began_at=line.written_at, early=early)
        elif kind == "agent_settled":
            said.settled, said.accepted_too_late = True, _is_before(line, accepted)
            return said
        else:
            _take(said, record)
            said.early += record["type"] == "message_end" and _is_before(line, accepted)
    return said


def _opening(before: list[Line], line: Line) -> list[Line]:
    """The messages of this run ahead of the user's: a real Pi shows its system prompt in the first run of a session."""
    if b'"agent_start"' in line.data:
        return []
    return [*before, line] if b'"message_end"' in line.data and b'"role":"system"' in line.data else before


def _response_to(launch: Launch, mark: bytes) -> Line | None:
    """The response to the prompt with this mark."""
    ids = [record.get("id") for line, record in launch.commands if mark in line.data]
    return launch.responses.get(str(ids[0])) if ids else None


def _is_before(line: Line, other: Line | None) -> bool:
    return other is not None and line.written_at < other.written_at


def _take(said: Said, record: dict[str, Any]) -> None:
    step = record.get("assistantMessageEvent", {})
    if step.get("type") == "text_delta":
        said.pieces.append(step["delta"])
        said.answers[-1] += step["delta"]
    elif record["type"] == "message_start" and _role(record) == "assistant":
        said.answers.append("")
    elif record["type"] == "message_end":
        said.messages += 1
        said.stop_reason = record["message"].get("stopReason", said.stop_reason)


def _role(record: dict[str, Any]) -> object:
    return record.get("message", {}).get("role")


@invariant(13)
def a_reply_is_what_was_said(story: Story) -> Iterator[Finding]:
    """The reply of a run is what its Pi said to this very prompt: whole, in order, and nothing else; as it is streamed,
    too, but for what was said while a connection was away.
    """
    for heard in story.all(RunHeard):
        launches = [each for each in story.launches if each.life.instance == heard.event.instance]
        found = [said for launch in launches if (said := said_to(launch, heard.event.mark)) is not None]
        if len(found) != 1:
            yield Finding(f"{len(found)} Pis had that prompt", heard)
        elif not found[0].settled:
            yield Finding("its Pi has not come to the end of it", heard)
        elif not found[0].accepted_too_late and not _another_began(launches, heard, found[0]):
            yield from _compare(heard, found[0])


def _another_began(launches: list[Launch], heard: Placed[RunHeard], said: Said) -> bool:
    """Whether somebody else's run began before this was heard of its end. Behind a connection that was away, nothing tells
    them apart: entries know no runs.
    """
    return heard.event.connection is not None and any(
        b'"message_end"' in line.data
        and b'"role":"user"' in line.data
        and said.began_at < line.written_at < heard.event.at
        and heard.event.mark.encode() not in line.data
        for launch in launches
        for line in launch.lines
    )


def _compare(heard: Placed[RunHeard], said: Said) -> Iterator[Finding]:
    text = said.answers[-1] if said.answers else ""
    if heard.event.reply != text:
        yield Finding(f"what was said is {text!r}", heard)
    # A prompt that is sent again, for its connection dropped before, is listened to from its response on.
    early = 0 if heard.event.connection is None else said.early
    missed = said.messages - heard.event.messages
    if missed not in (0, early) or heard.event.stop_reason != said.stop_reason:
        yield Finding(f"there were {said.messages} messages, and it ended with {said.stop_reason!r}", heard)
    pieces = list(heard.event.pieces)
    if heard.event.connection is None:
        if pieces != said.pieces:
            yield Finding(f"what was streamed is {said.pieces!r}", heard)
    elif not _in_order(pieces, said.pieces):
        yield Finding(f"what was streamed is {said.pieces!r}, with gaps or without", heard)


def _in_order(some: list[str], of_all: list[str]) -> bool:
    """Whether these are among all of them, in the same order."""
    rest = iter(of_all)
    return all(each in rest for each in some)


@invariant(11)
def runs_outlive_connections(story: Story) -> Iterator[Finding]:
    """A run that its Pi has begun goes on when the connection it was asked over is another one, as long as that Pi lives:
    it does not fail for it. What is asked for it behind a connection that was away waits no longer for the next one than
    any request does.
    """
    for number, (started, ends) in story.calls.items():
        if started.event.what != "run over a connection" or not ends or ends[0].event.outcome != "ConnectionLost":
            continue
        prompt = next((each for each in story.all(LinkWritten) if f"<p{number}>".encode() in each.event.record), None)
        if prompt is None:
            continue
        received = [each for each in story.all(LinkReceived) if each.event.connection == prompt.event.connection]
        accepted = any(prompt.index < each.index < ends[0].index and _accepts(prompt, each) for each in received)
        connected_again = any(each.index > ends[0].index and b'"greeting"' in each.event.record for each in received)
        waited = _waited_for_another(story, prompt.event.connection, ends[0])
        if accepted and connected_again and not waited and _lived(story, started, ends[0]):
            yield Finding(f"run {number} was lost, and its Pi goes on with it", started, prompt, ends[0])


def _waited_for_another(story: Story, connection: int, ended: Placed[CallEnded]) -> bool:
    """Whether there was no connection for so long until then that requests had given up waiting for it."""
    patience = next(each.event.patience for each in story.all(Connected) if each.event.connection == connection)
    received = [each.index for each in story.all(LinkReceived) if each.event.connection == connection]
    heard = max((index for index in received if index < ended.index), default=0)
    lost = [
        each.event.at
        for each in story.all(LinkEnded)
        if each.event.connection == connection and heard < each.index < ended.index
    ]
    return bool(lost) and ended.event.at - min(lost) >= patience - EPSILON


def _accepts(prompt: Placed[LinkWritten], received: Placed[LinkReceived]) -> bool:
    if b'"response"' not in received.event.record:
        return False
    response = orjson.loads(received.event.record)
    return bool(response.get("id") == orjson.loads(prompt.event.record)["id"] and response.get("success") is True)


def _lived(story: Story, started: Placed[CallStarted], ended: Placed[CallEnded]) -> bool:
    """Whether there was no other Pi until then, and no other session: of one behind a link, a client is not told."""
    launches = [each for each in story.launches if each.life.instance == started.event.instance]
    before = [each for each in launches if each.root.spawned.index < ended.index]
    return len(before) == 1 and before[0].root.lives_at(ended.index) and b'"new_session"' not in before[0].stdin


@invariant(11)
def a_prompt_is_begun_once(story: Story) -> Iterator[Finding]:
    """A prompt that somebody may have begun is sent to nobody else: only one that was refused, or never sent, is."""
    for number, (started, _) in story.calls.items():
        if "run" not in started.event.what:
            continue
        mark = f"<p{number}>".encode()
        written = [each for each in story.all(LinkWritten) if mark in each.event.record]
        for one, other in pairwise(written):
            if not _was_refused(story, one):
                yield Finding("that may have been begun, and was sent again", started, one, other)
        sent = [
            (line.written_at, launch, record)
            for launch in story.launches
            if mark in launch.stdin
            for line, record in launch.commands
            if mark in line.data and record.get("type") == "prompt"
        ]
        sent.sort(key=lambda each: each[0])
        for (_, launch, record), (_, other_launch, _) in pairwise(sent):
            response = launch.responses.get(str(record.get("id")))
            if response is None or (response.record or {}).get("success") is not False:
                says = f"{launch.life.instance} had it, and {other_launch.life.instance} got it, too"
                yield Finding(says, started, launch.root.spawned, other_launch.root.spawned)


def _was_refused(story: Story, prompt: Placed[LinkWritten]) -> bool:
    """Whether it came back that it was not begun."""
    return _came_back(story, prompt) is False


def _came_back(story: Story, prompt: Placed[LinkWritten]) -> bool | None:
    """What came back on the link that it was sent on: that it was taken, or not; or nothing."""
    id_ = orjson.loads(prompt.event.record)["id"]
    for each in story.all(LinkReceived):
        if each.event.connection == prompt.event.connection and each.index > prompt.index:
            response = orjson.loads(each.event.record) if b'"response"' in each.event.record else {}
            if response.get("id") == id_:
                return response.get("success") is not False
    return None


@invariant(0)
def who_refuses_is_not_the_last(story: Story) -> Iterator[Finding]:
    """A prompt that anybody may have, and that one has refused, is given to another who is there."""
    for number, (started, ends) in story.calls.items():
        if started.event.what != "run somewhere" or not ends or ends[0].event.outcome != "CommandFailed":
            continue
        asked = [each for each in story.all(SomewhereAsked) if each.event.call == number]
        members = Members()
        for each in story.numbered:
            if each.index < ends[0].index:
                members.take(each.event)
        mark = f"<p{number}>".encode()
        tried = [each for each in story.all(LinkWritten) if mark in each.event.record]
        tried_here = {launch.life.instance for launch in story.launches if mark in launch.stdin}
        for lease in story.all(LeaseAsked):  # some of them are its own
            if started.index < lease.index < ends[0].index and not lease.event.newcomers:
                tried_here |= lease.event.criteria.exclude
        if not asked or asked[0].event.attempts < _MANY or (tried and _came_back(story, tried[-1]) is True):
            continue  # it was taken, and what failed came behind it
        for name in members:
            criteria = attrs.evolve(asked[0].event.criteria, exclude=asked[0].event.criteria.exclude | tried_here)
            is_other = name not in criteria.exclude and name.removeprefix("far ") not in tried_here
            if is_other and members[name].matches(criteria) and members[name].since < ends[0].event.at - EPSILON:
                yield Finding(f"{name} was there", started, *tried, ends[0])
                break


# More than there are members in any plan.
_MANY = 5
