"""How many instances there should be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.lifecycle import Grow, Keep, ScalingPolicy, Shrink, Staff, decide_scaling

POLICY = ScalingPolicy(min_instances=1, max_instances=4, min_free=1, idle_timeout=60.0)


def decide(
    *staff: Staff, starting: int = 0, waiting: int = 0, now: float = 0.0, room: int = 1, policy: ScalingPolicy = POLICY
) -> object:
    return decide_scaling(policy, staff, starting=starting, room_of_each=room, waiting=waiting, now=now)


def busy(name: str = "busy") -> Staff:
    return Staff(name, 0, None)


def idle(name: str = "idle", since: float = 0.0) -> Staff:
    return Staff(name, 1, since)


def test_it_grows_to_the_least_number_and_by_what_is_missing() -> None:
    assert decide() == Grow(1)
    assert decide(policy=ScalingPolicy(min_instances=3)) == Grow(3)
    assert decide(starting=1) == Keep(math.inf)
    assert decide(busy()) == Grow(1)
    assert decide(busy(), waiting=2) == Grow(3)
    assert decide(busy(), waiting=2, room=4) == Grow(1)
    assert decide(busy(), waiting=20) == Grow(3), "as far as it may"
    assert decide(busy(), busy(), busy(), busy(), waiting=3) == Keep(math.inf)
    assert decide(busy(), starting=3, waiting=3) == Keep(math.inf)


def test_it_shrinks_when_one_was_idle_for_long_and_the_rest_will_do() -> None:
    assert decide(idle("a", 10.0), idle("b", 5.0), now=64.0) == Keep(65.0)
    assert decide(idle("a", 10.0), idle("b", 5.0), now=65.0) == Shrink("b")
    assert decide(idle("a"), now=1000.0) == Keep(math.inf), "the least number"
    assert decide(idle("a"), busy(), now=1000.0) == Keep(math.inf), "the room is still wanted"
    assert decide(idle("a"), idle("b"), waiting=1, now=1000.0) == Keep(math.inf)


staffs = st.lists(
    st.builds(Staff, st.integers(0, 99).map(str), st.integers(0, 3), st.none() | st.floats(0, 100)),
    max_size=6,
    unique_by=lambda each: each.instance_id,
)
policies = st.builds(
    lambda least, more, free, idle: ScalingPolicy(
        min_instances=least, max_instances=max(1, least + more), min_free=free, idle_timeout=idle
    ),
    st.integers(0, 3),
    st.integers(0, 4),
    st.integers(0, 4),
    st.floats(0, 50),
)


@given(policies, staffs, st.integers(0, 3), st.integers(1, 3), st.integers(0, 5), st.floats(0, 200))
def test_it_keeps_between_its_bounds(
    policy: ScalingPolicy, staff: list[Staff], starting: int, room_of_each: int, waiting: int, now: float
) -> None:
    decision = decide_scaling(policy, staff, starting=starting, room_of_each=room_of_each, waiting=waiting, now=now)
    count = len(staff) + starting
    if isinstance(decision, Grow):
        assert 0 < decision.count <= policy.max_instances - count
    elif isinstance(decision, Shrink):
        assert count > policy.min_instances
        (gone,) = [each for each in staff if each.instance_id == decision.instance_id]
        assert gone.idle_since is not None
        assert now >= gone.idle_since + policy.idle_timeout
        # What it decides next is not to take that back.
        left = [each for each in staff if each is not gone]
        assert not isinstance(
            decide_scaling(policy, left, starting=starting, room_of_each=room_of_each, waiting=waiting, now=now), Grow
        )
    else:
        assert count >= policy.min_instances or count >= policy.max_instances
        assert decision.until > now


@pytest.mark.parametrize(
    "wrong", [{"max_instances": 0}, {"min_instances": 5}, {"min_free": -1}, {"idle_timeout": -1.0}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"instances|min_free|idle_timeout"):
        ScalingPolicy(**wrong)  # type: ignore[arg-type]
