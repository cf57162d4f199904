"""Ours against the baseline, as ratios of samples that were taken in turn."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence

import attrs

__all__ = ["Bar", "Comparison", "Measure", "compare", "in_turn", "percentile"]


@attrs.frozen
class Bar:
    """What a ratio must keep to."""

    limit: float
    at_least: bool = False
    """Whether the ratio must be at least the limit (rates), instead of at most (times)."""

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:.2f}"

    def met_by(self, ratio: float) -> bool:
        """Whether ``ratio`` keeps to it."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit


@attrs.frozen
class Comparison:
    """One line of the report."""

    measure: str
    unit: str
    ours: float
    """The median of our samples, in ``unit``."""
    baseline: float | None
    """The median of the baseline's; ``None`` where it has no such thing."""
    ratio: float | None = None
    """The median of the ratios of neighbouring samples: what slows both for a while does not change it."""
    bar: Bar | None = None
    """``None`` where the figure is for information only."""
    ratios: tuple[float, ...] = ()
    """One for each pair of samples, in the order they were taken."""

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; ``None`` without one."""
        return None if self.bar is None or self.ratio is None else self.bar.met_by(self.ratio)


@attrs.frozen
class Measure:
    """Something to measure, by the name that ``--only`` takes."""

    name: str
    run: Callable[[bool], Awaitable[list[Comparison]]]
    """Does it, quickly or thoroughly. Runs inside Trio."""


async def in_turn(
    rounds: int, ours: Callable[[], Awaitable[float]], baseline: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Take a sample of each, ``rounds`` times, after one of each that does not count.

    Who goes first changes every round: what one leaves behind in caches is not always the other's.
    """
    await ours()
    baseline()
    mine: list[float] = []
    theirs: list[float] = []
    for number in range(rounds):
        if number % 2:
            theirs.append(baseline())
            mine.append(await ours())
        else:
            mine.append(await ours())
            theirs.append(baseline())
    return mine, theirs


def compare(
    measure: str, unit: str, ours: Sequence[float], baseline: Sequence[float], bar: Bar | None = None
) -> Comparison:
    """Make the line of the report out of two equally long rows of samples."""
    ratios = tuple(mine / theirs for mine, theirs in zip(ours, baseline, strict=True))
    return Comparison(
        measure,
        unit,
        ours=statistics.median(ours),
        baseline=statistics.median(baseline),
        ratio=statistics.median(ratios),
        bar=bar,
        ratios=ratios,
    )


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that at least ``percent`` of all do not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
