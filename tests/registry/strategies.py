"""Events of a few instances, in any order."""

from __future__ import annotations

from hypothesis import strategies as st

from pi_trio.abc import ExitStatus
from pi_trio.lifecycle import (
    Exited,
    Health,
    HealthChanged,
    InstanceEvent,
    InstanceState,
    Ready,
    Registered,
    RestartScheduled,
    StateChanged,
)

__all__ = ["instance_events"]

_names = st.sampled_from(["a", "b", "c"])
_times = st.integers(0, 100).map(float)
_incarnations = st.integers(0, 3)
_statuses = st.none() | st.just(ExitStatus(code=0)) | st.just(ExitStatus(signal="SIGTERM"))

instance_events: st.SearchStrategy[InstanceEvent] = st.one_of(
    st.builds(Registered, _names, _times, provider=st.none() | st.just("p"), model=st.none(), cwd=st.just("/w")),
    st.builds(Registered, _names, _times),
    st.builds(
        StateChanged, _names, _times, state=st.sampled_from(InstanceState), incarnation=_incarnations, reason=_names
    ),
    st.builds(
        Ready,
        _names,
        _times,
        incarnation=_incarnations,
        pid=st.integers(1, 99),
        session_id=st.just("s"),
        start_seconds=_times,
    ),
    st.builds(RestartScheduled, _names, _times, incarnation=_incarnations, delay=_times, in_a_row=_incarnations),
    st.builds(
        HealthChanged,
        _names,
        _times,
        incarnation=_incarnations,
        health=st.sampled_from(Health),
        latency=st.none() | _times,
    ),
    st.builds(Exited, _names, _times, incarnation=_incarnations, status=_statuses, requested=st.booleans()),
)
"""Any event of one of three instances."""
