"""Hypothesis strategies for plans. They take ranges, so that a user's own policies and time-outs can be put through it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs
from hypothesis import strategies as st

from ...launch import InstanceSpec
from ...lifecycle import Backoff, HealthPolicy, RestartPolicy, RestartType
from ...registry import CapabilityMatch, Criteria, LeastLoaded, PowerOfTwoChoices, Random, RoundRobin, Sticky
from ...registry import Strategy as Selecting
from ...supervisor import Strategy
from .. import faults as f
from ..world import Fault
from .plan import Affliction, Plan
from .steps import (
    Acquire,
    Advance,
    Cancel,
    Ending,
    Exec,
    Interrupt,
    Kill,
    LeaveTree,
    OpenTree,
    Prompt,
    Request,
    Spawn,
    Stall,
    Step,
    Stop,
    Subscribe,
    Unsubscribe,
)

__all__ = [
    "acquisitions",
    "drops",
    "endings",
    "faults",
    "health_policies",
    "plans",
    "restart_policies",
    "specs",
    "steps",
]

_T = TypeVar("_T")

# Few values for each, at the edges and in between: what matters is which of two deadlines comes first.
_SECONDS = (0.0, 0.05, 0.5, 2.0)
_SIGNALS = ("SIGKILL", "SIGTERM", "SIGSTOP", "SIGCONT", "SIGINT", "SIGHUP")
_TARGETS = st.integers(0, 5)
_BOOL = st.booleans()


def combinations(make: Callable[..., _T], **values: Sequence[Any]) -> st.SearchStrategy[_T]:
    """What ``make`` makes of one of each of these values. It is one draw, as each takes longer than a turn of Trio."""
    numbers = range(math.prod(map(len, values.values())))

    def combine(number: int) -> _T:
        chosen = {}
        for name, some in values.items():
            number, which = divmod(number, len(some))
            chosen[name] = some[which]
        return make(**chosen)

    return st.sampled_from(numbers).map(combine)


def _cancel_at(checkpoints: int) -> st.SearchStrategy[int | None]:
    return st.one_of(st.none(), st.none(), st.none(), st.integers(1, checkpoints)) if checkpoints else st.none()


def restart_policies(
    *,
    types: Sequence[RestartType] = (RestartType.PERMANENT, RestartType.TRANSIENT, *RestartType),
    intensity: Sequence[int] = (0, 1, 2, 5, 5),
    period: Sequence[float] = (1.0, 5.0, 30.0),
    base: Sequence[float] = (0.0, 0.1, 1.0),
    cap: Sequence[float] = (0.15, 2.0),
    jitter: Sequence[float] = (0.0, 0.2, 1.0),
    reset_after: Sequence[float] = (0.0, 0.5, 3.0),
) -> st.SearchStrategy[RestartPolicy]:
    """Restart policies, each value from the ones that are given."""

    def make(base: float, cap: float, jitter: float, **others: Any) -> RestartPolicy:
        return RestartPolicy(backoff=Backoff(base=base, cap=cap, jitter=jitter), **others)

    return combinations(
        make,
        type=types,
        intensity=intensity,
        period=period,
        base=base,
        cap=cap,
        jitter=jitter,
        reset_after=reset_after,
    )


def health_policies(
    *,
    period: Sequence[float] = (0.5, 2.0),
    timeout: Sequence[float] = (0.1, 1.0),
    slow_after: Sequence[float] = (0.0005, 0.05),
    misses: Sequence[int] = (1, 2, 3),
    actions: Sequence[str] = ("restart", "stop", "report"),
) -> st.SearchStrategy[HealthPolicy]:
    """Health policies, each value from the ones that are given."""
    return combinations(
        HealthPolicy, period=period, timeout=timeout, slow_after=slow_after, misses=misses, action=actions
    )


def specs(
    *,
    start_timeout: Sequence[float] = (1.0, 1.0, 3.0, 0.25),
    drain_timeout: Sequence[float] = _SECONDS,
    grace_timeout: Sequence[float] = _SECONDS,
    request_timeout: Sequence[float] = (0.5, 5.0),
    restart: st.SearchStrategy[RestartPolicy] | None = None,
    health: st.SearchStrategy[HealthPolicy | None] | None = None,
    max_concurrent: Sequence[int] = (1, 2),
    region: Sequence[str | None] = (None,),
) -> st.SearchStrategy[InstanceSpec]:
    """Specs of instances of the simulated Pi."""
    own: st.SearchStrategy[dict[str, Any]] = combinations(
        dict,
        start_timeout=start_timeout,
        drain_timeout=drain_timeout,
        grace_timeout=grace_timeout,
        request_timeout=request_timeout,
        restart_session=("continue", "fresh"),
        max_concurrent=max_concurrent,
        region=region,
    )

    def make(own: dict[str, Any], restart: RestartPolicy, health: HealthPolicy | None) -> InstanceSpec:
        return InstanceSpec(cwd="/work", inherit_env=False, restart=restart, health=health, **own)

    return st.builds(
        make,
        own,
        restart_policies() if restart is None else restart,
        st.one_of(st.none(), health_policies()) if health is None else health,
    )


def acquisitions(
    *,
    uses: Sequence[str] = ("hold", "hold", "prompt", "raise", "break", "blame"),
    timeout: Sequence[float | None] = (None, None, 0.0, 0.3, 5.0),
    seconds: Sequence[float] = (0.0, 0.1, 1.0, 5.0),
    checkpoints: int = 10,
) -> st.SearchStrategy[Acquire]:
    """Leases that are asked for by criteria."""
    criteria = st.builds(
        Criteria,
        region=st.sampled_from((None, None, None, "north")),
        exclude=st.sampled_from((frozenset(), frozenset(), frozenset(("i0",)), frozenset(("i1",)))),
        min_free=st.sampled_from((1, 1, 2)),
    )
    selecting: st.SearchStrategy[Selecting] = st.sampled_from(
        (LeastLoaded(), RoundRobin(), Random(1), PowerOfTwoChoices(2), Sticky("a"), CapabilityMatch())
    )
    return st.builds(
        Acquire,
        criteria=st.one_of(st.just(Criteria()), criteria),
        strategy=selecting,
        timeout=st.sampled_from(timeout),
        seconds=st.sampled_from(seconds),
        use=st.sampled_from(uses),
        cancel_at=_cancel_at(checkpoints),
    )


def steps(*, checkpoints: int = 30, strategies: Sequence[Strategy] = tuple(Strategy)) -> st.SearchStrategy[Step]:
    """Single steps. What is cancelled at a checkpoint is so within the first ``checkpoints``; 0 for nothing at all."""
    seconds = st.sampled_from((0.0, 0.001, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0))
    cancel_at = _cancel_at(checkpoints)
    return st.one_of(
        st.builds(Spawn, spec=_TARGETS, wait=_BOOL, cancel_at=cancel_at),
        st.builds(Spawn, spec=_TARGETS, wait=_BOOL),
        st.builds(Spawn, spec=_TARGETS),
        st.builds(Advance, seconds=seconds),
        st.builds(Advance, seconds=seconds),
        st.builds(Kill, target=_TARGETS, signal=st.sampled_from(_SIGNALS)),
        st.builds(Kill, target=_TARGETS),
        st.builds(Stop, target=_TARGETS, force=_BOOL, wait=_BOOL, cancel_at=cancel_at),
        st.builds(
            Prompt,
            target=_TARGETS,
            records=st.one_of(st.none(), st.integers(0, 12)),
            tool=_BOOL,
            wait=_BOOL,
            cancel_at=cancel_at,
        ),
        st.builds(
            Request,
            target=_TARGETS,
            command=st.sampled_from(("get_state", "bash", "get_session_stats", "no_such_command")),
            timeout=st.sampled_from((0.0, 0.0005, 0.3, 5.0, None)),
            wait=_BOOL,
            cancel_at=cancel_at,
        ),
        st.builds(
            Exec,
            target=_TARGETS,
            seconds=st.sampled_from((0.0, 0.2, 5.0)),
            timeout=st.sampled_from((None, 0.2, 1.0)),
            cancel_at=cancel_at,
        ),
        st.builds(Cancel, call=st.integers(0, 5)),
        st.builds(Interrupt),
        acquisitions(checkpoints=checkpoints),
        st.builds(
            OpenTree,
            specs=st.lists(_TARGETS, min_size=1, max_size=4).map(tuple),
            strategy=st.sampled_from(strategies),
            intensity=st.sampled_from((0, 1, 3)),
            period=st.sampled_from((1.0, 10.0)),
            wait=_BOOL,
            cancel_at=cancel_at,
        ),
        st.builds(LeaveTree, tree=st.integers(0, 2), raises=_BOOL),
        st.builds(Subscribe, capacity=st.sampled_from((1, 2, 5, 100))),
        st.builds(Stall, subscriber=st.integers(0, 3), seconds=seconds),
        st.builds(Unsubscribe, subscriber=st.integers(0, 3)),
    )


def sequences() -> st.SearchStrategy[tuple[Step, ...]]:
    """Steps that belong together: an instance is hit while it is busy, or again while it comes back."""
    moment = st.builds(Advance, seconds=st.sampled_from((0.0, 0.001, 0.01, 0.1, 0.3, 1.0, 3.0)))

    def against(target: int) -> st.SearchStrategy[tuple[Step, ...]]:
        busy: st.SearchStrategy[Step] = st.sampled_from(
            (
                Exec(target=target, seconds=5.0),
                Request(target=target, timeout=5.0),
                Request(target=target, command="bash", timeout=None),
                Prompt(target=target, tool=True),
            )
        )
        blow: st.SearchStrategy[Step] = st.one_of(
            st.builds(Kill, target=st.just(target), signal=st.sampled_from(("SIGKILL", "SIGKILL", *_SIGNALS))),
            st.builds(Kill, target=st.just(target)),
            st.builds(Stop, target=st.just(target), force=_BOOL),
        )
        return st.one_of(
            st.tuples(busy, moment, blow),
            st.tuples(busy, busy, moment, blow),
            st.tuples(blow, moment, st.one_of(blow, busy)),
            st.tuples(blow, moment, blow, moment, blow, moment),
            st.tuples(busy, blow, moment, busy, blow),
        )

    return st.one_of([against(target) for target in range(6)])  # each made once: to make one takes longer than to draw


def faults() -> st.SearchStrategy[Fault]:
    """Single faults of processes, each class of :mod:`pi_trio.testing.faults` among them. Those of connections: :func:`drops`."""
    seconds = st.sampled_from((0.0, 0.05, 0.4, 2.0))
    every = st.sampled_from((1, 2, 3))
    how = st.sampled_from((0, 1, 143, "SIGKILL", "SIGUSR1"))
    return st.one_of(
        st.builds(f.BadSpawn, error=st.sampled_from(("EAGAIN", "ENOENT", "ENOSPC"))),
        st.builds(f.SlowSpawn, seconds=seconds),
        st.builds(f.SlowStart, seconds=seconds),
        st.builds(f.HangingStart),
        st.builds(
            f.Crash, seconds=seconds, how=how, last_words=st.sampled_from(("", "Error: out of memory\n", "no end"))
        ),
        st.builds(f.CrashAtRecord, record=st.integers(1, 12), how=how, written=st.sampled_from((0.0, 0.5, 1.0))),
        st.builds(f.HalfRecordAtExit),
        st.builds(f.SlowDeath, seconds=seconds),
        st.builds(f.IgnoredSigterm),
        st.builds(f.IgnoredEnd),
        st.builds(f.Stopped, seconds=seconds, pause=st.sampled_from((None, 0.1, 1.0))),
        st.builds(f.StopsReading, after_bytes=st.sampled_from((0, 50, 1000))),
        st.builds(f.Mute, records=st.integers(0, 10)),
        st.builds(f.Flood, stream=st.sampled_from(("stdout", "stderr")), seconds=seconds, period=st.just(0.1)),
        st.builds(f.GarbageLines, every=every),
        st.builds(f.SplitWrites, piece_bytes=st.sampled_from((1, 7, 100))),
        st.builds(f.DuplicatedResponses, every=every),
        st.builds(f.ResponsesWithoutId, every=every),
        st.builds(f.LostResponses, every=every),
        st.builds(f.LateResponses, seconds=seconds, every=every),
        st.builds(f.ResponsesOutOfOrder),
        st.builds(
            f.Grandchild,
            kind=st.sampled_from(("child", "setsid", "daemon")),
            holds_stdout=_BOOL,
            seconds=st.sampled_from((0.2, 1.0)),
            ignores_signals=_BOOL,
        ),
    )


def drops() -> st.SearchStrategy[Fault]:
    """Faults of connections."""
    way = st.sampled_from(("out", "back"))
    return st.one_of(
        st.builds(f.DropAtRecord, record=st.sampled_from((2, 3, 5, 9, 1)), way=way, half=_BOOL),
        st.builds(f.DropAfterBytes, size=st.sampled_from((150, 300, 1000, 3000)), way=way),
    )


def crash_loops() -> st.SearchStrategy[tuple[Affliction, ...]]:
    """One instance whose processes crash, each some time after its start: most of them are ready by then."""
    crash = st.builds(
        f.Crash,
        seconds=st.sampled_from((0.31, 0.63, 0.63, 1.07, 1.07, 4.3)),
        how=st.sampled_from((0, 1, 1, "SIGKILL")),
        last_words=st.sampled_from(("Error: out of memory\n", "")),
    )

    def loop(instance: int, crashes: list[Fault]) -> tuple[Affliction, ...]:
        return tuple(Affliction(crash, instance, number) for number, crash in enumerate(crashes, 1))

    return st.builds(loop, st.sampled_from((0, 0, 1)), st.lists(crash, min_size=1, max_size=7))


def endings(*, checkpoints: int = 100) -> st.SearchStrategy[Ending]:
    """Ways to leave the runtime's scope."""
    return st.builds(
        Ending,
        how=st.sampled_from(("return", "return", "raise", "cancel", "interrupt")),
        settle=st.sampled_from((False, False, True)),
        cancel_at=_cancel_at(checkpoints),
        impatient_after=st.sampled_from((None, None, None, 0.0, 0.01, 0.3)),
        interrupts=st.sampled_from(((), (), (), (0.0, 0.01, 0.3))),
    )


