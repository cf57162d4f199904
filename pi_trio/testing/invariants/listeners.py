"""What those are told who read a Pi's events slowly."""

from __future__ import annotations

from collections.abc import Iterator

from ..trace import Heard, Listened
from .invariant import Finding, invariant
from .placed import Placed
from .story import Story

__all__ = ["slow_readers_are_told"]


@invariant(23)
def slow_readers_are_told(story: Story) -> Iterator[Finding]:
    """A reader of a Pi's events who falls behind loses the oldest, is told how many there were, and gets all the others
    in order.
    """
    for listened in story.all(Listened):
        life = story.life(listened.event.instance)
        if life is None:
            continue
        said = [record for batch in life.delivered for record in batch.event.records]
        # Others may have been given some already when the first for this one came, or not yet.
        earliest = sum(len(batch.event.records) for batch in life.delivered if batch.index < listened.index)
        heard = [each for each in story.all(Heard) if each.event.listener == listened.event.listener]
        wrong = [_first_wrong(said, start, heard) for start in range(earliest, len(said) + 1)]
        if None not in wrong:
            furthest = max((each for each in wrong if each is not None), key=lambda each: each.index, default=listened)
            yield Finding("that is not what came next", listened, furthest)


def _first_wrong(said: list[str], position: int, heard: list[Placed[Heard]]) -> Placed[Heard] | None:
    """What was heard first that is not what was said, to one who listens from there on."""
    for each in heard:
        if each.event.record is not None:
            if position >= len(said) or said[position] != each.event.record:
                return each
            position += 1
        elif each.event.ended and position != len(said):
            return each
        position += each.event.missed
    return None
