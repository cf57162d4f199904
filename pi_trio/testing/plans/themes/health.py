"""Plans about health."""

from __future__ import annotations

from hypothesis import strategies as st

from ... import faults as f
from ...world import Fault
from ..plan import Plan
from ..steps import Advance, Kill, Prompt, Spawn
from .parts import Specs, advance, on_the_first, plans_of, then

__all__ = ["health"]


def health(specs: Specs) -> st.SearchStrategy[Plan]:
    """One instance is unwell, and is watched."""
    faults: st.SearchStrategy[Fault] = st.one_of(
        st.builds(f.Mute, st.integers(1, 6)),
        st.builds(f.Stopped, st.sampled_from((0.3, 1.0)), st.sampled_from((None, 0.6, 1.5, 5.0))),
        st.builds(f.LateResponses, st.sampled_from((0.01, 0.06, 0.4, 2.0)), st.sampled_from((1, 2, 3))),
        st.builds(f.LostResponses, st.sampled_from((2, 3))),
        st.builds(f.Flood, st.just("stdout"), st.sampled_from((0.3, 2.0)), st.just(0.3), st.just(100)),
        st.builds(f.IgnoredSigterm),
    )
    following = st.one_of(
        advance(1.0, 3.0, 10.0),
        st.builds(Prompt),
        st.builds(Kill, signal=st.sampled_from(("SIGSTOP", "SIGCONT", "SIGKILL", "SIGKILL"))),
    )
    steps = then(Spawn(), Advance(10.0), following=following, most=4)
    # Busy, not dead: it says other things than the answer.
    busy: st.SearchStrategy[list[Fault]] = st.sampled_from(
        (
            [f.LostResponses(2), f.Flood("stdout", 0.09, 0.09, 100)],
            [f.StopsReading(50), f.Flood("stdout", 0.3, 1.3, 100)],
        )
    )
    return plans_of(specs, st.one_of(st.lists(faults, min_size=1, max_size=2), busy).map(on_the_first), steps)
