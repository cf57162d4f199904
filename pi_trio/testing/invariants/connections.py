"""Clients that are connected over links which drop."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import orjson

from ...lifecycle import is_final_close
from ..remotes import RECONNECTION
from ..trace import (
    AskEnded,
    AskStarted,
    Connected,
    ConnectionHeard,
    LinkEnded,
    LinkOpened,
    LinkReceived,
    LinkRefused,
    LinkWritten,
)
from .invariant import Finding, invariant
from .placed import EPSILON, Placed
from .story import Story

__all__ = [
    "connections_are_made_again",
    "gaps_are_marked",
    "nothing_is_asked_twice",
    "what_is_lost_is_told",
    "what_waits_is_limited",
]

# A connection that lasted so long ends the row of attempts.
_LASTED = 30.0
# What waits goes out soon after there is a link.
_SOON = 1.0


def _of(story: Story, connection: int, *kinds: type) -> list[Placed[Any]]:
    """What happened to one connection, in order."""
    events: list[Placed[Any]] = []
    for kind in kinds:
        events += story.all(kind)
    return sorted((each for each in events if each.event.connection == connection), key=lambda each: each.index)


def _asks(story: Story) -> Iterator[tuple[Placed[AskStarted], list[Placed[AskEnded]], list[Placed[LinkWritten]]]]:
    """What was asked, its outcomes, and when it was written."""
    for asked in story.all(AskStarted):
        mark = asked.event.mark.encode()
        ends = [end for end in story.all(AskEnded) if end.event.ask == asked.event.ask]
        yield asked, ends, [each for each in story.all(LinkWritten) if mark in each.event.record]


@invariant(11)
def nothing_is_asked_twice(story: Story) -> Iterator[Finding]:
    """What was sent over a connection is not sent again over the next; and each request has one outcome, in its time."""
    for asked, ends, written in _asks(story):
        if len(written) > 1:
            yield Finding("that was sent twice", asked, *written)
        if len(ends) != 1:
            yield Finding(f"it had {len(ends)} outcomes", asked, *ends)
            continue
        waited, timeout = ends[0].event.at - asked.event.at, asked.event.timeout
        if timeout is not None and waited > timeout + story.slack:
            yield Finding(f"a time-out of {timeout:g} s took {waited:g} s", asked, ends[0])
        if ends[0].event.outcome == "RequestTimeout" and (timeout is None or waited < timeout - EPSILON):
            yield Finding(f"it timed out after {waited:g} s", asked, ends[0])


@invariant(11)
def what_is_lost_is_told(story: Story) -> Iterator[Finding]:
    """A request that was sent, and whose connection drops before it was answered, fails at once with
    ``ConnectionLost(uncertain=True)``; one that was not sent yet is sent over the next one.
    """
    for asked, ends, written in _asks(story):
        if len(ends) != 1 or len(written) > 1:
            continue
        end = ends[0]
        if not written:
            if end.event.uncertain:
                yield Finding("it was never sent", asked, end)
            yield from _was_sent_soon(story, asked, end)
            continue
        over = _end_of_link(story, asked, written[0])
        answer = _answer(story, asked, written[0], over)
        if end.event.outcome == "ok" and (answer is None or answer.index > end.index):
            yield Finding("nobody had answered", asked, written[0], end)
        if end.event.uncertain is False:
            yield Finding("it was sent, and the other side may have got it", asked, written[0], end)
        due = answer or over
        if due is not None and due.index < end.index and end.event.at > due.event.at + story.slack:
            yield Finding("it should have ended then", asked, due, end)
        dropped = due is over and over is not None and over.index < end.index and over.event.code == 1006
        if dropped and end.event.outcome not in ("ConnectionLost", "RequestTimeout", "cancelled"):
            yield Finding("its connection was lost", asked, over, end)


@invariant(11)
def what_waits_is_limited(story: Story) -> Iterator[Finding]:
    """Requests wait for another connection for as long as they may, and so many as may; who may not is told at once."""
    limits = {each.event.connection: each.event for each in story.all(Connected)}
    waits: dict[int, list[tuple[Placed[AskStarted], Placed[Any]]]] = {}
    for asked, ends, written in _asks(story):
        ends_waiting: list[Placed[Any]] = [*written, *ends]
        if ends_waiting:
            waits.setdefault(asked.event.connection, []).append((asked, ends_waiting[0]))
    for connection, rows in waits.items():
        away = _away(story, connection)
        for asked, end in rows:
            since = next((start for start, until in away if start <= asked.index < until), None)
            if since is None:
                continue
            waited, patience = end.event.at - asked.event.at, limits[connection].patience
            if waited > patience + _SOON + story.trace.lateness:
                yield Finding(f"it waited for {waited:g} s", asked, end)
            before = [
                row
                for row in rows  # who is refused did not wait
                if since <= row[0].index < asked.index < row[1].index and row[1].event.at > row[0].event.at + EPSILON
            ]
            if (
                len(before) >= limits[connection].places
                and waited > EPSILON
                and end.event.at > asked.event.at + EPSILON
            ):
                yield Finding(f"{len(before)} waited already", asked, end, *(row[0] for row in before))


def _away(story: Story, connection: int) -> list[tuple[int, float]]:
    """From where to where in the trace there is no link on which Pi has answered, behind the first that there was."""
    links = _links(story, connection)
    return [
        (over.index, following.index if following is not None else float("inf"))
        for (_, over), following in zip_longest(links, [each for each, _ in links[1:]])
        if over is not None
    ]


def _end_of_link(story: Story, asked: Placed[AskStarted], written: Placed[LinkWritten]) -> Placed[Any] | None:
    ends = _of(story, asked.event.connection, LinkEnded)
    return next((each for each in ends if each.index > written.index), None)


def _answer(
    story: Story, asked: Placed[AskStarted], written: Placed[LinkWritten], over: Placed[Any] | None
) -> Placed[Any] | None:
    id_ = orjson.loads(written.event.record)["id"]
    for each in _of(story, asked.event.connection, LinkReceived):
        if each.index < written.index or (over is not None and each.index > over.index):
            continue
        if b'"response"' in each.event.record and orjson.loads(each.event.record).get("id") == id_:
            return each
    return None


def _was_sent_soon(story: Story, asked: Placed[AskStarted], end: Placed[AskEnded]) -> Iterator[Finding]:
    """Nobody waits to be sent while there is a link on which Pi has answered."""
    for greeted, over in _links(story, asked.event.connection):
        since = max(greeted.event.at, asked.event.at)
        until = min(end.event.at, over.event.at if over is not None else story.end_at)
        if until - since > _SOON + story.trace.lateness:
            yield Finding(f"it waited for {until - since:g} s, though there was a link", asked, greeted, end)


def _greets(record: bytes) -> bool:
    """Whether it is Pi's first answer on a link."""
    return b'"greeting"' in record and b'"success":true' in record


