"""Plans about supervision trees."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from ....supervisor import Strategy
from ... import faults as f
from ..plan import Affliction, Plan
from ..steps import Advance, Kill, LeaveTree, OpenTree, Step, Stop
from .parts import BOOL, CRASHES, FEW, Specs, advance, flat, plans_of

__all__ = ["trees"]


def trees(specs: Specs, strategies: Sequence[Strategy]) -> st.SearchStrategy[Plan]:
    """A supervision tree whose children fall."""
    child = st.integers(0, 3)
    kill = st.builds(Kill, child)
    moment = advance(0.05, 0.5, 1.0, 3.0)
    following = st.one_of(
        st.tuples(kill, moment),
        st.tuples(kill, advance(0.5, 1.0), kill, advance(0.5, 1.0), kill, advance(1.0, 3.0)),
        st.tuples(kill, kill, moment),
        st.tuples(st.builds(Stop, child), moment),
        st.tuples(st.builds(Stop, child), kill, moment),
    )
    # As many as the tree may have in all, each of another child.
    each_once: tuple[Step, ...] = (Kill(0), Advance(0.5), Kill(1), Advance(0.5), Kill(2), Advance(3.0))
    few = st.builds(
        OpenTree, st.permutations((0, 1, 2)).map(tuple), st.sampled_from(strategies), st.sampled_from((1, 2)), wait=BOOL
    )
    last: st.SearchStrategy[tuple[Step, ...]] = st.one_of(
        st.just(()), st.tuples(kill, st.builds(LeaveTree, raises=BOOL)), st.tuples(st.builds(LeaveTree, raises=BOOL))
    )
    opened = st.builds(
        OpenTree,
        st.lists(FEW, min_size=2, max_size=4).map(tuple),
        st.sampled_from(strategies),
        st.sampled_from((2, 10, 10, 1, 0)),
        st.sampled_from((10.0, 1.0)),
        wait=BOOL,
    )
    many = st.builds(
        OpenTree,
        st.permutations((0, 1, 2, 0)).map(tuple),
        st.sampled_from(strategies),
        st.just(10),
        wait=st.just(False),
    )
    first: st.SearchStrategy[tuple[Step, ...]] = st.one_of(
        st.tuples(opened, st.just(Advance(3.0))),
        st.tuples(many, st.just(Advance(3.0))),
        few.map(lambda tree: (tree, Advance(3.0), *each_once)),
        # Some fall while those behind them have not been started.
        st.tuples(many, advance(0.3, 0.6, 0.9), st.builds(Kill, st.integers(0, 1)), st.just(Advance(3.0))),
    )
    faults = st.one_of(
        CRASHES, st.builds(f.SlowStart, st.sampled_from((0.1, 0.5))), st.builds(f.SlowDeath, st.just(0.4))
    )
    afflictions = st.lists(
        st.builds(Affliction, faults, st.integers(0, 3), st.sampled_from((2, 2, 1))), max_size=2
    ).map(tuple)
    steps = st.builds(
        lambda first, rest, last: (*first, *rest, *last, Advance(1.0)), first, flat(following=following, most=5), last
    )
    return plans_of(specs, afflictions, steps, least_specs=3)
