"""Plans about requests, and who reads beside them."""

from __future__ import annotations

from hypothesis import strategies as st

from ... import faults as f
from ..plan import Plan
from ..steps import (
    Advance,
    Cancel,
    Exec,
    Kill,
    Listen,
    Prompt,
    Request,
    Spawn,
    Stall,
    Step,
    Stop,
    Subscribe,
    Unsubscribe,
)
from .parts import BOOL, CRASHES, EXITS, FEW, Specs, advance, each_of, flat, plans_of

__all__ = ["requests"]


def requests(specs: Specs) -> st.SearchStrategy[Plan]:
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
        st.builds(f.CrashAtRecord, st.integers(2, 30), EXITS, st.sampled_from((0.0, 0.5, 1.0))),
        CRASHES,
    )
    target = st.integers(0, 1)
    timeout = st.sampled_from((0.0005, 0.3, 1.0, 5.0, None))
    single: st.SearchStrategy[Step] = st.one_of(
        st.builds(Request, target, st.sampled_from(_COMMANDS), timeout, wait=BOOL),
        st.builds(Request, target, st.sampled_from(("bash", "no_such_command")), timeout),
        st.builds(Prompt, target, st.sampled_from((None, None, 3)), tool=BOOL, wait=BOOL),
        st.builds(Exec, target, st.sampled_from((0.2, 5.0)), st.sampled_from((None, 0.2))),
        st.builds(Cancel, FEW),
        st.builds(Subscribe, st.sampled_from((1, 2, 5))),
        st.builds(Stall, FEW, st.sampled_from((0.3, 3.0))),
        st.builds(Unsubscribe, FEW),
    )
    large = st.builds(
        Request, target, timeout=st.sampled_from((0.3, 5.0)), padding_bytes=st.sampled_from((50_000, 100_000))
    )
    pause = advance(0.0, 0.01, 0.3, 2.0)
    end: st.SearchStrategy[Step] = st.one_of(st.builds(Kill, target), st.builds(Kill, target), st.builds(Stop, target))
    following = st.one_of(
        st.tuples(single, single, pause),
        _alike(target, timeout),
        st.tuples(large, large, pause),
        st.tuples(_LISTENING, st.builds(Prompt, st.just(0), tool=BOOL), st.builds(Prompt, target), advance(0.3, 2.0)),
        st.tuples(large, st.builds(Request, target, timeout=timeout), pause),
        st.tuples(large, large, st.builds(Stop, target), pause),
        st.tuples(single, end, st.builds(Request, target, timeout=timeout), pause),
        # While there is no Pi, and for as long as that takes.
        st.tuples(st.just(Kill()), advance(0.05), st.builds(Request, timeout=timeout), single, advance(0.3, 5.0)),
    )
    steps = flat(Subscribe(2), Spawn(0, wait=False), Spawn(1), following=following, most=7)
    return plans_of(specs, each_of(faults, 2), steps.map(lambda steps: (*steps, Advance(2.0))))


_LISTENING = st.builds(Listen, st.just(0), st.sampled_from((1, 3, 10)), st.sampled_from((0.02, 0.1)))
_COMMANDS = ("get_state", "bash", "get_session_stats", "no_such_command")


def _alike(
    target: st.SearchStrategy[int], timeout: st.SearchStrategy[float | None]
) -> st.SearchStrategy[tuple[Step, ...]]:
    """Several want the same of one Pi, and at the same time."""

    def make(to: int, command: str, timeouts: tuple[float | None, ...], pause: Step) -> tuple[Step, ...]:
        return (*(Request(to, command, timeout) for timeout in timeouts), pause)

    commands = st.sampled_from(("get_state", "bash", "bash"))
    return st.builds(make, target, commands, st.tuples(timeout, timeout, timeout), advance(0.01, 1.0))
