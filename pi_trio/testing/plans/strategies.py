"""Hypothesis strategies for plans. They take ranges, so that a user's own policies and time-outs can be put through it."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from ...launch import InstanceSpec
from ...lifecycle import Backoff, HealthPolicy, RestartPolicy, RestartType
from ...supervisor import Strategy
from ..world import Fault
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

__all__ = ["endings", "health_policies", "plans", "restart_policies", "specs", "steps"]

# Few values for each, at the edges and in between: what matters is which of two deadlines comes first.
_SECONDS = (0.0, 0.05, 0.5, 2.0)
_SIGNALS = ("SIGKILL", "SIGTERM", "SIGSTOP", "SIGCONT", "SIGINT", "SIGHUP")
_TARGETS = st.integers(0, 5)
_BOOL = st.booleans()


def _cancel_at(checkpoints: int) -> st.SearchStrategy[int | None]:
    return st.one_of(st.none(), st.none(), st.none(), st.integers(1, checkpoints)) if checkpoints else st.none()


def restart_policies(
    *,
    types: Sequence[RestartType] = tuple(RestartType),
    intensity: Sequence[int] = (0, 1, 2, 5),
    period: Sequence[float] = (1.0, 5.0, 30.0),
    base: Sequence[float] = (0.0, 0.1, 1.0),
    cap: Sequence[float] = (0.15, 2.0),
    jitter: Sequence[float] = (0.0, 0.2, 1.0),
    reset_after: Sequence[float] = (0.0, 0.5, 3.0),
) -> st.SearchStrategy[RestartPolicy]:
    """Restart policies, each value from the ones that are given."""
    return st.builds(
        RestartPolicy,
        type=st.sampled_from(types),
        intensity=st.sampled_from(intensity),
        period=st.sampled_from(period),
        backoff=st.builds(
            Backoff, base=st.sampled_from(base), cap=st.sampled_from(cap), jitter=st.sampled_from(jitter)
        ),
        reset_after=st.sampled_from(reset_after),
    )


def health_policies(
    *,
    period: Sequence[float] = (0.5, 2.0),
    timeout: Sequence[float] = (0.1, 1.0),
    slow_after: Sequence[float] = (0.0005, 0.05),
    misses: Sequence[int] = (1, 2, 3),
) -> st.SearchStrategy[HealthPolicy]:
    """Health policies with every action."""
    return st.builds(
        HealthPolicy,
        period=st.sampled_from(period),
        timeout=st.sampled_from(timeout),
        slow_after=st.sampled_from(slow_after),
        misses=st.sampled_from(misses),
        action=st.sampled_from(("restart", "stop", "report")),
    )


def specs(
    *,
    start_timeout: Sequence[float] = (0.2, 1.0, 3.0),
    drain_timeout: Sequence[float] = _SECONDS,
    grace_timeout: Sequence[float] = _SECONDS,
    request_timeout: Sequence[float] = (0.5, 5.0),
    restart: st.SearchStrategy[RestartPolicy] | None = None,
    health: st.SearchStrategy[HealthPolicy | None] | None = None,
) -> st.SearchStrategy[InstanceSpec]:
    """Specs of instances of the simulated Pi."""
    return st.builds(
        InstanceSpec,
        cwd=st.just("/work"),
        inherit_env=st.just(False),
        start_timeout=st.sampled_from(start_timeout),
        drain_timeout=st.sampled_from(drain_timeout),
        grace_timeout=st.sampled_from(grace_timeout),
        request_timeout=st.sampled_from(request_timeout),
        restart=restart_policies() if restart is None else restart,
        restart_session=st.sampled_from(("continue", "fresh")),
        health=st.one_of(st.none(), health_policies()) if health is None else health,
    )


def steps(*, checkpoints: int = 30) -> st.SearchStrategy[Step]:
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
        st.builds(
            OpenTree,
            specs=st.lists(_TARGETS, min_size=1, max_size=4).map(tuple),
            strategy=st.sampled_from(Strategy),
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


def endings(*, checkpoints: int = 100) -> st.SearchStrategy[Ending]:
    """Ways to leave the runtime's scope."""
    return st.builds(
        Ending,
        how=st.sampled_from(("return", "return", "raise", "cancel", "interrupt")),
        settle=_BOOL,
        cancel_at=_cancel_at(checkpoints),
        impatient_after=st.sampled_from((None, None, None, 0.0, 0.01, 0.3)),
    )


def plans(
    *,
    specs: st.SearchStrategy[InstanceSpec] = specs(),  # noqa: B008 - a strategy is a value
    steps: st.SearchStrategy[Step] = steps(),  # noqa: B008
    endings: st.SearchStrategy[Ending] = endings(),  # noqa: B008
    faults: st.SearchStrategy[Fault] | None = None,
    max_steps: int = 12,
    max_faults: int = 3,
) -> st.SearchStrategy[Plan]:
    """Whole plans of at most ``max_steps`` steps, and so many faults among the first incarnations of each instance."""
    afflictions = (
        st.just(())
        if faults is None
        else st.lists(
            st.builds(Affliction, fault=faults, instance=_TARGETS, incarnation=st.integers(1, 3)), max_size=max_faults
        ).map(tuple)
    )
    return st.builds(
        Plan,
        seed=st.integers(0, 2**32 - 1),
        specs=st.lists(specs, min_size=1, max_size=3).map(tuple),
        afflictions=afflictions,
        steps=st.lists(steps, min_size=1, max_size=max_steps).map(tuple),
        ending=endings,
        pi=st.sampled_from(("0.87.1", "1.5.2")),
        max_instances=st.sampled_from((64, 64, 3)),
        max_starting=st.sampled_from((4, 1)),
    )
