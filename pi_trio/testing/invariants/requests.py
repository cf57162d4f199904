"""What becomes of requests."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import orjson

from ... import errors
from ...lifecycle import StopManner
from ..trace import CallEnded, PipeClosed, PipeWritten, RequestEnded, RequestStarted
from .invariant import Finding, invariant
from .launch import Launch, Line
from .placed import EPSILON, Placed
from .story import Story

__all__ = [
    "calls_end",
    "errors_are_ours",
    "errors_say_what_happened",
    "one_outcome_each",
    "outcome_before_exited",
    "responses_are_their_own",
    "runs_end_with_their_process",
    "timeouts_are_kept",
    "what_is_sent_gets_through",
    "what_is_sent_is_whole",
]

_TAIL_BYTES = 64 * 1024
_OURS = frozenset(name for name in errors.__all__ if issubclass(getattr(errors, name), errors.PiTrioError))
# A run that is left early looks so often whether Pi is idle: it may find out a little late that there is none any more.
_RUN_SECONDS = 0.02
# A writer is woken some time after there is room.
_TURN_SECONDS = 0.05


@invariant(11)
def one_outcome_each(story: Story) -> Iterator[Finding]:
    """Every request gets exactly one outcome, and gets it before the runtime's scope exits."""
    over = story.scope_exits.get("runtime")
    for started, ends in story.requests.values():
        if len(ends) != 1:
            yield Finding(f"request {started.event.request} had {len(ends)} outcomes", started, *ends)
        elif over is not None and ends[0].event.at > over.event.at + story.slack:
            yield Finding(f"request {started.event.request} was left pending", started, over, ends[0])


@invariant(11)
def calls_end(story: Story) -> Iterator[Finding]:
    """Every other call of the runtime returns or raises, once, before the runtime's scope exits."""
    over = story.scope_exits.get("runtime")
    for started, ends in story.calls.values():
        if len(ends) != 1:
            yield Finding(f"{started.event.what} had {len(ends)} outcomes", started, *ends)
        elif over is not None and ends[0].event.at > over.event.at + _RUN_SECONDS + EPSILON:
            yield Finding(f"{started.event.what} did not return in time", started, over, ends[0])


@invariant(11)
def timeouts_are_kept(story: Story) -> Iterator[Finding]:
    """A request with a time-out ends in time, and times out neither before that nor without one."""
    for started, ends in story.requests.values():
        timeout = started.event.timeout
        for end in ends:
            waited = end.event.at - started.event.at
            if timeout is not None and waited > timeout + story.slack:
                yield Finding(f"a time-out of {timeout:g} s took {waited:g} s", started, end)
            if end.event.outcome == "RequestTimeout" and (timeout is None or waited < timeout - EPSILON):
                yield Finding(f"timed out after {waited:g} s, not {timeout} s", started, end)


@invariant(12)
def outcome_before_exited(story: Story) -> Iterator[Finding]:
    """Every request of an incarnation has its outcome no later than ``exited``; and when the instance is told to stop,
    the requests in flight fail first.
    """
    for started, ends in story.requests.values():
        launch = story.marks.get(started.event.mark)
        if launch is None:
            continue
        exited = launch.life.exits.get(launch.incarnation)
        stopping = next((each for each in launch.life.states if each.event.state.value == "stopping"), None)
        for gone in (exited, stopping):
            if gone is None or gone.index < started.index or gone.event.incarnation != launch.incarnation:
                continue
            if not ends or ends[0].event.at > gone.event.at + story.slack:
                says = (
                    f"request {started.event.request} of {launch.life.instance}/{launch.incarnation} was still pending"
                )
                yield Finding(says, started, gone, *ends)


@invariant(22)
def responses_are_their_own(story: Story) -> Iterator[Finding]:
    """A response goes to the request that it answers, of the same incarnation; and one that was read in time is the
    request's outcome.
    """
    for started, ends in story.requests.values():
        if not ends:
            continue
        line = _response_to(story, started)
        end = ends[0]
        if end.event.outcome in ("ok", "CommandFailed"):
            if line is None or line.read_at is None:
                yield Finding("nothing answered this request", started, end)
            elif line.read_at > end.event.at + EPSILON or _told(line) != (end.event.outcome, end.event.detail):
                yield Finding(f"the answer to this request was {line.data[:200]!r}", started, end)
        elif line is not None and line.read_at is not None and line.read_at < end.event.at - EPSILON:
            yield Finding(f"the answer had been read: {line.data[:200]!r}", started, end)


def _response_to(story: Story, started: Placed[RequestStarted]) -> Line | None:
    launch = story.marks.get(started.event.mark)
    if launch is None:
        return None
    mark = started.event.mark
    for _, command in launch.commands:
        if any(mark in str(value) for value in command.values()):
            return launch.responses.get(str(command.get("id")))
    return None


def _told(line: Line) -> tuple[str, str]:
    """The outcome and detail that this response is."""
    record = line.record or {}
    if record.get("success") is True:
        return "ok", orjson.dumps(record.get("data"), option=orjson.OPT_SORT_KEYS).decode()
    return "CommandFailed", str(record.get("error"))


@invariant(15)
def errors_say_what_happened(story: Story) -> Iterator[Finding]:
    """An error that says that the process is gone has that process's exit status and the end of its stderr; it comes
    only where nobody had asked for the end.
    """
    for started, ends in story.requests.values():
        launch = story.marks.get(started.event.mark)
        for end in ends:
            if end.event.outcome == "ProcessExited" and launch is not None:
                yield from _check_error(launch, end)
            elif end.event.outcome == "ConnectionClosed" and launch is not None:
                exited = launch.life.exits.get(launch.incarnation)
                if exited is not None and not exited.event.requested:
                    yield Finding("its process ended by itself, and that is what the error should say", end, exited)
    yield from _calls_say_what_happened(story)


