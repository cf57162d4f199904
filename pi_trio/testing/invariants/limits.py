"""How many instances there may be."""

from __future__ import annotations

from collections.abc import Iterator

from ..trace import Limited
from .invariant import Finding, invariant
from .story import Story

__all__ = ["instances_are_limited"]


@invariant(21)
def instances_are_limited(story: Story) -> Iterator[Finding]:
    """No more instances are alive than ``max_instances`` says; and nobody is refused one while there is room."""
    limit = next((each.event.max_instances for each in story.all(Limited)), None)
    if limit is None:
        return
    for life in story.lives:
        others = [each for each in story.lives if each is not life and each.lives_at(life.registered)]
        if len(others) >= limit:
            yield Finding(f"there were {len(others)} already, of at most {limit}", life.published[0])
    for started, ends in story.calls.values():
        for end in ends:
            if end.event.outcome != "MaxInstancesError":
                continue
            alive = sum(each.lives_at(end.index) for each in story.lives)
            # Those that were let in and have not been announced: each is behind a call that goes on.
            coming = sum(
                other.event.what in ("spawn", "open_supervisor")
                and other.index < end.index
                and not any(each.index < end.index for each in results)
                for other, results in story.calls.values()
                if other.event.call != started.event.call
            )
            # A tree has stopped its children by the time it says why there is no room for another.
            mine = [
                each for each in story.lives if each.tree is not None and started.index < each.registered < end.index
            ]
            own = 0 if started.event.what == "spawn" else max(1, sum(not each.lives_at(end.index) for each in mine))
            if alive + coming + own < limit:
                yield Finding(f"there were only {alive} of at most {limit}", started, end)
