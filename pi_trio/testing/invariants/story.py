"""A trace, sorted: whose event each one is, and where in the order it stands. What all the predicates look things up in.

A *life* is an instance from its ``Registered`` to the next one of that name (a name may be used again). A *launch* is
one process tree of a life.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, TypeVar

from ...lifecycle import InstanceState, Registered, RegistryEvent, StateChanged, StopManner
from ...supervisor import Strategy
from ..trace import (
    CallEnded,
    CallStarted,
    Folded,
    Interrupted,
    PipeClosed,
    PipeRead,
    PipeWritten,
    ProcessExited,
    ProcessReaped,
    ProcessSignalled,
    ProcessSpawned,
    Published,
    RecordsDelivered,
    RequestEnded,
    RequestStarted,
    ScopeCancelled,
    ScopeEntered,
    ScopeExited,
    ScopeLeft,
    SpawnFailed,
    Specified,
    StopAsked,
    Trace,
    TraceEvent,
    TreeEmptied,
    TreeOpened,
)
from .launch import Launch, Process
from .life import Life
from .placed import EPSILON, Placed

__all__ = ["Story"]

T_co = TypeVar("T_co", covariant=True)


class Story:
    """A trace, sorted."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.lives: list[Life] = []
        self.processes: dict[int, Process] = {}
        self.published: list[Placed[Published]] = []
        self.trees: dict[str, Placed[TreeOpened]] = {}
        self.entered: dict[str, Placed[ScopeEntered]] = {}
        self.left: dict[str, Placed[ScopeLeft]] = {}
        self.cancelled: set[str] = set()
        self.scope_exits: dict[str, Placed[ScopeExited]] = {}
        self.requests: dict[int, tuple[Placed[RequestStarted], list[Placed[RequestEnded]]]] = {}
        self.calls: dict[int, tuple[Placed[CallStarted], list[Placed[CallEnded]]]] = {}
        self.end_at = trace.events[-1].at if trace.events else 0.0
        self._current: dict[str, Life] = {}
        self._launches: dict[tuple[str, int], Launch] = {}
        self._specified: dict[str, Specified] = {}
        self._taken: dict[type, list[Placed[TraceEvent]]] = defaultdict(list)
        for index, event in enumerate(trace.events):
            take = _TAKE.get(type(event))
            if take is not None:
                take(self, index, event)
            else:
                self._taken[type(event)].append(Placed(index, event))

    def all(self, kind: type[T_co]) -> list[Placed[T_co]]:
        """The events of a class that this does not sort further."""
        return self._taken.get(kind, [])  # type: ignore[return-value]

    @property
    def slack(self) -> float:
        """How much later than it should something may be seen, in seconds: next to nothing on virtual time."""
        return EPSILON + self.trace.lateness

    @property
    def launches(self) -> list[Launch]:
        """Every process tree."""
        return [launch for life in self.lives for launch in life.launches]

    def life(self, instance: str) -> Life | None:
        """The last life of that name."""
        return self._current.get(instance)

    @cached_property
    def marks(self) -> dict[str, Launch]:
        """Which launch got the request with this mark."""
        found: dict[str, Launch] = {}
        by_instance: dict[str, list[Launch]] = defaultdict(list)
        for launch in self.launches:
            by_instance[launch.life.instance].append(launch)
        for started, _ in self.requests.values():
            mark = started.event.mark.encode()
            for launch in by_instance[started.event.instance]:
                if mark in launch.stdin:
                    found[started.event.mark] = launch
                    break
        return found

    @cached_property
    def numbered(self) -> list[Placed[RegistryEvent]]:
        """What the registry folded, in the order of its numbers. A trace that does not tell has what was published."""
        if not self.all(Folded):
            return [Placed(each.index, each.event.event) for each in self.published]
        return [Placed(each.index, event) for each in self.all(Folded) for event in each.event.events]

    # --- one event each ------------------------------------------------------------------------------------

    def _take_published(self, index: int, event: Published) -> None:
        self.published.append(Placed(index, event))
        name = event.instance
        if isinstance(event.event, Registered) or name not in self._current:
            specified = self._specified.get(name)
            life = Life(name, index, specified.spec if specified else None, specified.tree if specified else None)
            self.lives.append(life)
            self._current[name] = life
        self._current[name].published.append(Placed(index, event.event))

    def _take_specified(self, _: int, event: Specified) -> None:
        self._specified[event.instance] = event

    def _take_spawned(self, index: int, event: ProcessSpawned) -> None:
        process = Process(Placed(index, event))
        self.processes[event.process] = process
        if event.parent is None:
            life = self._life_of(event.instance, index)
            launch = Launch(life, event.incarnation, _next_incarnation(life), process)
            life.launches.append(launch)
            self._launches[event.instance, event.incarnation] = launch
        self._launches[event.instance, event.incarnation].processes.append(process)

    def _life_of(self, instance: str, index: int) -> Life:
        if instance not in self._current:  # nobody announced it: the predicates will say so
            life = Life(instance, index, None, None)
            self.lives.append(life)
            self._current[instance] = life
        return self._current[instance]

    def _take_spawn_failed(self, index: int, event: SpawnFailed) -> None:
        life = self._life_of(event.instance, index)
        life.failed_spawns.append((_next_incarnation(life), Placed(index, event)))
        if (event.instance, event.incarnation) in self._launches:
            self._launches[event.instance, event.incarnation].abandoned = True

    def _take_exited(self, index: int, event: ProcessExited) -> None:
        self.processes[event.process].exited = Placed(index, event)

    def _take_reaped(self, index: int, event: ProcessReaped) -> None:
        self.processes[event.process].reaped.append(Placed(index, event))

    def _take_emptied(self, index: int, event: TreeEmptied) -> None:
        self._launches[event.instance, event.incarnation].emptied = Placed(index, event)

    def _take_signalled(self, index: int, event: ProcessSignalled) -> None:
        self._launches[event.instance, event.incarnation].signals.append(Placed(index, event))

    def _take_written(self, index: int, event: PipeWritten) -> None:
        self._launches[event.instance, event.incarnation].written[event.pipe].append(Placed(index, event))

    def _take_read(self, index: int, event: PipeRead) -> None:
        self._launches[event.instance, event.incarnation].read[event.pipe].append(Placed(index, event))

    def _take_closed(self, index: int, event: PipeClosed) -> None:
        self._launches[event.instance, event.incarnation].closed.setdefault(event.pipe, Placed(index, event))

    def _take_stop(self, index: int, event: StopAsked) -> None:
        if event.instance in self._current:
            self._current[event.instance].stops.append(Placed(index, event))

    def _take_left(self, index: int, event: ScopeLeft) -> None:
        self.left[event.scope] = Placed(index, event)
        if event.scope == "runtime":
            manner = StopManner.POLITE if event.how == "returned" else StopManner.PROMPT
            self._ask(self._current, index, event.at, manner)
        elif event.scope in self.trees and self.trees[event.scope].event.strategy is Strategy.ONE_FOR_ONE:
            # With the other strategies each child is asked when the one behind it is gone.
            manner = StopManner.POLITE if event.how == "returned" else StopManner.PROMPT
            self._ask(self.trees[event.scope].event.children, index, event.at, manner)

    def _take_interrupted(self, index: int, event: Interrupted) -> None:
        self._taken[Interrupted].append(Placed(index, event))
        if event.count in (2, 3):
            self._ask(self._current, index, event.at, StopManner.HASTY if event.count == 2 else StopManner.FORCE)

    def _take_cancelled(self, index: int, event: ScopeCancelled) -> None:
        self.cancelled.add(event.scope)
        if event.scope == "runtime":
            self._ask(self._current, index, event.at, StopManner.PROMPT)

    def _ask(self, instances: Iterable[str], index: int, at: float, manner: StopManner) -> None:
        for name in instances:
            if name in self._current:
                self._current[name].stops.append(Placed(index, StopAsked(at, name, manner)))

    def _take_delivered(self, index: int, event: RecordsDelivered) -> None:
        if event.instance in self._current:
            self._current[event.instance].delivered.append(Placed(index, event))

    def _take_request(self, index: int, event: RequestStarted) -> None:
        self.requests[event.request] = (Placed(index, event), [])

    def _take_request_end(self, index: int, event: RequestEnded) -> None:
        self.requests[event.request][1].append(Placed(index, event))

    def _take_call(self, index: int, event: CallStarted) -> None:
        self.calls[event.call] = (Placed(index, event), [])

    def _take_call_end(self, index: int, event: CallEnded) -> None:
        self.calls[event.call][1].append(Placed(index, event))

    def _take_tree(self, index: int, event: TreeOpened) -> None:
        self.trees[event.scope] = Placed(index, event)

    def _take_entered(self, index: int, event: ScopeEntered) -> None:
        self.entered[event.scope] = Placed(index, event)

    def _take_scope_exit(self, index: int, event: ScopeExited) -> None:
        self.scope_exits[event.scope] = Placed(index, event)


