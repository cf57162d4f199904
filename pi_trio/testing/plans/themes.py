"""Plans about one thing each.

Whatever is drawn from everything meets rarely: a crash is no test of a restart when nobody stays to see it, and a Pi that
ignores SIGTERM none of the grace period when nobody stops it. Here what belongs together comes together, and time passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from hypothesis import strategies as st

from ...launch import InstanceSpec
from ...lifecycle import BreakerPolicy, RestartType
from ...supervisor import Strategy
from .. import faults as f
from ..world import Fault
from .plan import Affliction, Plan
from .steps import (
    Acquire,
    Advance,
    Ask,
    Cancel,
    Connect,
    Drop,
    Ending,
    Exec,
    Interrupt,
    Kill,
    LeaveTree,
    Listen,
    OpenTree,
    Prompt,
    Report,
    Request,
    Spawn,
    Stall,
    Step,
    Stop,
    Subscribe,
    Unregister,
    Unsubscribe,
)
from .strategies import acquisitions, health_policies, restart_policies
from .strategies import specs as any_specs

__all__ = ["themes"]

_Specs = st.SearchStrategy[InstanceSpec]

_BOOL = st.booleans()
_FEW = st.integers(0, 2)
_ENDINGS = st.builds(
    Ending,
    how=st.sampled_from(("return", "return", "raise", "cancel", "interrupt")),
    settle=st.sampled_from((False, False, False, True)),
    impatient_after=st.sampled_from((None, None, 0.0, 0.3)),
    interrupts=st.sampled_from(((), (), (), (0.0, 0.1), (0.0, 0.1, 0.3))),
)
_EXITS = st.sampled_from((0, 1, "SIGKILL"))
_LAST_WORDS = st.sampled_from(("", "Error: out of memory\n", "no end"))


def themes(
    specs: _Specs | None = None, *, checkpoints: int = 30, strategies: Sequence[Strategy] = tuple(Strategy)
) -> tuple[st.SearchStrategy[Plan], ...]:
    """Plans about restarts, stops, health, supervision trees, requests, readers, leases, breakers, and many starts at
    once: a strategy for each.

    ``specs`` are the only ones that are used; by default, those that have something to do with the theme.
    """
    trees = _trees(_or(specs, start_timeout=_TO_START, restart=_RESTARTS, health=st.none()), strategies)
    return (
        _requests(_or(specs, start_timeout=_TO_START, restart=_RESTARTS, health=_MOSTLY_UNASKED)),
        trees,
        _restarts(_or(specs, start_timeout=_TO_START, restart=st.one_of(_RESTARTS, _NARROW), health=st.none())),
        _leases(_or(specs, start_timeout=_TO_START, restart=_RESTARTS, health=_TOLD, **_ROOMS)),
        _stops(_or(specs, grace_timeout=(0.05, 0.5, 2.0), drain_timeout=(0.05, 0.5, 2.0))),
        trees,  # there is much that can go wrong in them
        _health(_or(specs, start_timeout=_TO_START, restart=_RESTARTS, health=health_policies())),
        _breakers(_or(specs, start_timeout=_TO_START, restart=_RESTARTS, health=_TOLD, max_concurrent=(1, 1, 2))),
        _connections(_or(specs, start_timeout=_TO_START, restart=_RESTARTS, health=_MOSTLY_UNASKED)),
        _starts(_or(specs, start_timeout=(0.25, 1.0), restart=_RESTARTS), checkpoints),
    )


_ROOMS = {"max_concurrent": (1, 1, 2, 3), "region": (None, "north", "south")}
_RESTARTS = restart_policies(
    types=(RestartType.PERMANENT, RestartType.TRANSIENT, RestartType.PERMANENT, RestartType.TEMPORARY),
    intensity=(1, 2, 3, 8, 8),
    base=(0.1, 1.0),
    cap=(0.15, 2.0, 30.0),
    jitter=(0.0, 0.2, 1.0),
    reset_after=(0.5, 3.0, 30.0),
)
# Where one more restart, or a delay that is a little longer, makes the difference.
_NARROW = restart_policies(
    types=(RestartType.PERMANENT, RestartType.TRANSIENT),
    intensity=(2, 1, 3),
    period=(5.0, 2.0, 3.0),
    base=(1.0, 0.5),
    cap=(2.0, 30.0),
    jitter=(0.0, 0.2),
    reset_after=(30.0, 0.5),
)
# What is unhealthy is left as it is, for others to see.
_TOLD = st.one_of(
    st.none(),
    health_policies(period=(0.5,), timeout=(0.1,), misses=(1,), actions=("report",)),
    health_policies(period=(0.5,), timeout=(0.1,), misses=(1, 2), actions=("report", "restart")),
)
_MOSTLY_UNASKED = st.one_of(st.none(), st.none(), health_policies())
# One that has not the time to start is given up at once, and nothing is seen of it.
_TO_START = (1.0, 3.0)


def _or(specs: _Specs | None, **ranges: Any) -> _Specs:
    return any_specs(**ranges) if specs is None else specs


def _plans(
    specs: _Specs,
    afflictions: st.SearchStrategy[tuple[Affliction, ...]],
    steps: st.SearchStrategy[tuple[Step, ...]],
    ending: st.SearchStrategy[Ending] = _ENDINGS,
    least_specs: int = 1,
    **others: Any,
) -> st.SearchStrategy[Plan]:
    return st.builds(
        Plan,
        seed=st.integers(0, 2**32 - 1),
        specs=st.lists(specs, min_size=least_specs, max_size=3).map(tuple),
        afflictions=afflictions,
        steps=steps,
        ending=ending,
        pi=st.sampled_from(("0.87.1", "1.5.2")),
        sweeps=_BOOL,
        **others,
    )


def _in_a_row(faults: list[Fault]) -> tuple[Affliction, ...]:
    """One incarnation behind the other of the first instance has one of them."""
    return tuple(Affliction(fault, 0, number) for number, fault in enumerate(faults, 1))


def _each(fault: st.SearchStrategy[Fault], instances: int) -> st.SearchStrategy[tuple[Affliction, ...]]:
    """The first incarnation of each of so many instances, with one or two such faults."""
    return st.lists(
        st.builds(Affliction, fault, st.integers(0, instances - 1)), min_size=1, max_size=instances + 2
    ).map(tuple)


def _then(*first: Step, following: st.SearchStrategy[Step], most: int) -> st.SearchStrategy[tuple[Step, ...]]:
    return st.lists(following, min_size=1, max_size=most).map(lambda steps: (*first, *steps))


def _advance(*seconds: float) -> st.SearchStrategy[Step]:
    return st.builds(Advance, st.sampled_from(seconds))


_CRASHES = st.one_of(
    st.builds(f.Crash, st.sampled_from((0.3, 0.7, 2.0, 4.0)), _EXITS, _LAST_WORDS),
    st.builds(f.Crash, st.sampled_from((0.3, 0.7)), _EXITS),
    st.builds(f.CrashAtRecord, st.sampled_from((2, 5)), _EXITS, st.sampled_from((0.0, 0.5, 1.0))),
)
_BAD_STARTS = st.one_of(
    st.builds(f.HangingStart), st.builds(f.CrashAtRecord, st.just(1), _EXITS), st.builds(f.BadSpawn)
)


def _restarts(specs: _Specs) -> st.SearchStrategy[Plan]:
    """One instance crashes again and again, and there is time to see what becomes of it."""
    following = st.one_of(
        _advance(1.0, 3.0, 10.0, 30.0),
        _advance(3.0, 10.0),
        st.builds(Request, timeout=st.sampled_from((0.3, 5.0, None))),
        st.builds(Prompt),
        st.builds(Stop, wait=_BOOL),
        st.builds(Kill),
    )
    steps = _then(Spawn(), Exec(0, 60.0), Advance(30.0), following=following, most=5)
    following_faults = st.lists(st.one_of(_CRASHES, _CRASHES, _BAD_STARTS), min_size=2, max_size=8)
    faults = st.builds(lambda first, rest: [first, *rest], _CRASHES, following_faults)
    noise = st.sampled_from(((), (), (Affliction(f.Flood("stderr", 0.05, 0.1, 100)),)))
    return _plans(specs, st.builds(lambda row, more: _in_a_row(row) + more, faults, noise), steps)


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
    st.builds(f.Crash, st.sampled_from((0.6, 1.0)), _EXITS, st.just("Error: out of memory\n")),
    st.builds(f.Mute, st.integers(1, 10)),
    st.builds(
        f.Grandchild,
        st.sampled_from(("child", "setsid", "daemon")),
        holds_stdout=_BOOL,
        seconds=st.sampled_from((0.1, 0.3)),
        ignores_signals=_BOOL,
    ),
)


def _stops(specs: _Specs) -> st.SearchStrategy[Plan]:
    """Instances that do not want to end are ended, with requests in flight."""
    busy: st.SearchStrategy[Step] = st.one_of(
        st.builds(Prompt, _FEW, tool=_BOOL),
        st.builds(Request, _FEW, st.sampled_from(("get_state", "bash")), st.sampled_from((5.0, None))),
        st.builds(Exec, _FEW, st.sampled_from((0.2, 5.0)), st.sampled_from((None, 0.2))),
    )
    return st.one_of(_ended(specs, busy), _abandoned(specs, busy))


def _ended(specs: _Specs, busy: st.SearchStrategy[Step]) -> st.SearchStrategy[Plan]:
    """They are asked to end, one by one, before the runtime is over."""
    stop = st.builds(Stop, _FEW, force=_BOOL)
    moment = _advance(0.001, 0.1, 0.4, 1.0)
    interrupt = st.just(Interrupt())
    following = st.one_of(
        st.tuples(busy, stop, moment),
        st.tuples(busy, moment, st.builds(Stop, _FEW), busy, moment),
        st.tuples(st.builds(Stop, _FEW), moment, stop, moment),
        st.tuples(st.builds(Kill, _FEW), stop, moment),
        st.tuples(interrupt, interrupt, moment, st.builds(Spawn, _FEW)),
        st.tuples(st.builds(Stop, _FEW), moment, interrupt, moment),
    )
    steps = _flat(Spawn(0, wait=False), Spawn(1, wait=False), Spawn(2), Advance(0.5), following=following, most=5)
    return _plans(specs, _each(_STUBBORN, 3), steps)


def _abandoned(specs: _Specs, busy: st.SearchStrategy[Step]) -> st.SearchStrategy[Plan]:
    """They are there when the runtime's scope is left, and others are asked for at that very moment.

    All of them go on when stdin ends: only then is it seen whether they were given the time for that.
    """
    late = st.builds(Spawn, _FEW, wait=st.just(False))  # no time passes behind it
    steps = st.builds(
        lambda busy, late: (Spawn(0, wait=False), Spawn(1), Advance(0.5), *busy, *late),
        st.lists(busy, max_size=2),
        st.lists(late, min_size=1, max_size=3),
    )
    deaf_to_the_end = (Affliction(f.IgnoredEnd(), 0), Affliction(f.IgnoredEnd(), 1))
    afflictions = st.builds(lambda others: (*deaf_to_the_end, *others), st.one_of(st.just(()), _each(_STUBBORN, 2)))
    endings = st.builds(
        attrs.evolve, _ENDINGS, how=st.sampled_from(("raise", "return", "cancel", "interrupt")), settle=st.just(False)
    )
    return _plans(specs, afflictions, steps, endings)


def _health(specs: _Specs) -> st.SearchStrategy[Plan]:
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
        _advance(1.0, 3.0, 10.0),
        st.builds(Prompt),
        st.builds(Kill, signal=st.sampled_from(("SIGSTOP", "SIGCONT", "SIGKILL", "SIGKILL"))),
    )
    steps = _then(Spawn(), Advance(10.0), following=following, most=4)
    # Busy, not dead: it says other things than the answer.
    busy = st.just([f.LostResponses(2), f.Flood("stdout", 0.09, 0.09, 100)])
    return _plans(specs, st.one_of(st.lists(faults, min_size=1, max_size=2), busy).map(_on_the_first), steps)


def _on_the_first(faults: list[Fault]) -> tuple[Affliction, ...]:
    return tuple(Affliction(fault) for fault in faults)


def _trees(specs: _Specs, strategies: Sequence[Strategy]) -> st.SearchStrategy[Plan]:
    """A supervision tree whose children fall."""
    child = st.integers(0, 3)
    kill = st.builds(Kill, child)
    moment = _advance(0.05, 0.5, 1.0, 3.0)
    following = st.one_of(
        st.tuples(kill, moment),
        st.tuples(kill, _advance(0.5, 1.0), kill, _advance(0.5, 1.0), kill, _advance(1.0, 3.0)),
        st.tuples(kill, kill, moment),
        st.tuples(st.builds(Stop, child), moment),
        st.tuples(st.builds(Stop, child), kill, moment),
    )
    last: st.SearchStrategy[tuple[Step, ...]] = st.one_of(
        st.just(()), st.tuples(kill, st.builds(LeaveTree, raises=_BOOL)), st.tuples(st.builds(LeaveTree, raises=_BOOL))
    )
    opened = st.builds(
        OpenTree,
        st.lists(_FEW, min_size=2, max_size=4).map(tuple),
        st.sampled_from(strategies),
        st.sampled_from((2, 10, 10, 1, 0)),
        st.sampled_from((10.0, 1.0)),
        wait=_BOOL,
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
        # Some fall while those behind them have not been started.
        st.tuples(many, _advance(0.3, 0.6, 0.9), st.builds(Kill, st.integers(0, 1)), st.just(Advance(3.0))),
    )
    faults = st.one_of(
        _CRASHES, st.builds(f.SlowStart, st.sampled_from((0.1, 0.5))), st.builds(f.SlowDeath, st.just(0.4))
    )
    afflictions = st.lists(
        st.builds(Affliction, faults, st.integers(0, 3), st.sampled_from((2, 2, 1))), max_size=2
    ).map(tuple)
    steps = st.builds(
        lambda first, rest, last: (*first, *rest, *last, Advance(1.0)), first, _flat(following=following, most=5), last
    )
    return _plans(specs, afflictions, steps, least_specs=3)


def _requests(specs: _Specs) -> st.SearchStrategy[Plan]:
    """Much is asked of two instances, one of which answers strangely, and of those that read beside it."""
    faults = st.one_of(
        st.builds(f.DuplicatedResponses, st.sampled_from((1, 2))),
        st.builds(f.ResponsesOutOfOrder),
        st.builds(f.ResponsesOutOfOrder),
        st.builds(f.ResponsesWithoutId, st.sampled_from((2, 3))),
        st.builds(f.ResponsesWithoutId, st.sampled_from((2, 3))),
        st.builds(f.LostResponses, st.sampled_from((2, 3))),
        st.builds(f.LateResponses, st.sampled_from((0.01, 0.4, 2.0)), st.sampled_from((1, 2))),
        st.builds(f.SplitWrites, st.sampled_from((1, 7, 100))),
        st.builds(f.GarbageLines, st.sampled_from((1, 3))),
        st.builds(f.StopsReading, st.sampled_from((50, 300))),
        st.builds(f.CrashAtRecord, st.integers(2, 30), _EXITS, st.sampled_from((0.0, 0.5, 1.0))),
        _CRASHES,
    )
    target = st.integers(0, 1)
    timeout = st.sampled_from((0.0005, 0.3, 1.0, 5.0, None))
    single: st.SearchStrategy[Step] = st.one_of(
        st.builds(Request, target, st.sampled_from(_COMMANDS), timeout, wait=_BOOL),
        st.builds(Request, target, st.sampled_from(("bash", "no_such_command")), timeout),
        st.builds(Prompt, target, st.sampled_from((None, None, 3)), tool=_BOOL, wait=_BOOL),
        st.builds(Exec, target, st.sampled_from((0.2, 5.0)), st.sampled_from((None, 0.2))),
        st.builds(Cancel, _FEW),
        st.builds(Subscribe, st.sampled_from((1, 2, 5))),
        st.builds(Stall, _FEW, st.sampled_from((0.3, 3.0))),
        st.builds(Unsubscribe, _FEW),
    )
    large = st.builds(
        Request, target, timeout=st.sampled_from((0.3, 5.0)), padding_bytes=st.sampled_from((50_000, 100_000))
    )
    pause = _advance(0.0, 0.01, 0.3, 2.0)
    end: st.SearchStrategy[Step] = st.one_of(st.builds(Kill, target), st.builds(Kill, target), st.builds(Stop, target))
    following = st.one_of(
        st.tuples(single, single, pause),
        target.flatmap(lambda to: _alike(st.just(to), timeout)),
        st.tuples(large, large, pause),
        st.tuples(_LISTENING, st.builds(Prompt, st.just(0), tool=_BOOL), st.builds(Prompt, target), _advance(0.3, 2.0)),
        st.tuples(large, st.builds(Request, target, timeout=timeout), pause),
        st.tuples(large, large, st.builds(Stop, target), pause),
        st.tuples(single, end, st.builds(Request, target, timeout=timeout), pause),
        # While there is no Pi, and for as long as that takes.
        st.tuples(st.just(Kill()), _advance(0.05), st.builds(Request, timeout=timeout), single, _advance(0.3, 5.0)),
    )
    steps = _flat(Subscribe(2), Spawn(0, wait=False), Spawn(1), following=following, most=7)
    return _plans(specs, _each(faults, 2), steps.map(lambda steps: (*steps, Advance(2.0))))


_LISTENING = st.builds(Listen, st.just(0), st.sampled_from((1, 3, 10)), st.sampled_from((0.02, 0.1)))
_COMMANDS = ("get_state", "bash", "get_session_stats", "no_such_command")


def _alike(
    target: st.SearchStrategy[int], timeout: st.SearchStrategy[float | None]
) -> st.SearchStrategy[tuple[Step, ...]]:
    """Several want the same of one Pi, and at the same time."""
    return st.sampled_from(("get_state", "bash", "bash")).flatmap(
        lambda command: st.tuples(
            *[st.builds(Request, target, st.just(command), timeout) for _ in range(3)], _advance(0.01, 1.0)
        )
    )


_BREAKERS = st.builds(
    BreakerPolicy,
    failures=st.sampled_from((1, 2, 3)),
    reset_timeout=st.sampled_from((0.5, 2.0)),
    max_reset_timeout=st.sampled_from((3.0, 300.0)),
)


def _flat(
    *first: Step, following: st.SearchStrategy[tuple[Step, ...]], most: int
) -> st.SearchStrategy[tuple[Step, ...]]:
    """Some steps, and then some that come several at a time."""
    rests = st.lists(following, min_size=2, max_size=most)
    return rests.map(lambda rest: (*first, *(step for steps in rest for step in steps)))


def _leases(specs: _Specs) -> st.SearchStrategy[Plan]:
    """More leases are wanted of two instances than there is room for, and the instances go."""
    target = st.integers(0, 1)
    wanted = acquisitions()
    blow: st.SearchStrategy[Step] = st.one_of(
        st.builds(Kill, target), st.builds(Stop, target, force=_BOOL), st.builds(Unregister, target)
    )
    held = st.builds(Acquire, target=target, seconds=st.sampled_from((0.1, 2.0, 5.0)))
    following = st.one_of(
        st.tuples(wanted, wanted, wanted),
        st.tuples(wanted, acquisitions(uses=("hold", "prompt")), _advance(0.1, 0.5, 2.0)),
        st.tuples(held, held, _advance(0.0, 0.1), blow, _advance(0.1, 1.0, 6.0)),
        st.tuples(wanted, wanted, blow, wanted),
        st.tuples(st.builds(Cancel, _FEW), _advance(0.1, 2.0, 6.0)),
        st.tuples(st.builds(Subscribe, st.sampled_from((1, 2, 100))), st.builds(Stall, _FEW, st.just(3.0))),
    )
    steps = _flat(Subscribe(2), Spawn(0, wait=False), Spawn(1), following=following, most=6)
    faults = st.lists(st.builds(Affliction, st.one_of(_CRASHES, st.builds(f.IgnoredSigterm)), target), max_size=2)
    return _plans(specs, faults.map(tuple), steps, breaker=_BREAKERS)


def _breakers(specs: _Specs) -> st.SearchStrategy[Plan]:
    """One instance fails those who lease it, or does not answer, while others wait for it."""
    failing = acquisitions(uses=("break", "blame"), seconds=(0.0, 0.1))
    waiting = acquisitions(uses=("hold",), timeout=(None, 5.0), seconds=(0.1, 1.0))
    told = st.builds(Report, worked=st.sampled_from((False, False, False, False, True)))
    following = st.one_of(
        st.tuples(failing, waiting, _advance(0.1, 1.0)),
        st.tuples(failing, waiting, failing, waiting, failing, _advance(1.0, 5.0)),
        st.tuples(told, told, told, waiting, _advance(0.6, 2.5, 12.0)),
        st.tuples(told, waiting, _advance(0.4, 6.0, 30.0)),
        st.tuples(_advance(1.5), waiting, _advance(0.5)),
        st.tuples(
            told, st.builds(Acquire, target=st.just(0), seconds=st.just(5.0)), told, st.just(Kill()), _advance(3.0)
        ),
    )
    steps = _flat(Spawn(), following=following, most=6)
    silent = st.builds(f.Mute, st.sampled_from((1, 2, 3, 5)))
    faults = st.one_of(st.builds(Affliction, silent).map(lambda one: (one,)), st.just(()))
    return st.one_of(_plans(specs, faults, steps, breaker=_BREAKERS), _probed_in_vain(specs, waiting))


def _probed_in_vain(specs: _Specs, waiting: st.SearchStrategy[Step]) -> st.SearchStrategy[Plan]:
    """One instance lives and answers nothing, for as long as several probes take; then it may come to itself."""
    hushed: st.SearchStrategy[Fault] = st.one_of(
        st.builds(f.Mute, st.sampled_from((1, 2))), st.builds(f.Stopped, st.just(0.4), st.sampled_from((None, 20.0)))
    )
    following = st.one_of(
        st.tuples(st.just(Report()), waiting, _advance(6.0, 12.0, 30.0)),
        st.tuples(st.just(Kill(signal="SIGCONT")), waiting, _advance(6.0, 12.0)),
    )
    failed = (Report(),) * 3  # whatever the policy says, it is open then
    steps = _flat(Spawn(), Advance(1.0), *failed, Advance(30.0), following=following, most=3)
    # With these the limit cuts one of the first three openings short.
    policies = st.builds(
        BreakerPolicy,
        failures=st.sampled_from((1, 2, 3)),
        reset_timeout=st.sampled_from((2.0, 0.5)),
        max_reset_timeout=st.sampled_from((3.0, 1.5, 0.75)),
    )
    return _plans(specs, hushed.map(lambda fault: (Affliction(fault),)), steps, breaker=policies)


def _drops(connection: int) -> st.SearchStrategy[tuple[Step, ...]]:
    """What befalls one connection."""
    ask = st.builds(Ask, st.just(connection), st.sampled_from((0.5, 5.0, None, 0.01)))
    drop = st.builds(Drop, st.just(connection), st.sampled_from((0.0, 0.0, 0.3, 3.0)))
    moment = _advance(0.01, 0.003, 0.0, 0.03)
    while_long = _advance(0.3, 2.0, 2.0)
    prompt = st.builds(Prompt, tool=_BOOL)
    return st.one_of(
        st.tuples(ask, ask, moment, drop, ask, while_long),
        st.tuples(ask, ask, moment, ask, moment, drop, while_long, drop, ask, while_long),
        st.tuples(prompt, _advance(0.05, 0.3), drop, _advance(0.05, 0.3), ask, while_long),
        st.tuples(drop, prompt, ask, ask, moment, st.builds(Cancel, _FEW), while_long),
        st.tuples(drop, moment, drop, _advance(0.3, 31.0)),
        st.tuples(ask, st.builds(Kill), ask, while_long),
        st.tuples(prompt, ask, st.builds(Stop), ask, while_long),
    )


def _connections(specs: _Specs) -> st.SearchStrategy[Plan]:
    """Much is asked over links that drop."""
    following = st.one_of(_drops(0), _drops(1))
    connect = st.builds(Connect, attempts=st.sampled_from((10, 10, 2)))
    steps = st.builds(
        lambda one, other, rest: (Spawn(), one, other, Advance(0.5), *rest, Advance(3.0)),
        connect,
        connect,
        _flat(following=following, most=5),
    )
    faults = st.one_of(
        st.just(()),
        st.builds(f.LateResponses, st.sampled_from((0.05, 0.4)), st.sampled_from((1, 2))).map(lambda one: [one]),
        st.builds(f.ResponsesOutOfOrder).map(lambda one: [one]),
    )
    return _plans(specs, faults.map(lambda some: _on_the_first(list(some))), steps)


def _starts(specs: _Specs, checkpoints: int) -> st.SearchStrategy[Plan]:
    """Many are asked for at once, some of them start badly or are given up, and there is not room for all."""
    faults = st.one_of(
        st.builds(f.BadSpawn, st.sampled_from(("EAGAIN", "ENOENT", "ENOSPC"))),
        st.builds(f.SlowSpawn, st.sampled_from((0.05, 0.4, 2.0))),
        st.builds(f.SlowStart, st.sampled_from((0.05, 0.4, 2.0))),
        st.builds(f.HangingStart),
        st.builds(f.Crash, st.just(0.0), _EXITS, _LAST_WORDS),
        st.builds(f.CrashAtRecord, st.just(1), _EXITS, st.sampled_from((0.0, 1.0))),
        st.builds(f.IgnoredSigterm),
    )
    cancel_at = st.none() if checkpoints == 0 else st.one_of(st.none(), st.none(), st.integers(1, checkpoints))
    spawns = st.lists(
        st.builds(Spawn, _FEW, wait=st.sampled_from((False, False, False, True)), cancel_at=cancel_at),
        min_size=2,
        max_size=8,
    )
    stop = st.builds(Stop, st.integers(0, 5), wait=st.just(False))
    following: st.SearchStrategy[tuple[Step, ...]] = st.one_of(
        st.tuples(stop, stop, _advance(0.1, 1.0)),
        st.tuples(st.builds(Spawn, _FEW, wait=st.just(False)), _advance(0.0, 0.001, 0.1), stop, _advance(1.0)),
        st.tuples(st.builds(Cancel, st.integers(0, 5)), _advance(0.001, 0.1)),
        st.tuples(st.builds(Spawn, _FEW, wait=_BOOL)),
        st.tuples(st.builds(Request, st.integers(0, 5), timeout=st.sampled_from((0.3, None))), _advance(0.1, 1.0)),
    )
    steps = st.builds(lambda first, rest: (*first, *rest), spawns, _flat(following=following, most=5))
    return _plans(
        specs,
        _each(faults, 6),
        steps,
        st.builds(attrs.evolve, _ENDINGS, cancel_at=cancel_at),
        max_instances=st.sampled_from((64, 3, 2)),
        max_starting=st.sampled_from((4, 2, 1)),
    )