def _calls_say_what_happened(story: Story) -> Iterator[Finding]:
    for started, results in story.calls.values():
        for result in results:
            if result.event.status is None:
                continue
            if result.event.outcome == "ProcessExited" and started.event.what in ("run", "exec"):
                yield from _check_call(story, started.event.instance, result)
            if result.event.outcome in ("SpawnError", "RestartIntensityExceeded"):
                life = story.life(result.event.about)
                if life is not None and life.launches:
                    yield from _check_error(life.launches[-1], result)


def _check_call(story: Story, instance: str, result: Placed[CallEnded]) -> Iterator[Finding]:
    """Which process it was asked of is not told here: one of the instance's ended like this."""
    launches = [launch for launch in story.launches if launch.life.instance == instance]
    if launches and all(list(_check_error(launch, result)) for launch in launches):
        yield Finding(f"no process of {instance} ended like that", result)


def _check_error(launch: Launch, end: Placed[RequestEnded] | Placed[CallEnded]) -> Iterator[Finding]:
    exited = launch.exited
    if exited is None or end.event.status != exited.event.status:
        yield Finding("the error's exit status is not the process's", exited, end)
    written = launch.bytes_written("stderr")[-_TAIL_BYTES:]
    if end.event.stderr_tail != written:
        yield Finding(
            f"the error's stderr ends with {end.event.stderr_tail[-80:]!r}, not {written[-80:]!r}", exited, end
        )


@invariant(0)
def errors_are_ours(story: Story) -> Iterator[Finding]:
    """What a call raises is of pi-trio's own tree of errors, or of Trio's, or what the caller's own body raised."""
    ends: list[Placed[CallEnded] | Placed[RequestEnded]] = []
    ends += [result for _, results in story.calls.values() for result in results]
    ends += [result for _, results in story.requests.values() for result in results]
    for end in ends:
        if end.event.outcome not in _OURS and end.event.outcome not in ("ok", "cancelled", "BodyRaised"):
            yield Finding(f"{end.event.outcome} is nothing that a caller can expect", end)


@invariant(12)
def runs_end_with_their_process(story: Story) -> Iterator[Finding]:
    """A run ends with the process that it was asked of, and is not fed by the next one."""
    for number, (started, ends) in story.calls.items():
        if started.event.what != "run":
            continue
        for launch in story.launches:
            exited = launch.life.exits.get(launch.incarnation)
            theirs = launch.life.instance == started.event.instance and f"<p{number}>".encode() in launch.stdin
            if not theirs or exited is None or exited.index < started.index:
                continue
            due = exited.event.at + _RUN_SECONDS + EPSILON + story.trace.lateness
            if not ends or ends[0].event.at > due:
                yield Finding(f"run {number} went on without its process", started, exited, *ends[:1])


@invariant(13)
def what_is_sent_is_whole(story: Story) -> Iterator[Finding]:
    """What a Pi is sent is one whole record a line, however little its pipe takes at once."""
    for launch in story.launches:
        *lines, _ = launch.stdin.split(b"\n")
        for line in lines:
            if not line.startswith(b"{") or not _is_json(line):
                says = f"{launch.life.instance}/{launch.incarnation} was sent {line[:100]!r}"
                yield Finding(says, launch.root.spawned)
                break


@invariant(13)
def what_is_sent_gets_through(story: Story) -> Iterator[Finding]:
    """Half a record that a Pi's pipe did not take is sent as soon as there is room; and a polite stop closes stdin
    behind what was sent before, as long as it is being read.
    """
    for launch in story.launches:
        name = f"{launch.life.instance}/{launch.incarnation}"
        closed = launch.closed.get("stdin")
        yield from _stuck(story, launch, name)
        if closed is not None and not launch.stdin.endswith(b"\n") and _reads_on(launch, closed):
            yield Finding(f"{name} was reading a record when its stdin closed", closed)


def _stuck(story: Story, launch: Launch, name: str) -> Iterator[Finding]:
    ends: list[Placed[Any]] = [each for each in (launch.exited, launch.closed.get("stdin")) if each is not None]
    moves: list[Placed[Any]] = [*launch.written["stdin"], *launch.read["stdin"]]
    moves.sort(key=lambda each: each.index)
    half, queued = False, 0
    for each, following in pairwise((*moves, None)):
        assert each is not None
        if isinstance(each.event, PipeWritten):
            queued += len(each.event.data)
            half = not each.event.data.endswith(b"\n")
        else:
            queued -= each.event.size
        if half and not queued:
            nexts = [end.event.at for end in ends if end.index > each.index]
            nexts += [] if following is None else [following.event.at]
            if min(nexts, default=story.end_at) > each.event.at + story.slack + _TURN_SECONDS:
                yield Finding(f"{name} had read half a record, and the rest did not come", each, following)
                return


def _reads_on(launch: Launch, closed: Placed[PipeClosed]) -> bool:
    """Whether its patience was not over, and it read what was left behind the end of its stdin."""
    life = launch.life
    asked = [stop for stop in life.stops if stop.index < closed.index]
    patient = life.spec is not None and bool(asked) and all(s.event.manner is StopManner.POLITE for s in asked)
    if not patient or life.spec is None or closed.event.at > asked[0].event.at + life.spec.drain_timeout - EPSILON:
        return False
    if any(each.index < closed.index for each in (*launch.sent("SIGTERM"), *launch.sent("SIGKILL"))):
        return False
    return any(each.index > closed.index for each in launch.read["stdin"])


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except ValueError:
        return False
    return True
