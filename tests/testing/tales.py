"""Traces made by hand: how they should be, to be spoilt by tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import orjson

from pi_trio import InstanceSpec
from pi_trio.abc import ExitStatus
from pi_trio.lifecycle import (
    Backoff,
    Exited,
    Health,
    HealthChanged,
    HealthPolicy,
    InstanceState,
    Ready,
    Registered,
    RestartPolicy,
    RestartScheduled,
    RestartType,
    StateChanged,
    StopManner,
    Unregistered,
)
from pi_trio.registry import Numbered, Snapshot
from pi_trio.testing import trace as t
from pi_trio.testing.trace import Trace, TraceEvent

SPEC = InstanceSpec(
    cwd="/work",
    inherit_env=False,
    drain_timeout=1.0,
    grace_timeout=2.0,
    restart=RestartPolicy(
        type=RestartType.PERMANENT,
        intensity=2,
        period=20.0,
        backoff=Backoff(base=0.5, cap=8.0, jitter=0.0),
        reset_after=5.0,
    ),
    health=HealthPolicy(period=1.0, timeout=0.25, slow_after=0.1, misses=2),
)

KILLED = ExitStatus(signal="SIGKILL")
CLEAN = ExitStatus(code=0)


class Tale:
    """Writes a trace, event by event. Time passes with :meth:`wait`."""

    def __init__(self, spec: InstanceSpec = SPEC) -> None:
        self.spec = spec
        self.now = 0.0
        self.events: list[TraceEvent] = []
        self.pids: dict[str, int] = {}
        self.launches: dict[str, int] = {}
        self.processes = 0
        self.published = 0
        self.calls = 0

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def add(self, event: TraceEvent) -> None:
        self.events.append(event)

    def publish(self, event: object) -> None:
        self.add(t.Published(self.now, event))  # type: ignore[arg-type]
        self.published += 1
        self.add(t.SubscriberItem(self.now, 1, Numbered(self.published, event)))  # type: ignore[arg-type]

    def open(self) -> None:
        self.add(t.Counted(self.now, "before", tasks=3, descriptors=0, threads=1))
        self.add(t.ScopeEntered(self.now, "runtime"))
        self.add(t.Subscribed(self.now, 1, 100))
        self.add(t.SubscriberItem(self.now, 1, Snapshot(0, {})))

    def close(self) -> None:
        self.add(t.Unsubscribed(self.now, 1, "ended"))
        self.add(t.ScopeExited(self.now, "runtime", "returned"))
        self.add(t.Counted(self.now, "after", tasks=3, descriptors=0, threads=1))

    def leave(self) -> None:
        self.add(t.ScopeLeft(self.now, "runtime", "returned"))

    # --- an instance -----------------------------------------------------------------------------------------

    def state(self, name: str, state: InstanceState, reason: str = "") -> None:
        incarnation = self.launches.get(name, 0)
        self.publish(StateChanged(name, self.now, state=state, incarnation=incarnation, reason=reason))
        if state in (InstanceState.STOPPED, InstanceState.FAILED):
            self.publish(Unregistered(name, self.now, str(state)))

    def register(self, name: str, tree: str | None = None) -> None:
        self.add(t.Specified(self.now, name, self.spec, tree))
        self.publish(Registered(name, self.now, cwd="/work"))
        self.state(name, InstanceState.STARTING)

    def spawn(self, name: str) -> None:
        launch = self.launches[name] = self.launches.get(name, 0) + 1
        self.processes += 1
        self.pids[name] = 100 + self.processes
        self.add(t.ResourceAcquired(self.now, "start slot", f"{name}/{launch}", 1))
        self.add(t.ProcessSpawned(self.now, name, launch, self.processes, self.pids[name], None))
        for pipe in ("stdin", "stdout", "stderr"):
            self.add(t.PipeOpened(self.now, name, launch, pipe))

    def ready(self, name: str) -> None:
        self.converse(name, {"id": f"r{self.launches[name]}", "type": "get_state"}, {"sessionId": "s"})
        self.state(name, InstanceState.RUNNING)
        launch = self.launches[name]
        self.publish(Ready(name, self.now, incarnation=launch, pid=self.pids[name], session_id="s", start_seconds=0.25))
        self.add(t.ResourceReleased(self.now, "start slot", f"{name}/{launch}"))

    def converse(self, name: str, command: dict[str, object], data: object, after: float = 0.25) -> None:
        self.tell(name, command)
        self.wait(after)
        self.say(name, {"id": command["id"], "type": "response", "success": True, "data": data})

    def tell(self, name: str, command: dict[str, object]) -> None:
        launch, line = self.launches[name], orjson.dumps(command) + b"\n"
        self.add(t.PipeWritten(self.now, name, launch, "stdin", None, line))
        self.add(t.PipeRead(self.now, name, launch, "stdin", self.processes, len(line)))

    def say(self, name: str, record: dict[str, object], pipe: str = "stdout") -> None:
        launch, line = self.launches[name], orjson.dumps(record) + b"\n"
        self.add(t.PipeWritten(self.now, name, launch, "stdout", self.processes, line))
        self.add(t.PipeRead(self.now, name, launch, "stdout", None, len(line)))
        if record.get("type") != "response":
            text = orjson.dumps(record, option=orjson.OPT_SORT_KEYS).decode()
            self.add(t.RecordsDelivered(self.now, name, (text,)))

    def probe(self, name: str, number: int, after: float | None) -> None:
        """The next probe, and its answer that long after it."""
        command: dict[str, object] = {"id": f"probe{number}", "type": "get_state"}
        if after is None:
            self.tell(name, command)
            self.wait(0.25)
        else:
            self.converse(name, command, {}, after)

    def health(self, name: str, health: Health, latency: float | None = None) -> None:
        launch = self.launches[name]
        self.publish(HealthChanged(name, self.now, incarnation=launch, health=health, latency=latency))

    def signal(self, name: str, signal: str, sender: str = "runtime", fate: str = "acted") -> None:
        self.add(
            t.ProcessSignalled(
                self.now,
                name,
                self.launches[name],
                self.processes,
                self.pids[name],
                signal,
                sender,  # type: ignore[arg-type]
                fate,  # type: ignore[arg-type]
            )
        )

    def exit(self, name: str, status: ExitStatus, *, requested: bool) -> None:
        launch, process, pid = self.launches[name], self.processes, self.pids[name]
        self.add(t.ProcessExited(self.now, name, launch, process, pid, status))
        self.add(t.ProcessReaped(self.now, name, launch, process, pid))
        self.add(t.TreeEmptied(self.now, name, launch))
        for pipe in ("stdin", "stdout", "stderr"):
            self.add(t.PipeClosed(self.now, name, launch, pipe))
        self.publish(Exited(name, self.now, incarnation=launch, status=status, requested=requested))

    def back_off(self, name: str, delay: float, in_a_row: int) -> None:
        self.state(name, InstanceState.BACKING_OFF, f"its process {KILLED}")
        launch = self.launches[name]
        self.publish(RestartScheduled(name, self.now, incarnation=launch, delay=delay, in_a_row=in_a_row))

    def start_again(self, name: str, delay: float) -> None:
        self.wait(delay)
        self.state(name, InstanceState.STARTING)
        self.spawn(name)

    def crash(self, name: str) -> None:
        self.signal(name, "SIGKILL", sender="fault")
        self.exit(name, KILLED, requested=False)

    def stop(self, name: str, manner: StopManner = StopManner.POLITE) -> None:
        self.add(t.StopAsked(self.now, name, manner))
        self.state(name, InstanceState.STOPPING, "was stopped")
        self.add(t.PipeClosed(self.now, name, self.launches[name], "stdin"))
        self.wait(1.0)
        self.signal(name, "SIGTERM", fate="ignored")
        self.signal(name, "SIGCONT")
        self.wait(2.0)
        self.signal(name, "SIGKILL")
        self.exit(name, KILLED, requested=True)
        self.state(name, InstanceState.STOPPED, "was stopped")


def a_life() -> Tale:
    """An instance that starts, answers, dies twice, is started again, and is stopped with all the patience there is."""
    tale = Tale()
    tale.open()
    tale.register("a")
    tale.spawn("a")
    tale.ready("a")
    tale.add(t.RequestStarted(tale.now, 1, "a", "get_state", "<q1>", 5.0))
    tale.tell("a", {"id": "r9", "type": "get_state", "mark": "<q1>"})
    tale.say("a", {"type": "agent_start"})
    tale.wait(0.25)
    tale.say("a", {"id": "r9", "type": "response", "success": True, "data": {"x": 1}})
    tale.add(t.RequestEnded(tale.now, 1, "ok", '{"x":1}'))
    tale.say("a", {"type": "agent_settled"})
    tale.crash("a")
    tale.back_off("a", 0.5, 1)
    tale.start_again("a", 0.5)
    tale.ready("a")
    tale.add(t.RequestStarted(tale.now, 2, "a", "get_state", "<q2>", None))
    tale.tell("a", {"id": "r10", "type": "get_state", "mark": "<q2>"})
    tale.wait(0.125)
    tale.crash("a")
    tale.add(t.RequestEnded(tale.now, 2, "ProcessExited", "", KILLED, b""))
    tale.back_off("a", 1.0, 2)
    tale.start_again("a", 1.0)
    tale.ready("a")
    tale.wait(0.5)
    tale.stop("a")
    tale.leave()
    tale.close()
    return tale


def probed() -> Tale:
    """An instance that is found healthy, then slow, then dead, and is ended for it; then its budget is spent."""
    tale = Tale(attrs.evolve(SPEC, restart=attrs.evolve(SPEC.restart, intensity=0)))
    tale.open()
    tale.register("a")
    tale.spawn("a")
    tale.ready("a")
    for number, (after, health) in enumerate(((0.0625, Health.HEALTHY), (0.125, Health.DEGRADED))):
        tale.wait(1.0)
        tale.probe("a", number, after)
        tale.health("a", health, after)
    for number in (2, 3):
        tale.wait(1.0)
        tale.probe("a", number, None)
    tale.health("a", Health.UNHEALTHY)
    tale.signal("a", "SIGTERM")
    tale.wait(0.0625)
    tale.exit("a", ExitStatus(signal="SIGTERM"), requested=False)
    tale.health("a", Health.UNKNOWN)
    tale.state("a", InstanceState.FAILED, "it is unhealthy")
    tale.leave()
    tale.close()
    return tale


Edit = Callable[[list[TraceEvent]], list[TraceEvent]]


def told(tale: Tale, *edits: Edit) -> Trace:
    """The trace, spoilt."""
    events = list(tale.events)
    for edit in edits:
        before = list(events)
        events = edit(events)
        assert events != before, "this spoils nothing"
    return Trace(tuple(events))


Which = Callable[[TraceEvent], bool]


def is_(kind: type, **fields: object) -> Which:
    """Whether an event is of this class, and has these fields; of one that was published, those of the event."""

    def test(event: TraceEvent) -> bool:
        inner: object = event.event if isinstance(event, t.Published) else event
        return isinstance(inner, kind) and all(getattr(inner, name) == value for name, value in fields.items())

    return test


def _find(events: list[TraceEvent], which: Which, nth: int) -> int:
    return [index for index, event in enumerate(events) if which(event)][nth]


def without(which: Which, nth: int = 0) -> Edit:
    """Leave one out."""

    def edit(events: list[TraceEvent]) -> list[TraceEvent]:
        index = _find(events, which, nth)
        return events[:index] + events[index + 1 :]

    return edit


def twice(which: Which, nth: int = 0) -> Edit:
    """Have one twice."""

    def edit(events: list[TraceEvent]) -> list[TraceEvent]:
        index = _find(events, which, nth)
        return [*events[: index + 1], events[index], *events[index + 1 :]]

    return edit


def moved(which: Which, before: Which, nth: int = 0, before_nth: int = 0) -> Edit:
    """Have one earlier or later: right in front of another."""

    def edit(events: list[TraceEvent]) -> list[TraceEvent]:
        event = events[_find(events, which, nth)]
        place = events[_find(events, before, before_nth)]
        rest = [each for each in events if each is not event]
        index = next(number for number, each in enumerate(rest) if each is place)
        return [*rest[:index], event, *rest[index:]]

    return edit


def changed(which: Which, nth: int = 0, **fields: Any) -> Edit:
    """Have one with other fields; of one that was published, those of the event."""

    def edit(events: list[TraceEvent]) -> list[TraceEvent]:
        index = _find(events, which, nth)
        event = events[index]
        new: TraceEvent
        if isinstance(event, t.Published):
            at = {"at": fields["at"]} if "at" in fields else {}
            new = attrs.evolve(event, event=attrs.evolve(event.event, **fields), **at)
        else:
            new = attrs.evolve(event, **fields)
        return [*events[:index], new, *events[index + 1 :]]

    return edit


def inserted(event: TraceEvent, before: Which, nth: int = 0) -> Edit:
    """Have another."""

    def edit(events: list[TraceEvent]) -> list[TraceEvent]:
        index = _find(events, before, nth)
        return [*events[:index], event, *events[index:]]

    return edit
