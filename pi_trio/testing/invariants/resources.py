"""What there is a limited number of: ports, slots, leases, descriptors, tasks, threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...lifecycle import Unregistered
from ..trace import Counted, PipeOpened, ResourceAcquired, ResourceReleased
from .invariant import Finding, invariant
from .placed import Placed
from .story import Story

__all__ = ["counts_return_to_their_baseline", "resources_have_one_holder"]


@invariant(21)
def resources_have_one_holder(story: Story) -> Iterator[Finding]:
    """A resource is handed to one holder at a time (or to as many as its limit says), given back exactly once, only
    when its holder's tree is empty where it is bound to one, and none is held when the runtime's scope has exited.
    """
    held: dict[str, dict[str, Placed[ResourceAcquired]]] = {}
    moves: list[Placed[Any]] = [*story.all(ResourceAcquired), *story.all(ResourceReleased)]
    moves += [each for each in story.numbered if isinstance(each.event, Unregistered)]
    over = story.scope_exits.get("runtime")
    for each in sorted(moves, key=lambda move: move.index):
        event = each.event
        if isinstance(event, ResourceAcquired):
            holders = held.setdefault(event.resource, {})
            if event.holder in holders or len(holders) >= event.limit:
                yield Finding(f"{event.resource} had {len(holders)} holders already", *holders.values(), each)
            holders[event.holder] = Placed(each.index, event)
        elif isinstance(event, ResourceReleased):
            former = held.get(f"{event.resource}, which was unregistered", {})
            if former.pop(event.holder, None) is None and held.get(event.resource, {}).pop(event.holder, None) is None:
                yield Finding(f"{event.resource} was given back by somebody who did not hold it", each)
            yield from _given_back_early(story, Placed(each.index, event))
        else:  # a lease of one that is no member any more is nothing to whoever comes after it by that name
            former = held.pop(f"lease of {event.instance_id}", {})
            held.setdefault(f"lease of {event.instance_id}, which was unregistered", {}).update(former)
    for resource, holders in held.items():
        if over is not None and holders:
            yield Finding(f"{resource} was still held when the runtime was over", *holders.values(), over)


def _given_back_early(story: Story, released: Placed[ResourceReleased]) -> Iterator[Finding]:
    """A holder that is called like an instance holds it for the instance's tree."""
    for life in story.lives:
        if life.instance == released.event.holder and any(each.lives_at(released.index) for each in life.launches):
            yield Finding(f"{released.event.resource} was given back while {life.instance} lived", released)


@invariant(24)
def counts_return_to_their_baseline(story: Story) -> Iterator[Finding]:
    """Descriptors, threads and tasks are back at their baseline when the scope has exited; each pipe that was opened
    was closed.
    """
    counted = story.all(Counted)
    before = next((each for each in counted if each.event.when == "before"), None)
    after = next((each for each in counted if each.event.when == "after"), None)
    if before is not None and after is not None:
        for name in ("tasks", "descriptors", "threads"):
            if getattr(before.event, name) != getattr(after.event, name):
                yield Finding(f"the number of {name} is another than before", before, after)
    over = story.scope_exits.get("runtime")
    closed = {(launch.life.instance, launch.number, pipe) for launch in story.launches for pipe in launch.closed}
    for opened in story.all(PipeOpened):
        key = (opened.event.instance, opened.event.incarnation, opened.event.pipe)
        if over is not None and key not in closed:
            yield Finding(f"{opened.event.pipe} was never closed", opened, over)
