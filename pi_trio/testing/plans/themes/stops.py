"""Plans about stops."""

from __future__ import annotations

import attrs
from hypothesis import strategies as st

from ... import faults as f
from ..plan import Affliction, Plan
from ..steps import Advance, Exec, Interrupt, Kill, KillKeeper, Prompt, Request, Spawn, Step, Stop
from .parts import BOOL, ENDINGS, EXITS, FEW, Specs, advance, each_of, flat, plans_of

__all__ = ["stops"]

_STUBBORN = st.one_of(
    st.builds(f.IgnoredSigterm),
    st.just(f.IgnoredSigterm()),
    st.builds(f.IgnoredEnd),
    st.builds(f.SlowDeath, st.sampled_from((0.05, 0.4, 2.0))),
    st.builds(f.Stopped, st.sampled_from((0.1, 0.4)), st.sampled_from((None, 1.0))),
    st.builds(f.StopsReading, st.sampled_from((50, 1000))),
    st.builds(f.HalfRecordAtExit),
    st.builds(f.Flood, st.sampled_from(("stdout", "stderr")), st.just(0.1), st.sampled_from((0.01, 0.1))),
    st.builds(f.Flood, st.just("stdout"), st.just(0.1), st.just(0.01), st.just(1000)),
    st.builds(f.Crash, st.sampled_from((0.6, 1.0)), EXITS, st.just("Error: out of memory\n")),
    st.builds(f.Mute, st.integers(1, 10)),
    st.builds(
        f.Grandchild,
        st.sampled_from(("child", "setsid", "daemon")),
        holds_stdout=BOOL,
        seconds=st.sampled_from((0.1, 0.3)),
        ignores_signals=BOOL,
    ),
)


def stops(specs: Specs) -> st.SearchStrategy[Plan]:
    """Instances that do not want to end are ended, with requests in flight."""
    busy: st.SearchStrategy[Step] = st.one_of(
        st.builds(Prompt, FEW, tool=BOOL),
        st.builds(Request, FEW, st.sampled_from(("get_state", "bash")), st.sampled_from((5.0, None))),
        st.builds(Exec, FEW, st.sampled_from((0.2, 5.0)), st.sampled_from((None, 0.2))),
    )
    return st.one_of(_ended(specs, busy), _abandoned(specs, busy))


def _ended(specs: Specs, busy: st.SearchStrategy[Step]) -> st.SearchStrategy[Plan]:
    """They are asked to end, one by one, before the runtime is over."""
    stop = st.builds(Stop, FEW, force=BOOL)
    moment = advance(0.001, 0.1, 0.4, 1.0)
    interrupt = st.just(Interrupt())
    following = st.one_of(
        st.tuples(busy, stop, moment),
        st.tuples(busy, moment, st.builds(Stop, FEW), busy, moment),
        st.tuples(st.builds(Stop, FEW), moment, stop, moment),
        st.tuples(st.builds(Kill, FEW), stop, moment),
        st.tuples(interrupt, interrupt, moment, st.builds(Spawn, FEW)),
        st.tuples(interrupt, interrupt, advance(3.0)),
        st.tuples(st.builds(KillKeeper, FEW), moment, st.builds(Stop, FEW), moment),
        st.tuples(
            st.builds(Spawn, FEW, wait=st.just(False)), advance(0.03, 0.1), st.builds(Stop, st.integers(3, 5)), moment
        ),
        st.tuples(st.builds(Stop, FEW), moment, interrupt, moment),
    )
    steps = flat(Spawn(0, wait=False), Spawn(1, wait=False), Spawn(2), Advance(0.5), following=following, most=5)
    return plans_of(specs, each_of(_STUBBORN, 3), steps)


def _abandoned(specs: Specs, busy: st.SearchStrategy[Step]) -> st.SearchStrategy[Plan]:
    """They are there when the runtime's scope is left, and others are asked for at that very moment.

    All of them go on when stdin ends: only then is it seen whether they were given the time for that.
    """
    late = st.builds(Spawn, FEW, wait=st.just(False))  # no time passes behind it
    steps = st.builds(
        lambda busy, late: (Spawn(0, wait=False), Spawn(1), Advance(0.5), *busy, *late),
        st.lists(busy, max_size=2),
        st.lists(late, min_size=1, max_size=3),
    )
    deaf_to_the_end = (Affliction(f.IgnoredEnd(), 0), Affliction(f.IgnoredEnd(), 1))
    afflictions = st.builds(lambda others: (*deaf_to_the_end, *others), st.one_of(st.just(()), each_of(_STUBBORN, 2)))
    endings = st.builds(
        attrs.evolve, ENDINGS, how=st.sampled_from(("raise", "return", "cancel", "interrupt")), settle=st.just(False)
    )
    return plans_of(specs, afflictions, steps, endings)
