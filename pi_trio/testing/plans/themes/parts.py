"""What plans about one thing are put together from."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ....launch import InstanceSpec
from ... import faults as f
from ...world import Fault
from ..plan import Affliction, Plan
from ..steps import Advance, Ending, Step
from ..strategies import specs as any_specs

__all__ = [
    "BAD_STARTS",
    "BOOL",
    "CRASHES",
    "ENDINGS",
    "EXITS",
    "FEW",
    "LAST_WORDS",
    "Specs",
    "advance",
    "each_of",
    "flat",
    "in_a_row",
    "on_the_first",
    "plans_of",
    "specs_or",
    "then",
]

Specs = st.SearchStrategy[InstanceSpec]

BOOL = st.booleans()
FEW = st.integers(0, 2)
ENDINGS = st.builds(
    Ending,
    how=st.sampled_from(("return", "return", "raise", "cancel", "interrupt")),
    settle=st.sampled_from((False, False, False, True)),
    impatient_after=st.sampled_from((None, None, 0.0, 0.3)),
    interrupts=st.sampled_from(((), (), (), (0.0, 0.1), (0.0, 0.1, 0.3))),
)
EXITS = st.sampled_from((0, 1, "SIGKILL"))
LAST_WORDS = st.sampled_from(("", "Error: out of memory\n", "no end"))


def specs_or(specs: Specs | None, **ranges: Any) -> Specs:
    """These specs; or, if there are none, any that are drawn from these ranges."""
    return any_specs(**ranges) if specs is None else specs


def plans_of(
    specs: Specs,
    afflictions: st.SearchStrategy[tuple[Affliction, ...]],
    steps: st.SearchStrategy[tuple[Step, ...]],
    ending: st.SearchStrategy[Ending] = ENDINGS,
    least_specs: int = 1,
    **others: Any,
) -> st.SearchStrategy[Plan]:
    """Plans of these, with everything else drawn."""
    return st.builds(
        Plan,
        seed=st.integers(0, 2**32 - 1),
        specs=st.lists(specs, min_size=least_specs, max_size=3).map(tuple),
        afflictions=afflictions,
        steps=steps,
        ending=ending,
        pi=st.sampled_from(("0.87.1", "1.5.2")),
        sweeps=BOOL,
        **others,
    )


def in_a_row(faults: list[Fault]) -> tuple[Affliction, ...]:
    """One incarnation behind the other of the first instance has one of them."""
    return tuple(Affliction(fault, 0, number) for number, fault in enumerate(faults, 1))


def each_of(fault: st.SearchStrategy[Fault], instances: int) -> st.SearchStrategy[tuple[Affliction, ...]]:
    """The first incarnation of each of so many instances, with one or two such faults."""
    return st.lists(
        st.builds(Affliction, fault, st.integers(0, instances - 1)), min_size=1, max_size=instances + 2
    ).map(tuple)


def then(*first: Step, following: st.SearchStrategy[Step], most: int) -> st.SearchStrategy[tuple[Step, ...]]:
    """Some steps, and then others, one at a time."""
    return st.lists(following, min_size=1, max_size=most).map(lambda steps: (*first, *steps))


def advance(*seconds: float) -> st.SearchStrategy[Step]:
    """Let time pass: one of these."""
    return st.builds(Advance, st.sampled_from(seconds))


CRASHES = st.one_of(
    st.builds(f.Crash, st.sampled_from((0.3, 0.7, 2.0, 4.0)), EXITS, LAST_WORDS),
    st.builds(f.Crash, st.sampled_from((0.3, 0.7)), EXITS),
    st.builds(f.CrashAtRecord, st.sampled_from((2, 5)), EXITS, st.sampled_from((0.0, 0.5, 1.0))),
)
BAD_STARTS = st.one_of(st.builds(f.HangingStart), st.builds(f.CrashAtRecord, st.just(1), EXITS), st.builds(f.BadSpawn))


def on_the_first(faults: list[Fault]) -> tuple[Affliction, ...]:
    """The first incarnation of the first instance has all of them."""
    return tuple(Affliction(fault) for fault in faults)


def flat(
    *first: Step, following: st.SearchStrategy[tuple[Step, ...]], most: int
) -> st.SearchStrategy[tuple[Step, ...]]:
    """Some steps, and then some that come several at a time."""
    rests = st.lists(following, min_size=2, max_size=most)
    return rests.map(lambda rest: (*first, *(step for steps in rest for step in steps)))
