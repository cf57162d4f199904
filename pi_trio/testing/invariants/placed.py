"""An event in its place: what is before what, which times alone cannot tell."""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

__all__ = ["EPSILON", "Placed"]

EPSILON = 1e-6
"""Two instants closer than that are one: the clock adds floats."""

T_co = TypeVar("T_co", covariant=True)


@attrs.frozen
class Placed(Generic[T_co]):
    """An event, and its place in the trace."""

    index: int
    event: T_co
