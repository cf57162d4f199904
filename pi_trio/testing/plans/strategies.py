"""Hypothesis strategies for plans. They take ranges, so that a user's own policies and time-outs can be put through it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs
from hypothesis import strategies as st

from ...launch import InstanceSpec
from ...lifecycle import Backoff, HealthPolicy, RestartPolicy, RestartType
from ...supervisor import Strategy
from .. import faults as f
from ..world import Fault
from .built import built
from .plan import Affliction, Plan
from .steps import (
    Advance,
    Cancel,
    Ending,
    Exec,
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

__all__ = ["endings", "faults", "health_policies", "plans", "restart_policies", "specs", "steps"]

# Few values for each, at the edges and in between: what matters is which of two deadlines comes first.
_SECONDS = (0.0, 0.05, 0.5, 2.0)
_SIGNALS = ("SIGKILL", "SIGTERM", "SIGSTOP", "SIGCONT", "SIGINT", "SIGHUP")
_TARGETS = range(6)
_BOOL = (False, True)


def _cancel_at(checkpoints: int) -> Sequence[int | None]:
    """At one of the first ones, or three times as often not at all. Beyond the 60th, not at each."""
    some = range(1, checkpoints + 1, 1 + checkpoints // 60)
    return (*[None] * (3 * len(some)), *some) if checkpoints else (None,)


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

    def policy(base: float, cap: float, jitter: float, **others: Any) -> RestartPolicy:
        return RestartPolicy(backoff=Backoff(base=base, cap=cap, jitter=jitter), **others)

    return built(
        policy,
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
) -> st.SearchStrategy[HealthPolicy]:
    """Health policies with every action."""
    return built(
        HealthPolicy,
        period=period,
        timeout=timeout,
        slow_after=slow_after,
        misses=misses,
        action=("restart", "stop", "report"),
    )


def specs(
    *,
    start_timeout: Sequence[float] = (1.0, 1.0, 3.0, 0.25),
    drain_timeout: Sequence[float] = _SECONDS,
    grace_timeout: Sequence[float] = _SECONDS,
    request_timeout: Sequence[float] = (0.5, 5.0),
    restart: st.SearchStrategy[RestartPolicy] | None = None,
    health: st.SearchStrategy[HealthPolicy | None] | None = None,
) -> st.SearchStrategy[InstanceSpec]:
    """Specs of instances of the simulated Pi."""
    return st.builds(
        lambda spec, restart, health: spec(restart=restart, health=health),
        built(
            partial(partial, InstanceSpec, cwd="/work", inherit_env=False),
            start_timeout=start_timeout,
            drain_timeout=drain_timeout,
            grace_timeout=grace_timeout,
            request_timeout=request_timeout,
            restart_session=("continue", "fresh"),
        ),
        restart_policies() if restart is None else restart,
        st.one_of(st.none(), health_policies()) if health is None else health,
    )


def steps(*, checkpoints: int = 30, strategies: Sequence[Strategy] = tuple(Strategy)) -> st.SearchStrategy[Step]:
    """Single steps. What is cancelled at a checkpoint is so within the first ``checkpoints``; 0 for nothing at all."""
    seconds = (0.0, 0.001, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0)
    cancel_at = _cancel_at(checkpoints)
    return st.one_of(
        built(Spawn, spec=_TARGETS, wait=_BOOL, cancel_at=cancel_at),
        built(Spawn, spec=_TARGETS, wait=_BOOL),
        built(Spawn, spec=_TARGETS),
        built(Advance, seconds=seconds),
        built(Advance, seconds=seconds),
        built(Kill, target=_TARGETS, signal=_SIGNALS),
        built(Kill, target=_TARGETS),
        built(Stop, target=_TARGETS, force=_BOOL, wait=_BOOL, cancel_at=cancel_at),
        built(
            Prompt,
            target=_TARGETS,
            records=(*[None] * 13, *range(13)),
            tool=_BOOL,
            wait=_BOOL,
            cancel_at=cancel_at,
        ),
        built(
            Request,
            target=_TARGETS,
            command=("get_state", "bash", "get_session_stats", "no_such_command"),
            timeout=(0.0, 0.0005, 0.3, 5.0, None),
            wait=_BOOL,
            cancel_at=cancel_at,
        ),
        built(Exec, target=_TARGETS, seconds=(0.0, 0.2, 5.0), timeout=(None, 0.2, 1.0), cancel_at=cancel_at),
        built(Cancel, call=range(6)),
        st.builds(
            lambda tree, specs: tree(specs=tuple(specs)),
            built(
                partial(partial, OpenTree),
                strategy=strategies,
                intensity=(0, 1, 3),
                period=(1.0, 10.0),
                wait=_BOOL,
                cancel_at=cancel_at,
            ),
            st.lists(st.sampled_from(_TARGETS), min_size=1, max_size=4),
        ),
        built(LeaveTree, tree=range(3), raises=_BOOL),
        built(Subscribe, capacity=(1, 2, 5, 100)),
        built(Stall, subscriber=range(4), seconds=seconds),
        built(Unsubscribe, subscriber=range(4)),
    )


def sequences() -> st.SearchStrategy[tuple[Step, ...]]:
    """Steps that belong together: an instance is hit while it is busy, or again while it comes back."""
    moment = built(Advance, seconds=(0.0, 0.001, 0.01, 0.1, 0.3, 1.0, 3.0))

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
            built(partial(Kill, target), signal=("SIGKILL", "SIGKILL", *_SIGNALS)),
            st.just(Kill(target)),
            built(partial(Stop, target), force=_BOOL),
        )
        return st.one_of(
            st.tuples(busy, moment, blow),
            st.tuples(busy, busy, moment, blow),
            st.tuples(blow, moment, st.one_of(blow, busy)),
            st.tuples(blow, moment, blow, moment, blow, moment),
            st.tuples(busy, blow, moment, busy, blow),
        )

    return st.sampled_from(_TARGETS).flatmap(against)


def faults() -> st.SearchStrategy[Fault]:
    """Single faults, each class of :mod:`pi_trio.testing.faults` among them."""
    seconds = (0.0, 0.05, 0.4, 2.0)
    every = (1, 2, 3)
    how = (0, 1, 143, "SIGKILL", "SIGUSR1")
    return st.one_of(
        built(f.BadSpawn, error=("EAGAIN", "ENOENT", "ENOSPC")),
        built(f.SlowSpawn, seconds=seconds),
        built(f.SlowStart, seconds=seconds),
        st.just(f.HangingStart()),
        built(f.Crash, seconds=seconds, how=how, last_words=("", "Error: out of memory\n", "no end")),
        built(f.CrashAtRecord, record=range(1, 13), how=how, written=(0.0, 0.5, 1.0)),
        st.just(f.HalfRecordAtExit()),
        built(f.SlowDeath, seconds=seconds),
        st.just(f.IgnoredSigterm()),
        st.just(f.IgnoredEnd()),
        built(f.Stopped, seconds=seconds, pause=(None, 0.1, 1.0)),
        built(f.StopsReading, after_bytes=(0, 50, 1000)),
        built(f.Mute, records=range(11)),
        built(partial(f.Flood, period=0.1), stream=("stdout", "stderr"), seconds=seconds),
        built(f.GarbageLines, every=every),
        built(f.SplitWrites, piece_bytes=(1, 7, 100)),
        built(f.DuplicatedResponses, every=every),
        built(f.ResponsesWithoutId, every=every),
        built(f.LostResponses, every=every),
        built(f.LateResponses, seconds=seconds, every=every),
        st.just(f.ResponsesOutOfOrder()),
        built(
            f.Grandchild,
            kind=("child", "setsid", "daemon"),
            holds_stdout=_BOOL,
            seconds=(0.2, 1.0),
            ignores_signals=_BOOL,
        ),
    )


def crash_loops() -> st.SearchStrategy[tuple[Affliction, ...]]:
    """One instance whose processes crash, each some time after its start: most of them are ready by then."""
    crash = built(
        f.Crash,
        seconds=(0.31, 0.63, 0.63, 1.07, 1.07, 4.3),
        how=(0, 1, 1, "SIGKILL"),
        last_words=("Error: out of memory\n", ""),
    )

    def loop(instance: int, crashes: list[Fault]) -> tuple[Affliction, ...]:
        return tuple(Affliction(crash, instance, number) for number, crash in enumerate(crashes, 1))

    return st.builds(loop, st.sampled_from((0, 0, 1)), st.lists(crash, min_size=1, max_size=7))


def endings(*, checkpoints: int = 100) -> st.SearchStrategy[Ending]:
    """Ways to leave the runtime's scope."""
    return built(
        Ending,
        how=("return", "return", "raise", "cancel", "interrupt"),
        settle=(False, False, True),
        cancel_at=_cancel_at(checkpoints),
        impatient_after=(None, None, None, 0.0, 0.01, 0.3),
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
        place = built(partial(partial, Affliction), instance=(0, 0, 1, 2, 3), incarnation=(1, 1, 2, 3))
        single = st.builds(lambda fault, place: place(fault), faults, place)
        afflictions = st.builds(
            lambda some, loop: (*some, *loop),
            st.lists(single, max_size=max_faults),
            st.one_of(st.just(()), crash_loops()),
        )
    spawns = st.lists(built(partial(Spawn, wait=False), spec=_TARGETS), min_size=1, max_size=max_spawns)
    some = st.one_of(steps.map(_alone), sequences)
    others = built(
        partial(partial, Plan),
        pi=("0.87.1", "1.5.2"),
        max_instances=(64, 64, 3),
        max_starting=(4, 1),
        sweeps=(False, True),
    )
    return st.builds(
        lambda plan, **fields: plan(**fields),
        others,
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
    )
