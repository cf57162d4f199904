"""Traces of plans about connections, discoveries, runs and turns; and how each promise of theirs is seen to be broken."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from pi_trio.lifecycle import Ready, Unregistered
from pi_trio.registry import Criteria
from pi_trio.testing import trace as t
from pi_trio.testing.plans import (
    Acquire,
    Advance,
    Ask,
    Connect,
    CutOff,
    Discover,
    Drop,
    Exec,
    FailDiscovery,
    Plan,
    Prompt,
    RunSomewhere,
    Spawn,
    Step,
    Tell,
)
from pi_trio.testing.simulation import run_plan
from pi_trio.testing.trace import TraceEvent
from tests.testing.tales import SPEC, Edit, Tale, changed, is_, moved, twice, without

__all__ = ["BAD", "GOOD"]

_ROOMY = attrs.evolve(SPEC, health=None, max_concurrent=2)


def _tale(*steps: Step) -> Tale:
    tale = Tale(_ROOMY)
    tale.events = list(run_plan(Plan(seed=3, specs=(_ROOMY,), steps=steps)).events)
    return tale


def run_over_a_drop() -> Tale:
    """A run goes on where its connection is another one, and a request waits for that."""
    return _tale(
        Spawn(),
        Connect(),
        Advance(0.5),
        Prompt(tool=True, connection=0),
        Advance(0.15),
        Drop(seconds=2.0),
        Ask(),
        Advance(5.0),
    )


def found() -> Tale:
    """Two are found, one of them runs a prompt, the discovery fails once, and one is silent for a while."""
    return _tale(
        Spawn(),
        Spawn(),
        Discover(Tell(members=(0, 1))),
        Advance(1.2),
        RunSomewhere(Criteria(exclude=frozenset(("i0", "i1"))), attempts=5, wait=True),
        FailDiscovery(),
        Advance(3.0),
        CutOff(1, 12.0),
        Advance(16.0),
    )


def turns() -> Tale:
    """Shell commands one behind the other, the last of them given up; runs; leases of two that have room for two each."""
    return _tale(
        Spawn(),
        Spawn(),
        Exec(0, 0.2),
        Exec(0, 5.0, timeout=0.5),
        Prompt(),
        Prompt(),
        Advance(3.0),
        Acquire(target=0, seconds=5.0),
        Advance(0.1),
        Acquire(Criteria(exclude=frozenset(("i1",)))),
        Advance(0.1),
    )


def _in(text: bytes) -> Callable[[TraceEvent], bool]:
    return lambda event: isinstance(event, t.PipeWritten) and text in event.data


def _folds(kind: type) -> Callable[[TraceEvent], bool]:
    return lambda event: isinstance(event, t.Folded) and any(isinstance(each, kind) for each in event.events)


def _for_silence(event: TraceEvent) -> bool:
    return isinstance(event, t.Folded) and any(
        isinstance(each, Unregistered) and "unhealthy" in each.reason for each in event.events
    )


def _sends_prompt(event: TraceEvent) -> bool:
    return isinstance(event, t.LinkWritten) and b'"prompt"' in event.record


def _answers_prompt(event: TraceEvent) -> bool:
    return isinstance(event, t.LinkReceived) and b'"command":"prompt"' in event.record


GOOD: dict[str, Callable[[], Tale]] = {"run over a drop": run_over_a_drop, "found": found, "turns": turns}

BAD: list[tuple[str, str, Tale, tuple[Edit, ...]]] = [
    ("a_reply_is_what_was_said", "another text", run_over_a_drop(), (changed(is_(t.RunHeard), reply="Hm."),)),
    ("a_reply_is_what_was_said", "another piece", turns(), (changed(is_(t.RunHeard), pieces=("You", "said")),)),
    (
        "runs_outlive_connections",
        "it does not",
        run_over_a_drop(),
        (
            changed(is_(t.CallEnded, call=2), outcome="ConnectionLost"),
            moved(is_(t.CallEnded, call=2), is_(t.LinkOpened), before_nth=1),
        ),
    ),
    (
        "what_waits_is_limited",
        "for too long",
        run_over_a_drop(),
        (changed(is_(t.Connected), patience=0.3),),
    ),
    ("a_prompt_is_begun_once", "sent again", found(), (twice(_sends_prompt),)),
    (
        "who_refuses_is_not_the_last",
        "nobody else is asked",
        found(),
        (changed(is_(t.CallEnded, call=3), outcome="CommandFailed"), without(_answers_prompt)),
    ),
    ("members_are_what_discoveries_tell", "not told of", found(), (changed(is_(t.DiscoveryTold), 1, members=()),)),
    ("discoveries_are_run_again", "never", found(), (without(is_(t.DiscoveryTold), 1),)),
    ("the_far_are_watched", "another health", found(), (changed(is_(t.MemberAnswered), latency=None),)),
    ("the_silent_are_out", "not at all", found(), (without(_for_silence),)),
    (
        "strategies_are_followed",
        "not the least loaded",
        turns(),
        (changed(is_(t.LeaseAsked), criteria=Criteria()),),
    ),
    ("what_is_given_up_is_aborted", "nobody was told", turns(), (without(_in(b'"abort_bash"')),)),
    ("shell_commands_take_turns", "both at once", turns(), (changed(is_(t.CallEnded, call=4), at=60.0),)),
    ("runs_take_turns", "refused", turns(), (changed(is_(t.CallEnded, call=5), detail="already processing"),)),
    (
        "who_is_given_is_a_member",
        "given too early",
        turns(),
        (moved(is_(t.CallEnded, call=1), _folds(Ready)),),
    ),
]
