"""Which step of a stop comes next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.lifecycle import KILL_TIMEOUT, StopManner, StopPatience, StopStep, next_step

CLOSE, TERMINATE, KILL = StopStep
POLITE, PROMPT, HASTY, FORCE = StopManner
TAKEN = (None, CLOSE, TERMINATE, KILL)


def whole_stop(manners: list[StopManner]) -> list[StopStep]:
    """The steps of a stop that is asked for in these manners, one after each step; the last one stays."""
    steps: list[StopStep] = []
    manner = manners[0]
    for _ in range(10):
        asked = manners[min(len(steps), len(manners) - 1)]
        manner = max(manner, asked)  # harsher, never gentler: that is the supervisor's part
        step = next_step(manner, steps[-1] if steps else None)
        if step is None:
            return steps
        steps.append(step)
    raise AssertionError(f"a stop that never ends: {steps}")


@pytest.mark.parametrize(
    ("manner", "steps"),
    [(POLITE, [CLOSE, TERMINATE, KILL]), (PROMPT, [TERMINATE, KILL]), (HASTY, [TERMINATE, KILL]), (FORCE, [KILL])],
)
def test_each_manner_has_its_steps(manner: StopManner, steps: list[StopStep]) -> None:
    assert whole_stop([manner]) == steps


@pytest.mark.parametrize("manner", StopManner)
def test_after_the_last_step_there_is_none(manner: StopManner) -> None:
    assert next_step(manner, KILL) is None


@pytest.mark.parametrize("taken", TAKEN)
@pytest.mark.parametrize("manner", StopManner)
def test_a_step_is_never_taken_again(manner: StopManner, taken: StopStep | None) -> None:
    step = next_step(manner, taken)

    assert step is None or taken is None or step > taken
    assert (step is None) == (taken is KILL), "until the last, there is always a next"


@pytest.mark.parametrize(("gentle", "harsh"), [(a, b) for a in StopManner for b in StopManner if a < b])
@pytest.mark.parametrize("taken", TAKEN)
def test_a_harsher_manner_is_never_behind(gentle: StopManner, harsh: StopManner, taken: StopStep | None) -> None:
    sooner, later = next_step(harsh, taken), next_step(gentle, taken)

    if sooner is None or later is None:
        assert sooner is later
    else:
        assert sooner >= later


@given(st.lists(st.sampled_from(StopManner), min_size=1, max_size=6))
def test_however_a_stop_is_asked_for_it_ends_with_kill(manners: list[StopManner]) -> None:
    steps = whole_stop(manners)

    assert steps == sorted(set(steps)), "in order, each at most once"
    assert steps[-1] is KILL
    assert (CLOSE in steps) == (manners[0] is POLITE)


def test_asked_to_hurry_it_goes_on_from_where_it_is() -> None:
    assert whole_stop([POLITE, PROMPT]) == [CLOSE, TERMINATE, KILL]
    assert whole_stop([POLITE, FORCE]) == [CLOSE, KILL]
    assert whole_stop([PROMPT, FORCE]) == [TERMINATE, KILL]
    assert whole_stop([PROMPT, POLITE]) == [TERMINATE, KILL]


def test_each_step_is_given_its_time() -> None:
    patience = StopPatience(drain_timeout=2.0, grace_timeout=5.0)

    times = {manner: [patience.after(step, manner) for step in StopStep] for manner in StopManner}
    assert times == {
        StopManner.POLITE: [2.0, 5.0, KILL_TIMEOUT],
        StopManner.PROMPT: [0.0, 5.0, KILL_TIMEOUT],
        StopManner.HASTY: [0.0, 0.5, KILL_TIMEOUT],
        StopManner.FORCE: [0.0, 0.0, KILL_TIMEOUT],
    }
    assert StopPatience(drain_timeout=0.0, grace_timeout=0.1).after(StopStep.TERMINATE, StopManner.HASTY) == 0.1
