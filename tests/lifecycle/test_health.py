"""The fold of probes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.lifecycle import Health, HealthPolicy, HealthState, Probe, after_probe

POLICY = HealthPolicy(slow_after=1.0, timeout=5.0, misses=3)
HIT, SLOW, MISS, BUSY = Probe(0.1), Probe(2.0), Probe(None), Probe(None, heard=True)


def healths(*probes: Probe) -> list[Health]:
    state, seen = HealthState(), []
    for probe in probes:
        state = after_probe(POLICY, state, probe)
        seen.append(state.health)
    return seen


def test_the_steps() -> None:
    assert HealthState().health is Health.UNKNOWN
    assert healths(HIT) == [Health.HEALTHY]
    assert healths(HIT, SLOW, HIT) == [Health.HEALTHY, Health.DEGRADED, Health.HEALTHY]
    assert healths(HIT, MISS, MISS, MISS) == [Health.HEALTHY, Health.DEGRADED, Health.DEGRADED, Health.UNHEALTHY]
    assert healths(MISS, MISS, HIT, MISS, MISS)[-1] is Health.DEGRADED
    assert healths(MISS, MISS, MISS, HIT)[-1] is Health.HEALTHY


def test_a_pi_that_is_busy_but_talks_is_never_unhealthy() -> None:
    assert set(healths(*[BUSY] * 20)) == {Health.DEGRADED}
    assert healths(MISS, MISS, BUSY, MISS, MISS)[-1] is Health.DEGRADED


probes = st.builds(Probe, st.none() | st.floats(0, 5), st.booleans())


@given(st.lists(probes, max_size=30), st.integers(1, 5))
def test_unhealthy_means_so_many_silent_misses_in_a_row(found: list[Probe], misses: int) -> None:
    policy = HealthPolicy(misses=misses)
    state, in_a_row = HealthState(), 0
    for probe in found:
        state = after_probe(policy, state, probe)
        in_a_row = in_a_row + 1 if probe.latency is None and not probe.heard else 0
        assert (state.health is Health.UNHEALTHY) == (in_a_row >= misses)
        assert state.health is not Health.UNKNOWN
        if probe.latency is not None:
            assert state.health is (Health.HEALTHY if probe.latency <= policy.slow_after else Health.DEGRADED)


@pytest.mark.parametrize("wrong", [{"period": 0}, {"timeout": -1}, {"misses": 0}, {"action": "pray"}])
def test_what_makes_no_sense_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        HealthPolicy(**wrong)  # type: ignore[arg-type]
