"""What subscribers of the registry are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...abc import ExitStatus
from ...concurrency import Lagged
from ...lifecycle import (
    Exited,
    Health,
    HealthChanged,
    InstanceEvent,
    InstanceState,
    ModelChanged,
    Ready,
    Registered,
    RestartScheduled,
    SessionChanged,
    StateChanged,
    Unregistered,
)
from ...registry import Numbered, Snapshot
from ..trace import Subscribed, SubscriberItem, Unsubscribed
from .invariant import Finding, invariant
from .placed import Placed
from .story import Story

__all__ = ["no_gap_without_lagged", "snapshots_are_the_table"]


@invariant(23)
def no_gap_without_lagged(story: Story) -> Iterator[Finding]:
    """A subscriber gets a snapshot, then every event in the order it was published, numbered without a gap; where it
    fell behind, a ``Lagged`` that counts what it missed, and a new snapshot. What it was not late for it gets whole.
    """
    for subscribed in story.all(Subscribed):
        yield from _follow(story, subscribed)


def _follow(story: Story, subscribed: Placed[Subscribed]) -> Iterator[Finding]:
    number = subscribed.event.subscriber
    seq: int | None = None
    lagged: int | None = None
    last: Placed[Any] = subscribed
    for each in story.all(SubscriberItem):
        if each.event.subscriber != number:
            continue
        item = each.event.item
        if isinstance(item, Snapshot):
            if seq is not None and item.seq != seq + (lagged or 0):
                yield Finding(f"snapshot {item.seq} behind {seq} with {lagged or 0} missed", last, each)
            seq, lagged = item.seq, None
        elif seq is None or lagged is not None:
            yield Finding("a snapshot belongs here", last, each)
        elif isinstance(item, Lagged):
            lagged = item.missed
            if item.missed < 1:
                yield Finding("it missed nothing, and is told so", each)
        else:
            yield from _is_published(story, seq, each, item)
            seq = item.seq
        last = each
    yield from _has_all(story, number, seq, last)


def _is_published(story: Story, seq: int, each: Placed[SubscriberItem], item: Numbered) -> Iterator[Finding]:
    if item.seq != seq + 1:
        yield Finding(f"event {item.seq} came behind {seq}", each)
    elif item.seq > len(story.published) or story.published[item.seq - 1].event.event != item.event:
        yield Finding(f"that is not what was published as event {item.seq}", each)


def _has_all(story: Story, number: int, seq: int | None, last: Placed[Any]) -> Iterator[Finding]:
    for end in story.all(Unsubscribed):
        if end.event.subscriber == number and end.event.how == "ended" and seq != len(story.published):
            yield Finding(f"its feed ended behind event {seq} of {len(story.published)}", last, end)


@invariant(23)
def snapshots_are_the_table(story: Story) -> Iterator[Finding]:
    """A snapshot is what the events up to its number come to."""
    tables: dict[int, Mapping[str, dict[str, Any]]] = {}
    for each in story.all(SubscriberItem):
        item = each.event.item
        if not isinstance(item, Snapshot):
            continue
        if item.seq not in tables:
            tables[item.seq] = _fold([placed.event.event for placed in story.published[: item.seq]])
        expected = tables[item.seq]
        if set(item.instances) != set(expected):
            yield Finding(f"the instances of snapshot {item.seq} should be {sorted(expected)}", each)
            continue
        for name, entry in item.instances.items():
            for field, value in expected[name].items():
                if getattr(entry, field) != value:
                    yield Finding(f"{field} of {name} should be {value!r} in snapshot {item.seq}", each)


# Written out here once more, so that the registry has a judge.
_CHANGES: dict[type, Callable[[Any], dict[str, Any]]] = {
    StateChanged: lambda event: {
        "state": event.state,
        "incarnation": event.incarnation,
        "reason": event.reason,
        "since": event.at,
        "restart_at": None,
    },
    Ready: lambda event: {"pid": event.pid, "session_id": event.session_id},
    Exited: lambda event: {"pid": None, "exit_status": event.status},
    HealthChanged: lambda event: {"health": event.health},
    RestartScheduled: lambda event: {"restart_at": event.at + event.delay},
    SessionChanged: lambda event: {"session_id": event.session_id},
    ModelChanged: lambda event: {"provider": event.provider, "model": event.model},
}


def _fold(events: list[InstanceEvent]) -> dict[str, dict[str, Any]]:
    """Each member's entry, as its events tell."""
    table: dict[str, dict[str, Any]] = {}
    for event in events:
        if isinstance(event, Registered):
            table[event.instance_id] = _new_entry(event)
        elif isinstance(event, Unregistered):
            table.pop(event.instance_id, None)
        elif event.instance_id in table:
            table[event.instance_id].update(_CHANGES[type(event)](event))
    return table


def _new_entry(event: Registered) -> dict[str, Any]:
    exit_status: ExitStatus | None = None
    return {
        "provider": event.provider,
        "model": event.model,
        "cwd": event.cwd,
        "state": InstanceState.STARTING,
        "health": Health.UNKNOWN,
        "incarnation": 0,
        "pid": None,
        "session_id": None,
        "exit_status": exit_status,
        "reason": "",
        "since": event.at,
        "restart_at": None,
    }
