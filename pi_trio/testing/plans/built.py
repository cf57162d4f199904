"""Values whose fields are drawn from ranges, all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

__all__ = ["built"]

T = TypeVar("T")


def built(make: Callable[..., T], **ranges: Sequence[Any]) -> st.SearchStrategy[T]:
    """Call ``make`` with a value from each of the ``ranges``, which have at most 256; early ones are the simple ones.

    What ``st.builds`` with an ``st.sampled_from`` for each makes, in one draw instead of two for each field: a byte for
    each field, which Hypothesis draws evenly and shrinks to 0. Drawing took a third of the time of a check.
    """
    count = len(ranges)

    def choose(choices: bytes) -> T:
        return make(
            **{
                name: values[choice % len(values)]
                for (name, values), choice in zip(ranges.items(), choices, strict=True)
            }
        )

    return st.binary(min_size=count, max_size=count).map(choose)