def _links(story: Story, connection: int) -> list[tuple[Placed[Any], Placed[Any] | None]]:
    """When Pi answered on each link, and the link's end."""
    links: list[tuple[Placed[Any], Placed[Any] | None]] = []
    greeted: Placed[Any] | None = None
    for each in _of(story, connection, LinkReceived, LinkEnded):
        if isinstance(each.event, LinkReceived):
            if greeted is None and _greets(each.event.record):
                greeted = each
        elif greeted is not None:
            links.append((greeted, each))
            greeted = None
    return [*links, (greeted, None)] if greeted is not None else links


@invariant(23)
def gaps_are_marked(story: Story) -> Iterator[Finding]:
    """A subscriber of a client that was connected again finds a ``Reconnected`` where something may be missing, which
    says for how long there was no link; and everything else that came, in order.
    """
    over = story.scope_exits.get("runtime")
    for connected in story.all(Connected):
        heard = [each for each in story.all(ConnectionHeard) if each.event.connection == connected.event.connection]
        expected = _expected(story, connected.event.connection)
        for (text, away, came), got in zip(expected, heard, strict=False):
            if got.event.record != text:
                yield Finding(f"{(text or 'Reconnected')[:200]} should have come now", came, got)
                return
            if away is not None and abs((got.event.away or 0.0) - away) > story.slack:
                yield Finding(f"there was no link for {away:g} s", came, got)
        if len(heard) > len(expected):
            yield Finding("nothing more came", heard[len(expected)])
        elif len(heard) < len(expected) and over is not None:
            came = expected[len(heard)][2]
            if came.event.at < over.event.at - story.slack - EPSILON:
                yield Finding("nobody was given that", came)


