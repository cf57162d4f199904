"""Plans about breakers."""

from __future__ import annotations

from hypothesis import strategies as st

from ....lifecycle import BreakerPolicy
from ... import faults as f
from ...world import Fault
from ..plan import Affliction, Plan
from ..steps import Acquire, Advance, Kill, Report, Spawn, Step
from ..strategies import acquisitions
from .parts import Specs, advance, flat, plans_of

__all__ = ["BREAKERS", "breakers"]

BREAKERS = st.builds(
    BreakerPolicy,
    failures=st.sampled_from((1, 2, 3)),
    reset_timeout=st.sampled_from((0.5, 2.0)),
    max_reset_timeout=st.sampled_from((3.0, 300.0)),
)


def breakers(specs: Specs) -> st.SearchStrategy[Plan]:
    """One instance fails those who lease it, or does not answer, while others wait for it."""
    failing = acquisitions(uses=("break", "blame"), seconds=(0.0, 0.1))
    waiting = acquisitions(uses=("hold",), timeout=(None, 5.0), seconds=(0.1, 1.0))
    told = st.builds(Report, worked=st.sampled_from((False, False, False, False, True)))
    following = st.one_of(
        st.tuples(failing, waiting, advance(0.1, 1.0)),
        st.tuples(failing, waiting, failing, waiting, failing, advance(1.0, 5.0)),
        st.tuples(told, told, told, waiting, advance(0.6, 2.5, 12.0)),
        st.tuples(told, waiting, advance(0.4, 6.0, 30.0)),
        st.tuples(advance(1.5), waiting, advance(0.5)),
        st.tuples(
            told, st.builds(Acquire, target=st.just(0), seconds=st.just(5.0)), told, st.just(Kill()), advance(3.0)
        ),
    )
    steps = flat(Spawn(), following=following, most=6)
    silent = st.builds(f.Mute, st.sampled_from((1, 2, 3, 5)))
    faults = st.one_of(st.builds(Affliction, silent).map(lambda one: (one,)), st.just(()))
    return st.one_of(plans_of(specs, faults, steps, breaker=BREAKERS), _probed_in_vain(specs, waiting))


def _probed_in_vain(specs: Specs, waiting: st.SearchStrategy[Step]) -> st.SearchStrategy[Plan]:
    """One instance lives and answers nothing, for as long as several probes take; then it may come to itself."""
    hushed: st.SearchStrategy[Fault] = st.one_of(
        st.builds(f.Mute, st.sampled_from((1, 2))), st.builds(f.Stopped, st.just(0.4), st.sampled_from((None, 20.0)))
    )
    following = st.one_of(
        st.tuples(st.just(Report()), waiting, advance(6.0, 12.0, 30.0)),
        st.tuples(st.just(Kill(signal="SIGCONT")), waiting, advance(6.0, 12.0)),
    )
    failed = (Report(),) * 3  # whatever the policy says, it is open then
    steps = flat(Spawn(), Advance(1.0), *failed, Advance(30.0), following=following, most=3)
    # With these the limit cuts one of the first three openings short.
    policies = st.builds(
        BreakerPolicy,
        failures=st.sampled_from((1, 2, 3)),
        reset_timeout=st.sampled_from((2.0, 0.5)),
        max_reset_timeout=st.sampled_from((3.0, 1.5, 0.75)),
    )
    return plans_of(specs, hushed.map(lambda fault: (Affliction(fault),)), steps, breaker=policies)
