"""The results, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

import attrs
from rich.console import Console
from rich.table import Table

from .comparison import Comparison

__all__ = ["as_json", "show"]


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def show(comparisons: Sequence[Comparison]) -> None:
    """Print the table."""
    table = Table("measure", "unit", *_RIGHT)
    for column in table.columns[2:]:
        column.justify = "right"
    for each in comparisons:
        table.add_row(
            each.measure,
            each.unit,
            _figure(each.ours),
            _figure(each.baseline),
            "-" if each.ratio is None else f"{each.ratio:.3f}",
            "-" if each.bar is None else str(each.bar),
            {True: "yes", False: "NO", None: "-"}[each.met],
        )
    Console(width=120).print(table)


_RIGHT = ("ours", "baseline", "ratio", "bar", "met")


def as_json(comparisons: Sequence[Comparison], *, pi_version: str | None) -> str:
    """The same with every ratio in it, as JSON."""
    lines = [{**attrs.asdict(each), "met": each.met} for each in comparisons]
    return json.dumps({"pi": pi_version, "comparisons": lines}, indent=2) + "\n"
