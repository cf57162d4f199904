"""Events of a few instances, in any order."""

from __future__ import annotations

from hypothesis import strategies as st

from pi_trio.abc import ExitStatus, Mode, Profile
from pi_trio.lifecycle import (
    Breaker,
    BreakerChanged,
    BreakerState,
    CapacityChanged,
    DiscoveryBreakerChanged,
    DiscoveryCompleted,
    DiscoveryEvent,
    DiscoveryFailed,
    Exited,
    Health,
    HealthChanged,
    InstanceEvent,
    InstanceState,
    ModelChanged,
    Ready,
    Registered,
    RegistryEvent,
    RestartScheduled,
    Retired,
    SessionChanged,
    StateChanged,
    Unregistered,
)
from pi_trio.registry import Entry

__all__ = ["discovery_events", "entries", "instance_events", "profiles", "registry_events"]

_names = st.sampled_from(["a", "b", "c"])
_times = st.integers(0, 100).map(float)
_incarnations = st.integers(0, 3)
_statuses = st.none() | st.just(ExitStatus(code=0)) | st.just(ExitStatus(signal="SIGTERM"))

_breakers = st.builds(Breaker, st.sampled_from(BreakerState), st.integers(0, 3), st.integers(0, 3), st.none() | _times)
_words = st.frozensets(st.sampled_from(["x", "y", "z"]), max_size=3)

profiles = st.builds(
    Profile,
    mode=st.sampled_from(Mode),
    capabilities=_words,
    region=st.sampled_from([None, "eu", "us"]),
    tags=_words,
    max_concurrent=st.integers(1, 3),
    selectable=st.sampled_from([True, True, True, False]),
)

instance_events: st.SearchStrategy[InstanceEvent] = st.one_of(
    st.builds(Registered, _names, _times, provider=st.none() | st.just("p"), model=st.none(), cwd=st.just("/w")),
    st.builds(Registered, _names, _times, profile=profiles),
    st.builds(Unregistered, _names, _times, reason=_names),
    st.builds(CapacityChanged, _names, _times, in_use=st.integers(0, 3)),
    st.builds(Retired, _names, _times, reason=_names),
    st.builds(SessionChanged, _names, _times, session_id=_names),
    st.builds(ModelChanged, _names, _times, provider=st.none() | _names, model=st.none() | _names),
    st.builds(BreakerChanged, _names, _times, breaker=_breakers),
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

_discoveries = st.sampled_from(["static", "other"])

discovery_events: st.SearchStrategy[DiscoveryEvent] = st.one_of(
    st.builds(DiscoveryCompleted, _discoveries, _times, found=st.integers(0, 3), lost=st.integers(0, 3)),
    st.builds(DiscoveryFailed, _discoveries, _times, error=_names),
    st.builds(DiscoveryBreakerChanged, _discoveries, _times, breaker=_breakers),
)
"""Any event of one of two discoveries."""

registry_events: st.SearchStrategy[RegistryEvent] = instance_events | discovery_events
"""Any event."""


@st.composite
def entries(draw: st.DrawFn, count: int = 8) -> dict[str, Entry]:
    """A table of up to ``count`` instances, as they may be at one moment."""
    table: dict[str, Entry] = {}
    for number in range(draw(st.integers(0, count))):
        profile = draw(profiles)
        table[f"pi-{number}"] = Entry(
            f"pi-{number}",
            draw(st.sampled_from([None, "p", "q"])),
            draw(st.sampled_from([None, "m", "n"])),
            "/w",
            state=draw(st.sampled_from([InstanceState.RUNNING] * 3 + [InstanceState.STARTING])),
            health=draw(st.sampled_from(Health)),
            profile=profile,
            in_use=draw(st.integers(0, profile.max_concurrent)),
            breaker=draw(st.sampled_from([Breaker(), Breaker(), Breaker(BreakerState.OPEN, 3, 1, 9.0)])),
            retired=draw(st.sampled_from([False, False, False, True])),
        )
    return table
