"""What subscribers of the registry are told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from ...concurrency import Lagged
from ...registry import Numbered, Snapshot
from ..trace import Subscribed, SubscriberItem, Unsubscribed
from .invariant import Finding, invariant
from .members import Members
from .placed import Placed
from .story import Story

__all__ = ["no_gap_without_lagged", "snapshots_are_the_table"]


@invariant(23)
def no_gap_without_lagged(story: Story) -> Iterator[Finding]:
    """A subscriber gets a snapshot, then every event in the order it was published, numbered without a gap; where it
    fell behind, a ``Lagged`` that counts what it missed, and a new snapshot. What it was not late for it gets whole,
    and it hears of the end.
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
    elif item.seq > len(story.numbered) or story.numbered[item.seq - 1].event != item.event:
        yield Finding(f"that is not what was published as event {item.seq}", each)


def _has_all(story: Story, number: int, seq: int | None, last: Placed[Any]) -> Iterator[Finding]:
    ends = [end for end in story.all(Unsubscribed) if end.event.subscriber == number]
    for end in ends:
        if end.event.how == "ended" and seq != len(story.numbered):
            yield Finding(f"its feed ended behind event {seq} of {len(story.numbered)}", last, end)
    over = story.scope_exits.get("runtime")
    if over is not None and not ends:
        yield Finding("it never heard that the runtime is over", last, over)


@invariant(23)
def snapshots_are_the_table(story: Story) -> Iterator[Finding]:
    """A snapshot is what the events up to its number come to."""
    items = [Placed(each.index, each.event.item) for each in story.all(SubscriberItem)]
    snapshots = [Placed(each.index, each.event) for each in items if isinstance(each.event, Snapshot)]
    members, seq = Members(), 0
    for each in sorted(snapshots, key=lambda placed: placed.event.seq):
        for numbered in story.numbered[seq : each.event.seq]:
            members.take(numbered.event)
        seq = each.event.seq
        yield from _is_the_table(each, members)


def _is_the_table(each: Placed[Snapshot], members: Members) -> Iterator[Finding]:
    seq, instances = each.event.seq, each.event.instances
    if set(instances) != set(members):
        yield Finding(f"the instances of snapshot {seq} should be {sorted(members)}", each)
        return
    for name, entry in instances.items():
        for field, value in attrs.asdict(members[name], recurse=False).items():
            if getattr(entry, field) != value:
                yield Finding(f"{field} of {name} should be {value!r} in snapshot {seq}", each)
