"""Plans about restarts."""

from __future__ import annotations

from hypothesis import strategies as st

from ... import faults as f
from ..plan import Affliction, Plan
from ..steps import Advance, Exec, Kill, KillKeeper, Prompt, Request, Spawn, Stop
from .parts import BAD_STARTS, BOOL, CRASHES, Specs, advance, in_a_row, plans_of, then

__all__ = ["restarts"]


def restarts(specs: Specs) -> st.SearchStrategy[Plan]:
    """One instance crashes again and again, and there is time to see what becomes of it."""
    following = st.one_of(
        advance(1.0, 3.0, 10.0, 30.0),
        advance(3.0, 10.0),
        st.builds(Request, timeout=st.sampled_from((0.3, 5.0, None))),
        st.builds(Prompt),
        st.builds(Stop, wait=BOOL),
        st.builds(Kill),
        st.builds(KillKeeper),
    )
    steps = then(Spawn(), Exec(0, 60.0), Advance(30.0), following=following, most=5)
    following_faults = st.lists(st.one_of(CRASHES, CRASHES, BAD_STARTS), min_size=2, max_size=8)
    faults = st.builds(lambda first, rest: [first, *rest], CRASHES, following_faults)
    noise = st.sampled_from(((), (), (Affliction(f.Flood("stderr", 0.05, 0.1, 100)),)))
    return plans_of(specs, st.builds(lambda row, more: in_a_row(row) + more, faults, noise), steps)