def _alone(step: Step) -> tuple[Step, ...]:
    return (step,)


def _together(spawns: list[Spawn], following: list[tuple[Step, ...]], rest: float) -> tuple[Step, ...]:
    """All are asked for at once, and the last is waited for; in the end there is some time for what was begun."""
    behind = [step for steps in following for step in steps]
    last = [attrs.evolve(spawn, wait=True) for spawn in spawns[-1:]]
    return (*spawns[:-1], *last, *behind, *([Advance(rest)] if rest else []))


def plans(
    *,
    specs: st.SearchStrategy[InstanceSpec] = specs(),  # noqa: B008 - a strategy is a value
    steps: st.SearchStrategy[Step] = steps(),  # noqa: B008
    sequences: st.SearchStrategy[tuple[Step, ...]] = sequences(),  # noqa: B008
    endings: st.SearchStrategy[Ending] = endings(),  # noqa: B008
    faults: st.SearchStrategy[Fault] | None = faults(),  # noqa: B008
    max_spawns: int = 6,
    max_steps: int = 10,
    max_faults: int = 4,
) -> st.SearchStrategy[Plan]:
    """Whole plans: a few instances at once, at most ``max_steps`` steps, and faults among the first incarnations."""
    afflictions: st.SearchStrategy[tuple[Affliction, ...]] = st.just(())
    if faults is not None:
        single = st.builds(
            Affliction,
            fault=faults,
            instance=st.sampled_from((0, 0, 1, 2, 3)),
            incarnation=st.sampled_from((1, 1, 2, 3)),
        )
        afflictions = st.builds(
            lambda some, loop: (*some, *loop),
            st.lists(single, max_size=max_faults),
            st.one_of(st.just(()), crash_loops()),
        )
    spawns = st.lists(st.builds(Spawn, spec=_TARGETS, wait=st.just(False)), min_size=1, max_size=max_spawns)
    some = st.one_of(steps.map(_alone), sequences)
    return st.builds(
        Plan,
        seed=st.integers(0, 2**32 - 1),
        specs=st.lists(specs, min_size=1, max_size=3).map(tuple),
        afflictions=afflictions,
        steps=st.builds(
            _together,
            spawns,
            st.one_of(st.lists(some, max_size=1), st.lists(some, min_size=min(2, max_steps), max_size=max_steps)),
            st.sampled_from((0.0, 0.3, 3.0, 10.0)),
        ),
        ending=endings,
        pi=st.sampled_from(("0.87.1", "1.5.2")),
        max_instances=st.sampled_from((64, 64, 3)),
        max_starting=st.sampled_from((4, 1)),
        sweeps=st.booleans(),
    )
