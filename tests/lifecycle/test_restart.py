"""The restart rules, over whole histories."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.lifecycle import (
    Backoff,
    GiveUp,
    Restart,
    RestartHistory,
    RestartPolicy,
    RestartType,
    StayDown,
    decide_restart,
)

policies = st.builds(
    RestartPolicy,
    type=st.just(RestartType.PERMANENT),
    intensity=st.integers(0, 5),
    period=st.floats(0.5, 100),
    backoff=st.builds(Backoff, base=st.floats(0, 10), cap=st.floats(0, 20), jitter=st.floats(0, 1)),
    reset_after=st.floats(0, 50),
)
lives = st.lists(
    st.tuples(st.floats(0, 60), st.floats(0, 1)).map(lambda life: {"ran_for": life[0], "random": life[1]}), max_size=40
)


@given(policies, lives)
def test_over_any_history(policy: RestartPolicy, lives: list[dict[str, float]]) -> None:
    """Never more starts in a window than the budget; given up only when it is spent; each delay in its range."""
    starts: list[float] = []
    now, history, row = 0.0, RestartHistory(), 0
    for life in lives:
        now += life["ran_for"]
        decision = decide_restart(policy, history, clean=False, now=now, **life)
        row = 0 if life["ran_for"] >= policy.reset_after else row
        if isinstance(decision, GiveUp):
            latest_due = now + policy.backoff.delay(row, life["random"])
            assert len([start for start in starts if start > latest_due - policy.period]) >= policy.intensity
            return
        assert isinstance(decision, Restart)
        nominal = min(policy.backoff.cap, policy.backoff.base * 2**row)
        spread = policy.backoff.jitter * nominal
        assert nominal - spread - 1e-9 <= decision.delay <= nominal + spread + 1e-9
        assert decision.due == now + decision.delay
        row += 1
        assert decision.history.in_a_row == row
        starts.append(decision.due)
        within = [start for start in starts if start > decision.due - policy.period]
        assert len(within) <= policy.intensity
        history, now = decision.history, decision.due
        assert len(history.starts) <= policy.intensity


@pytest.mark.parametrize(
    ("type_", "after_clean", "after_crash"),
    [
        (RestartType.PERMANENT, True, True),
        (RestartType.TRANSIENT, False, True),
        (RestartType.TEMPORARY, False, False),
    ],
)
def test_which_endings_are_followed_by_a_start(type_: RestartType, after_clean: bool, after_crash: bool) -> None:
    for clean, wanted in ((True, after_clean), (False, after_crash)):
        decision = decide_restart(
            RestartPolicy(type=type_), RestartHistory(), clean=clean, ran_for=1.0, now=0.0, random=0.5
        )
        assert isinstance(decision, Restart if wanted else StayDown)


def test_no_budget_means_no_restart() -> None:
    policy = RestartPolicy(type=RestartType.PERMANENT, intensity=0)
    assert decide_restart(policy, RestartHistory(), clean=False, ran_for=0, now=0, random=0) == GiveUp()


def test_running_well_for_a_while_ends_the_row_but_not_the_window() -> None:
    policy = RestartPolicy(intensity=3, period=100.0, reset_after=10.0, backoff=Backoff(base=1.0, cap=60.0, jitter=0.0))
    history, now, delays = RestartHistory(), 0.0, []
    for ran_for in (0.0, 0.0, 10.0):
        now += ran_for
        decision = decide_restart(policy, history, clean=False, ran_for=ran_for, now=now, random=0.5)
        assert isinstance(decision, Restart)
        delays.append(decision.delay)
        history, now = decision.history, decision.due
    assert delays == [1.0, 2.0, 1.0]
    assert decide_restart(policy, history, clean=False, ran_for=50.0, now=now + 50, random=0.5) == GiveUp()
    late = decide_restart(policy, history, clean=False, ran_for=200.0, now=now + 200, random=0.5)
    assert isinstance(late, Restart)
    assert late.history == RestartHistory((late.due,), 1)


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_the_delay_never_overflows(in_a_row: int, random: float) -> None:
    assert 0 <= Backoff(base=1.0, cap=30.0, jitter=0.5).delay(in_a_row, random) <= 45.0


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Backoff, {"base": -1}),
        (Backoff, {"jitter": 1.5}),
        (RestartPolicy, {"period": 0}),
        (RestartPolicy, {"intensity": -1}),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(kind: type[Backoff | RestartPolicy], wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(**wrong)  # type: ignore[arg-type]
    assert attrs.asdict(kind())
