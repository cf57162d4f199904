"""What is known of the instances, folded from their events."""

from __future__ import annotations

from functools import reduce
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.abc import ExitStatus
from pi_trio.lifecycle import Exited, InstanceEvent, InstanceState, Ready, Registered, StateChanged
from pi_trio.registry import Entry, fold
from tests.registry.strategies import instance_events

S = InstanceState

KILLED = ExitStatus(signal="SIGKILL")

A_LIFE: list[tuple[InstanceEvent, dict[str, Any]]] = [
    (
        Registered("a", 1.0, provider="p", model="m", cwd="/w"),
        {"provider": "p", "model": "m", "cwd": "/w", "state": S.STARTING, "incarnation": 0, "since": 1.0},
    ),
    (StateChanged("a", 2.0, state=S.STARTING, incarnation=1), {"incarnation": 1, "since": 2.0}),
    (StateChanged("a", 3.0, state=S.RUNNING, incarnation=1), {"state": S.RUNNING, "since": 3.0}),
    (Ready("a", 3.5, incarnation=1, pid=42, session_id="s", start_seconds=1.5), {"pid": 42, "session_id": "s"}),
    (Exited("a", 4.0, incarnation=1, status=KILLED, requested=False), {"pid": None, "exit_status": KILLED}),
    (
        StateChanged("a", 5.0, state=S.BACKING_OFF, incarnation=1, reason="it died"),
        {"state": S.BACKING_OFF, "reason": "it died", "since": 5.0},
    ),
    (
        StateChanged("a", 6.0, state=S.STARTING, incarnation=2),
        {"state": S.STARTING, "incarnation": 2, "reason": "", "since": 6.0},
    ),
]


def fold_all(events: list[InstanceEvent]) -> dict[str, Entry]:
    return reduce(fold, events, {})


def test_each_event_changes_what_it_tells_and_nothing_else() -> None:
    table: dict[str, Entry] = {}
    expected: dict[str, Any] = {}
    for event, change in A_LIFE:
        table = fold(table, event)
        expected |= change
        assert list(table) == ["a"]
        entry = attrs.asdict(table["a"], recurse=False)
        assert {name: entry[name] for name in expected} == expected
        untold = set(entry) - set(expected) - {"instance_id"}
        defaults = attrs.asdict(Entry("a", None, None, ""), recurse=False)
        assert {name: entry[name] for name in untold} == {name: defaults[name] for name in untold}


@pytest.mark.parametrize("event", [event for event, _ in A_LIFE[1:]], ids=lambda event: type(event).__name__)
def test_what_was_never_registered_stays_unknown(event: InstanceEvent) -> None:
    table = fold({}, Registered("b", 0.0))

    assert fold(table, event) == table


def test_an_instance_registered_anew_starts_anew() -> None:
    table = fold_all([event for event, _ in A_LIFE])

    again = fold(table, Registered("a", 9.0, provider="q", model=None, cwd="/x"))

    assert again == {"a": Entry("a", "q", None, "/x", since=9.0)}


def test_entries_cannot_be_changed() -> None:
    table = fold({}, Registered("a", 0.0))

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        table["a"].pid = 1  # type: ignore[misc]


@given(st.lists(instance_events), instance_events)
def test_folding_is_pure(events: list[InstanceEvent], event: InstanceEvent) -> None:
    table = fold_all(events)
    copy = dict(table)
    frozen = MappingProxyType(table)  # a fold that wrote into it would raise

    once, twice = fold(frozen, event), fold(frozen, event)

    assert once == twice
    assert once is not table
    assert table == copy
    assert all(once[name] is table[name] for name in table if name != event.instance_id), "the others are untouched"


@given(st.lists(instance_events))
def test_instances_do_not_influence_each_other(events: list[InstanceEvent]) -> None:
    together = fold_all(events)
    apart: dict[str, Entry] = {}
    for name in {event.instance_id for event in events}:
        apart |= fold_all([event for event in events if event.instance_id == name])

    assert together == apart
