"""Plans about leases."""

from __future__ import annotations

from hypothesis import strategies as st

from ....registry import Criteria
from ... import faults as f
from ..plan import Affliction, Plan
from ..steps import Acquire, Cancel, Kill, Spawn, Stall, Step, Stop, Subscribe, Unregister
from ..strategies import acquisitions
from .breakers import BREAKERS
from .parts import BOOL, CRASHES, FEW, Specs, advance, flat, plans_of

__all__ = ["leases"]


def leases(specs: Specs) -> st.SearchStrategy[Plan]:
    """More leases are wanted of two instances than there is room for, and the instances go."""
    target = st.integers(0, 1)
    wanted = acquisitions()
    blow: st.SearchStrategy[Step] = st.one_of(
        st.builds(Kill, target), st.builds(Stop, target, force=BOOL), st.builds(Unregister, target)
    )
    held = st.builds(Acquire, target=target, seconds=st.sampled_from((0.1, 2.0, 5.0)))
    full = st.builds(Acquire, target=target, seconds=st.sampled_from((1.0, 5.0)))
    others = st.builds(lambda name: Acquire(Criteria(exclude=frozenset((name,)))), st.sampled_from(("i0", "i1")))
    following = st.one_of(
        st.tuples(wanted, wanted, wanted),
        st.tuples(wanted, acquisitions(uses=("hold", "prompt")), advance(0.1, 0.5, 2.0)),
        st.tuples(held, held, advance(0.0, 0.1), blow, advance(0.1, 1.0, 6.0)),
        st.tuples(wanted, wanted, blow, wanted),
        # Who wants another than the one that is free stands in front of who would take it.
        st.tuples(full, full, others, st.just(Acquire()), advance(3.0), st.just(Unregister(1)), advance(0.1)),
        st.tuples(st.builds(Cancel, FEW), advance(0.1, 2.0, 6.0)),
        st.tuples(st.builds(Subscribe, st.sampled_from((1, 2, 100))), st.builds(Stall, FEW, st.just(3.0))),
    )
    steps = flat(Subscribe(2), Spawn(0, wait=False), Spawn(1), following=following, most=6)
    faults = st.lists(st.builds(Affliction, st.one_of(CRASHES, st.builds(f.IgnoredSigterm)), target), max_size=2)
    return plans_of(specs, faults.map(tuple), steps, breaker=BREAKERS)