def _expected(story: Story, connection: int) -> list[tuple[str | None, float | None, Placed[Any]]]:
    """What a subscriber is given, with the seconds without a link, and what came in that moment."""
    expected: list[tuple[str | None, float | None, Placed[Any]]] = []
    last: Placed[Any] | None = None
    received = _of(story, connection, LinkReceived)
    opened = _of(story, connection, LinkOpened)
    for greeted, over in _links(story, connection):
        if last is not None:
            expected.append((None, greeted.event.at - last.event.at, greeted))
        since = max(each.index for each in opened if each.index < greeted.index)
        for each in received:
            if since < each.index and (over is None or each.index < over.index):
                record = orjson.loads(each.event.record)
                is_response = record.get("type") == "response" and record.get("id") is not None
                if not is_response and record.get("type") != "extension_ui_request":
                    expected.append((orjson.dumps(record, option=orjson.OPT_SORT_KEYS).decode(), None, each))
        last = over
    return expected


@invariant(18)
def connections_are_made_again(story: Story) -> Iterator[Finding]:
    """A connection that dropped is made again: behind the delay that the row of attempts asks for, so often as the
    policy says, and not at all when the other side is done.
    """
    exited = story.scope_exits.get("runtime")
    for connected in story.all(Connected):
        greeted_at: float | None = None
        row, end = 0, None
        for each in _of(story, connected.event.connection, LinkOpened, LinkRefused, LinkEnded, LinkReceived):
            event = each.event
            if isinstance(event, LinkReceived):
                greeted_at = event.at if _greets(event.record) else greeted_at
                continue
            if isinstance(event, LinkOpened | LinkRefused) and end is not None:
                yield from _is_due(story, connected, end, each, row)
                row += 1
            if isinstance(event, LinkEnded):
                if greeted_at is not None and event.at - greeted_at >= _LASTED - EPSILON:
                    row = 0
                greeted_at = None
            end = None if isinstance(event, LinkOpened) else each
        if end is not None and exited is not None and _goes_on(story, connected, end, row):
            _, high = _delay(row)
            if exited.event.at > end.event.at + high + story.slack + EPSILON:
                yield Finding("nobody connected again", end, exited)


def _delay(row: int) -> tuple[float, float]:
    nominal = min(RECONNECTION.cap, RECONNECTION.base * 2.0**row)
    return nominal * (1 - RECONNECTION.jitter), nominal * (1 + RECONNECTION.jitter)


def _goes_on(story: Story, connected: Placed[Connected], end: Placed[Any], row: int) -> bool:
    """Whether another attempt follows this end of a link, or of an attempt."""
    first = next(iter(_links(story, connected.event.connection)), None)
    if first is None or first[0].index > end.index or row >= connected.event.attempts:
        return False  # the first connection is not made again, if it does not come about
    return not (end.event.final if isinstance(end.event, LinkRefused) else is_final_close(end.event.code))


def _is_due(
    story: Story, connected: Placed[Connected], end: Placed[Any], attempt: Placed[Any], row: int
) -> Iterator[Finding]:
    if not _goes_on(story, connected, end, row):
        yield Finding("there was nothing to come back to", end, attempt)
        return
    low, high = _delay(row)
    waited = attempt.event.at - end.event.at
    if not low - EPSILON <= waited <= high + story.slack:
        yield Finding(f"attempt {row + 1} in a row should be {low:g} to {high:g} s off", end, attempt)
