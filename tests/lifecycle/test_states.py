"""The table of an instance's life."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.lifecycle import TERMINAL, TRANSITIONS, IllegalTransition, InstanceState, advance

S = InstanceState


def reachable(start: InstanceState, without: Iterable[InstanceState] = ()) -> set[InstanceState]:
    """The states that can follow ``start``, sooner or later, on a way around ``without``."""
    found: set[InstanceState] = set()
    ahead = [start]
    while ahead:
        new = TRANSITIONS[ahead.pop()] - found - set(without)
        found |= new
        ahead += new
    return found


def test_every_state_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(S)
    assert set().union(*TRANSITIONS.values()) <= set(S)


def test_the_terminal_states_are_those_without_a_way_out() -> None:
    assert {S.STOPPED, S.FAILED} == TERMINAL
    assert all(not TRANSITIONS[state] for state in TERMINAL)


@pytest.mark.parametrize("state", sorted(set(S) - TERMINAL, key=str))
def test_every_life_can_end(state: InstanceState) -> None:
    assert S.STOPPED in reachable(state)
    assert S.STOPPED in reachable(state, without={S.STARTING, S.RUNNING, S.BACKING_OFF}), "a stop needs no other start"


def test_every_state_is_reached_from_the_first() -> None:
    assert reachable(S.STARTING) | {S.STARTING} == set(S)


def test_no_state_follows_itself() -> None:
    assert all(state not in following for state, following in TRANSITIONS.items())


def test_a_stop_is_never_undone() -> None:
    assert reachable(S.STOPPING) == {S.STOPPED}


def test_a_process_is_only_started_again_after_the_delay() -> None:
    assert [state for state, following in TRANSITIONS.items() if S.STARTING in following] == [S.BACKING_OFF]
    assert [state for state, following in TRANSITIONS.items() if S.RUNNING in following] == [S.STARTING]


@pytest.mark.parametrize("to", S, ids=str)
@pytest.mark.parametrize("current", S, ids=str)
def test_advance_takes_the_steps_of_the_table_and_no_other(current: InstanceState, to: InstanceState) -> None:
    if to in TRANSITIONS[current]:
        assert advance(current, to) is to
    else:
        with pytest.raises(IllegalTransition, match=f"^{current} -> {to}$"):
            advance(current, to)


@given(st.lists(st.sampled_from(S), max_size=30))
def test_a_life_of_allowed_steps_ends_once(wanted: list[InstanceState]) -> None:
    state, path = S.STARTING, [S.STARTING]
    for to in wanted:
        try:
            state = advance(state, to)
        except IllegalTransition:
            continue
        path.append(state)

    assert all(after in TRANSITIONS[before] for before, after in pairwise(path))
    assert sum(each in TERMINAL for each in path) <= 1
    assert not any(each in TERMINAL for each in path[:-1]), "nothing follows the end"
    if S.STOPPING in path:
        assert path[path.index(S.STOPPING) :] in ([S.STOPPING], [S.STOPPING, S.STOPPED])


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[S.STOPPED] = frozenset({S.STARTING})  # type: ignore[index]


def test_states_are_shown_by_their_name() -> None:
    assert [str(state) for state in S] == ["starting", "running", "stopping", "backing_off", "stopped", "failed"]
