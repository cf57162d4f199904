"""Plans about many starts at once."""

from __future__ import annotations

import attrs
from hypothesis import strategies as st

from ... import faults as f
from ..plan import Plan
from ..steps import Cancel, Request, Spawn, Step, Stop
from .parts import BOOL, ENDINGS, EXITS, FEW, LAST_WORDS, Specs, advance, each_of, flat, plans_of

__all__ = ["starts"]


def starts(specs: Specs, checkpoints: int) -> st.SearchStrategy[Plan]:
    """Many are asked for at once, some of them start badly or are given up, and there is not room for all."""
    faults = st.one_of(
        st.builds(f.BadSpawn, st.sampled_from(("EAGAIN", "ENOENT", "ENOSPC"))),
        st.builds(f.SlowSpawn, st.sampled_from((0.05, 0.4, 2.0))),
        st.builds(f.SlowStart, st.sampled_from((0.05, 0.4, 2.0))),
        st.builds(f.HangingStart),
        st.builds(f.Crash, st.just(0.0), EXITS, LAST_WORDS),
        st.builds(f.CrashAtRecord, st.just(1), EXITS, st.sampled_from((0.0, 1.0))),
        st.builds(f.IgnoredSigterm),
    )
    cancel_at = st.none() if checkpoints == 0 else st.one_of(st.none(), st.none(), st.integers(1, checkpoints))
    spawns = st.lists(
        st.builds(Spawn, FEW, wait=st.sampled_from((False, False, False, True)), cancel_at=cancel_at),
        min_size=2,
        max_size=8,
    )
    stop = st.builds(Stop, st.integers(0, 5), wait=st.just(False))
    following: st.SearchStrategy[tuple[Step, ...]] = st.one_of(
        st.tuples(stop, stop, advance(0.1, 1.0)),
        st.tuples(st.builds(Spawn, FEW, wait=st.just(False)), advance(0.0, 0.001, 0.1), stop, advance(1.0)),
        st.tuples(st.builds(Cancel, st.integers(0, 5)), advance(0.001, 0.1)),
        st.tuples(st.builds(Spawn, FEW, wait=BOOL)),
        st.tuples(st.builds(Request, st.integers(0, 5), timeout=st.sampled_from((0.3, None))), advance(0.1, 1.0)),
    )
    steps = st.builds(lambda first, rest: (*first, *rest), spawns, flat(following=following, most=5))
    return plans_of(
        specs,
        each_of(faults, 6),
        steps,
        st.builds(attrs.evolve, ENDINGS, cancel_at=cancel_at),
        max_instances=st.sampled_from((64, 3, 2)),
        max_starting=st.sampled_from((4, 2, 1)),
    )
