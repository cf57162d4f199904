"""The circuit breaker, held against its rules for any history."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.lifecycle import (
    Breaker,
    BreakerPolicy,
    BreakerState,
    after_abandoned,
    after_failure,
    after_success,
    try_again,
)

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN

POLICY = BreakerPolicy(failures=2, reset_timeout=10.0, widening=3.0, max_reset_timeout=50.0)

policies = st.builds(
    BreakerPolicy,
    failures=st.integers(1, 5),
    reset_timeout=st.floats(0.1, 10.0),
    widening=st.floats(1.0, 4.0),
    max_reset_timeout=st.floats(0.1, 100.0),
)
histories = st.lists(
    st.tuples(st.sampled_from(["failure", "success", "try", "abandon"]), st.floats(0.0, 20.0)), max_size=60
)


def failed(breaker: Breaker, *times: float) -> Breaker:
    for now in times:
        breaker = after_failure(POLICY, breaker, now)
    return breaker


def test_it_opens_at_the_threshold_and_a_success_starts_the_count_anew() -> None:
    assert failed(Breaker(), 1.0).state is CLOSED
    assert failed(after_success(failed(Breaker(), 1.0)), 2.0).state is CLOSED
    assert failed(Breaker(), 1.0, 2.0) == Breaker(OPEN, 2, 1, 12.0)


def test_one_probe_when_it_is_due() -> None:
    opened = failed(Breaker(), 1.0, 2.0)
    assert try_again(opened, 11.9) is None
    probing = try_again(opened, 12.0)
    assert probing is not None
    assert probing.state is HALF_OPEN
    assert try_again(probing, 99.0) is None, "it is out already"
    assert after_success(probing) == Breaker()


def test_news_are_a_reason_to_try_before_it_is_due_and_no_reason_for_a_second_probe() -> None:
    opened = failed(Breaker(), 1.0, 2.0)
    probing = try_again(opened, 3.0, news=True)
    assert probing == try_again(opened, 12.0)
    assert probing is not None
    assert try_again(probing, 99.0, news=True) is None
    assert try_again(Breaker(), 99.0, news=True) is None
    assert failed(probing, 4.0) == Breaker(OPEN, 3, 2, 34.0)


def test_each_failed_probe_makes_it_wait_longer_up_to_the_limit() -> None:
    breaker, now, waits = failed(Breaker(), 0.0, 0.0), 0.0, []
    for _ in range(4):
        assert breaker.retry_at is not None
        waits.append(breaker.retry_at - now)
        now = breaker.retry_at
        probing = try_again(breaker, now)
        assert probing is not None
        breaker = after_failure(POLICY, probing, now)
    assert waits == [10.0, 30.0, 50.0, 50.0]


def test_a_probe_that_was_given_up_may_be_sent_again() -> None:
    probing = try_again(failed(Breaker(), 1.0, 2.0), 12.0)
    assert probing is not None
    assert try_again(after_abandoned(probing), 12.0) == probing
    assert after_abandoned(Breaker()) == Breaker()


def test_failures_of_others_while_it_is_open_do_not_put_it_off() -> None:
    opened = failed(Breaker(), 1.0, 2.0)
    assert failed(opened, 3.0, 4.0) == opened


@given(policies, histories)
def test_any_history_keeps_the_rules(policy: BreakerPolicy, history: list[tuple[str, float]]) -> None:
    breaker, now, in_a_row = Breaker(), 0.0, 0
    for step, passed in history:
        now += passed
        before = breaker
        if step == "failure":
            breaker = after_failure(policy, breaker, now)
            in_a_row += before.state is not OPEN
        elif step == "success":
            breaker, in_a_row = after_success(breaker), 0
        elif step == "try":
            breaker = try_again(breaker, now) or breaker
        else:
            breaker = after_abandoned(breaker)
        assert breaker.failures == in_a_row
        assert (breaker.state is CLOSED) == (in_a_row < policy.failures and breaker.openings == 0)
        assert (breaker.retry_at is None) == (breaker.state is CLOSED)
        if breaker.state is HALF_OPEN and before.state is not HALF_OPEN:
            assert before.state is OPEN, "a probe is sent from the open state alone"
            assert before.retry_at is not None
            assert now >= before.retry_at
        if breaker.state is OPEN and breaker.openings > before.openings:
            assert breaker.retry_at is not None
            assert 0 < breaker.retry_at - now <= policy.max_reset_timeout + 1e-6


@pytest.mark.parametrize("wrong", [{"failures": 0}, {"reset_timeout": 0}, {"widening": 0.5}, {"max_reset_timeout": -1}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BreakerPolicy(**wrong)  # type: ignore[arg-type]
