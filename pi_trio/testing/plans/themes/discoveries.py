"""Plans about members that are somewhere else, and about prompts that any member may have."""

from __future__ import annotations

from hypothesis import strategies as st

from ....registry import Criteria, LeastLoaded, RoundRobin
from ... import faults as f
from ..plan import Affliction, Plan
from ..steps import (
    Acquire,
    CutOff,
    Discover,
    FailDiscovery,
    Kill,
    LeaveDiscovery,
    Prompt,
    RunSomewhere,
    Spawn,
    Step,
    Stop,
    Tell,
)
from ..strategies import drops
from .breakers import BREAKERS
from .parts import BOOL, CRASHES, Specs, advance, flat, plans_of

__all__ = ["discoveries"]

_TARGETS = st.integers(0, 1)
_SOME = st.sampled_from(((0, 1), (0,), (1,), (1, 0), ()))


def _tells(how: str = "snapshot") -> st.SearchStrategy[Tell]:
    region, provider = st.sampled_from((None, None, "north")), st.sampled_from((None, None, "other"))
    return st.builds(Tell, st.integers(0, 1), st.just(how), _SOME, region, provider, st.sampled_from((1, 2)))


def discoveries(specs: Specs) -> st.SearchStrategy[Plan]:
    """Instances are members once more, from somewhere else; they come and go, and prompts are run on any of them."""
    here = frozenset(("i0", "i1"))
    wanted = st.sampled_from((Criteria(exclude=here), Criteria(), Criteria(exclude=here, region="north")))
    run = st.builds(
        RunSomewhere,
        wanted,
        st.sampled_from((LeastLoaded(), RoundRobin())),
        timeout=st.sampled_from((None, None, 0.2)),
        acquire_timeout=st.sampled_from((1.0, None, 0.0)),
        attempts=st.sampled_from((5, 5, 1, 2)),
        tool=BOOL,
    )
    lease = st.builds(Acquire, wanted, timeout=st.sampled_from((None, 1.0)), seconds=st.sampled_from((0.3, 2.0)))
    prompt = st.builds(Prompt, _TARGETS)
    told = st.one_of(_tells(), _tells("found"), _tells("lost"))
    cut = st.builds(CutOff, _TARGETS, st.sampled_from((0.0, 0.4, 1.5, 5.0)))
    blow: st.SearchStrategy[Step] = st.one_of(
        cut, cut, told, st.builds(Kill, _TARGETS), st.builds(Stop, _TARGETS), st.builds(LeaveDiscovery, st.just(0))
    )
    moment = advance(0.0, 0.01, 0.06, 0.1, 0.2)
    following = st.one_of(
        st.tuples(told, moment, told, advance(0.3, 1.2)),
        st.tuples(prompt, moment, run, run, advance(0.5, 2.0)),
        st.tuples(run, moment, blow, advance(0.5, 2.0)),
        st.tuples(run, run, moment, blow, run, advance(0.5)),
        st.tuples(lease, lease, advance(0.1), blow, advance(0.3, 3.0)),
        st.tuples(cut, advance(0.2, 1.5, 4.0), run, advance(1.5, 4.0)),
        st.tuples(st.builds(FailDiscovery, st.integers(0, 1)), told, advance(0.5, 1.2, 4.0)),
    )
    first = st.builds(Discover, _tells())
    steps = st.builds(
        lambda one, others, rest: (Spawn(0, wait=False), Spawn(1), one, *others, *rest),
        first,
        st.lists(first, max_size=1),
        flat(following=following, most=4),
    )
    crashes = st.builds(Affliction, st.one_of(CRASHES, st.builds(f.Mute, st.sampled_from((2, 4)))), _TARGETS)
    dropped = st.builds(Affliction, drops(), _TARGETS, st.sampled_from((1, 2, 3)))
    faults = st.lists(st.one_of(crashes, dropped), max_size=2).map(tuple)
    return plans_of(specs, faults, steps, breaker=BREAKERS)
