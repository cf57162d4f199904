"""What Pi says, and what arrives of it."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from ..trace import LogsRead, RecordsDelivered
from .invariant import Finding, invariant
from .launch import Launch
from .life import Life
from .placed import EPSILON, Placed
from .story import Story

__all__ = ["logs_are_what_was_written", "records_arrive"]

_STREAMS = ("stdout", "stderr")


@invariant(13)
def records_arrive(story: Story) -> Iterator[Finding]:
    """The records delivered are a prefix of those written, in order, byte for byte, and all of them by ``exited``; none
    is delivered after that.
    """
    for life in story.lives:
        if not life.delivered:
            continue
        delivered = [(record, batch) for batch in life.delivered for record in batch.event.records]
        position = 0
        for launch in life.launches:
            expected = _events_of(launch)
            part = delivered[position : position + len(expected)]
            for wanted, (got, batch) in zip(expected, part, strict=False):
                if wanted != got:
                    yield Finding(f"{got[:200]} was delivered where {wanted[:200]} was written", batch)
                    return
            position += len(part)
            yield from _in_time(life, launch, len(expected), part)
        if position < len(delivered):
            yield Finding(f"{delivered[position][0][:200]} was never written", delivered[position][1])


def _in_time(
    life: Life, launch: Launch, written: int, part: list[tuple[str, Placed[RecordsDelivered]]]
) -> Iterator[Finding]:
    exited = life.exits.get(launch.incarnation)
    if exited is None:
        return
    name = f"{life.instance}/{launch.incarnation}"
    if len(part) < written:
        yield Finding(f"{written - len(part)} of the {written} events that {name} wrote never arrived", exited)
    for _, batch in part[-1:]:
        if batch.event.at > exited.event.at + EPSILON:
            yield Finding(f"an event of {name} arrived when it was gone", exited, batch)


def _events_of(launch: Launch) -> list[str]:
    """What readers of events are to get of a launch: all but the responses to requests."""
    events = []
    for line in launch.lines:
        record = line.record
        if record is None:
            if line.data.strip():
                events.append("malformed")
        elif record.get("type") != "response" or record.get("id") is None:
            events.append(orjson.dumps(record, option=orjson.OPT_SORT_KEYS).decode())
    return events


@invariant(13)
def logs_are_what_was_written(story: Story) -> Iterator[Finding]:
    """What the logs keep of a stream is what was written to it, to the last line: all of it, unless that is too much."""
    for logs in story.all(LogsRead):
        life = story.life(logs.event.instance)
        launch = life.launch_of(logs.event.incarnation) if life else None
        if launch is None:
            if logs.event.lines:
                yield Finding("there was no such process", logs)
            continue
        written = launch.bytes_written(logs.event.stream)
        text = [line.removesuffix(b"\r").decode("utf-8", "replace") for line in written.split(b"\n")]
        if not text[-1]:
            text.pop()
        # The oldest may have been forgotten, and the first that is left may be torn.
        kept = logs.event.lines[1:] if len(logs.event.lines) < len(text) else logs.event.lines
        if list(kept) != text[len(text) - len(kept) :]:
            yield Finding(
                f"the logs of {logs.event.stream} are not the end of {len(text)} lines that were written", logs
            )
    if story.all(LogsRead):
        yield from _read_at_all(story)


def _read_at_all(story: Story) -> Iterator[Finding]:
    """Of a process that wrote to a stream there is something in the logs, unless it is too long ago."""
    read = {(each.event.instance, each.event.incarnation, each.event.stream) for each in story.all(LogsRead)}
    for life in story.lives:
        total = sum(len(launch.bytes_written(stream)) for launch in life.launches for stream in _STREAMS)
        if life is not story.life(life.instance) or life.spec is None or total > life.spec.log_bytes // 2:
            continue
        for launch in life.launches:
            for stream in _STREAMS:
                lost = (life.instance, launch.incarnation, stream) not in read
                if lost and launch.bytes_written(stream) and not launch.abandoned:
                    says = f"nothing is kept of what {life.instance}/{launch.incarnation} wrote to {stream}"
                    yield Finding(says, *launch.written[stream][:1])
