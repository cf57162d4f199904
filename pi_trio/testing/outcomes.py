"""How a body, or a call, came to its end: in a word, as a trace has it."""

from __future__ import annotations

import trio

__all__ = ["BodyRaised", "how_it_ended"]


class BodyRaised(Exception):
    """What the body of a plan raises, where the plan says so."""


def how_it_ended(error: BaseException | None) -> str:
    """In a word, as a trace has it."""
    if error is None:
        return "returned"
    if isinstance(error, BaseExceptionGroup):
        hows = sorted({how_it_ended(each) for each in error.exceptions})
        return hows[0] if len(hows) == 1 else f"{type(error).__name__} of {', '.join(hows)}"
    return "cancelled" if isinstance(error, trio.Cancelled) else type(error).__name__
