"""Plans about links that drop."""

from __future__ import annotations

from hypothesis import strategies as st

from ... import faults as f
from ..plan import Affliction, Plan
from ..steps import Advance, Ask, Cancel, Connect, Drop, Kill, Prompt, Spawn, Step, Stop
from ..strategies import drops
from .parts import BOOL, FEW, Specs, advance, flat, on_the_first, plans_of

__all__ = ["connections"]


def _drops(connection: int) -> st.SearchStrategy[tuple[Step, ...]]:
    """What befalls one connection."""
    ask = st.builds(Ask, st.just(connection), st.sampled_from((0.5, 5.0, None, 0.01)))
    drop = st.builds(Drop, st.just(connection), st.sampled_from((0.0, 0.0, 0.3, 3.0)))
    moment = advance(0.01, 0.003, 0.0, 0.03)
    while_long = advance(0.3, 2.0, 2.0)
    prompt = st.builds(Prompt, tool=BOOL, connection=st.sampled_from((connection, connection, None)))
    there = st.builds(Prompt, connection=st.just(connection))
    long_drop = st.just(Drop(connection, 0.5))
    return st.one_of(
        st.tuples(ask, ask, moment, drop, ask, while_long),
        st.tuples(ask, ask, moment, ask, moment, drop, while_long, drop, ask, while_long),
        st.tuples(prompt, advance(0.05, 0.1, 0.3), drop, advance(0.05, 0.3), ask, while_long),
        st.tuples(prompt, advance(0.1), drop, prompt, while_long),
        st.tuples(
            there,
            advance(0.06, 0.08, 0.1),
            long_drop,
            while_long,
            there,
            advance(0.06, 0.08, 0.1),
            long_drop,
            while_long,
        ),
        st.tuples(drop, prompt, ask, ask, moment, st.builds(Cancel, FEW), while_long),
        st.tuples(drop, moment, drop, advance(0.3, 31.0)),
        st.tuples(
            st.just(Ask(connection, 0.5)), advance(0.003), st.just(Drop(connection, 3.0)), ask, ask, advance(2.0)
        ),
        st.tuples(there, advance(0.2, 0.25, 0.3), st.builds(Prompt, connection=st.just(connection + 1)), while_long),
        st.tuples(ask, st.builds(Kill), ask, while_long),
        st.tuples(prompt, ask, st.builds(Stop), ask, while_long),
    )


def connections(specs: Specs) -> st.SearchStrategy[Plan]:
    """Much is asked over links that drop."""
    following = st.one_of(_drops(0), _drops(1))
    connect = st.builds(
        Connect,
        attempts=st.sampled_from((10, 10, 2)),
        places=st.sampled_from((1000, 1000, 1)),
        patience=st.sampled_from((30.0, 0.3)),
    )
    steps = st.builds(
        lambda one, other, rest: (Spawn(), one, other, Advance(0.5), *rest, Advance(3.0)),
        connect,
        connect,
        flat(following=following, most=5),
    )
    faults = st.one_of(
        st.just(()),
        st.builds(f.LateResponses, st.sampled_from((0.05, 0.4)), st.sampled_from((1, 2))).map(lambda one: [one]),
        st.builds(f.ResponsesOutOfOrder).map(lambda one: [one]),
    )
    dropped = st.lists(st.builds(Affliction, drops(), st.just(0), st.sampled_from((1, 2, 3))), max_size=2)
    return plans_of(specs, st.builds(lambda some, more: (*on_the_first([*some]), *more), faults, dropped), steps)