def _next_incarnation(life: Life) -> int:
    """The runtime's number of a process that is being started now: it publishes how many there were before."""
    for each in reversed(life.published):
        if isinstance(each.event, StateChanged):
            return each.event.incarnation + (each.event.state is InstanceState.STARTING)
    return len(life.launches) + 1


# Looked up by class: an `isinstance` for each of twenty classes would be most of the time of a check.
_TAKE: dict[type, Callable[[Story, int, Any], None]] = {
    CallEnded: Story._take_call_end,
    CallStarted: Story._take_call,
    Interrupted: Story._take_interrupted,
    PipeClosed: Story._take_closed,
    PipeRead: Story._take_read,
    PipeWritten: Story._take_written,
    ProcessExited: Story._take_exited,
    ProcessReaped: Story._take_reaped,
    ProcessSignalled: Story._take_signalled,
    ProcessSpawned: Story._take_spawned,
    Published: Story._take_published,
    RecordsDelivered: Story._take_delivered,
    RequestEnded: Story._take_request_end,
    RequestStarted: Story._take_request,
    ScopeCancelled: Story._take_cancelled,
    ScopeEntered: Story._take_entered,
    ScopeExited: Story._take_scope_exit,
    ScopeLeft: Story._take_left,
    SpawnFailed: Story._take_spawn_failed,
    Specified: Story._take_specified,
    StopAsked: Story._take_stop,
    TreeEmptied: Story._take_emptied,
    TreeOpened: Story._take_tree,
}
