"""What a model call took: tokens and dollars."""

from __future__ import annotations

import attrs

from .convert import Wire

__all__ = ["Cost", "Usage"]


@attrs.frozen
class Cost(Wire):
    """US dollars."""

    input: float = 0.0
    output: float = 0.0
    cache_read: float = 0.0
    cache_write: float = 0.0
    total: float = 0.0
    total_from_provider: bool | None = None
    """Whether the provider said ``total``, or Pi made it of prices (since 1.5). ``None`` in a sum."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            input=self.input + other.input,
            output=self.output + other.output,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            total=self.total + other.total,
        )


@attrs.frozen
class Usage(Wire):
    """Tokens of one model call, and what they cost."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    total_tokens: int = 0
    cost: Cost = attrs.field(factory=Cost)
    reasoning: int | None = None
    """Part of ``output`` already; ``None`` where the provider does not tell."""
    cache_write_1h: int | None = None
    """Part of ``cache_write`` already: what is kept for an hour. Only Anthropic tells."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input=self.input + other.input,
            output=self.output + other.output,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            total_tokens=self.total_tokens + other.total_tokens,
            cost=self.cost + other.cost,
            reasoning=_sum_of_known(self.reasoning, other.reasoning),
            cache_write_1h=_sum_of_known(self.cache_write_1h, other.cache_write_1h),
        )


def _sum_of_known(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)
