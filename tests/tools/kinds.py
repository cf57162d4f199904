"""Types that a tool may take, for the tests: at the module's level, where annotations find them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NewType, NotRequired, TypedDict

import attrs


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


UserId = NewType("UserId", int)


@attrs.frozen
class Point:
    """Where it is.

    Attributes:
        x: to the right.
    """

    x: float
    y: float = 0.0


@dataclass(frozen=True)
class Line:
    start: Point
    points: list[Point] = field(default_factory=list)
    colour: Colour = Colour.RED


class Options(TypedDict):
    """How to do it."""

    depth: int
    names: NotRequired[dict[str, list[str]]]


@attrs.frozen
class Even:
    value: int = attrs.field()

    @value.validator
    def _even(self, _attribute: object, value: int) -> None:
        if value % 2:
            raise ValueError(f"{value} is odd")


async def everything(
    text: str,
    number: float,
    whole: int,
    flag: bool,
    nothing: None,
    anything: Any,
    choice: Literal["a", 1],
    colour: Colour,
    level: Level,
    user: UserId,
    texts: list[str],
    pair: tuple[float, str],
    many: tuple[int, ...],
    unique: set[str],
    table: dict[str, list[int]],
    free: dict[str, Any],
    line: Line,
    options: Options,
    either: int | str | Point,
    described: Annotated[str, "In English."],
    maybe: str | None = None,
    count: int = 3,
    default_colour: Colour = Colour.BLUE,
) -> str:
    """Take one of everything.

    Args:
        text: what to say.
        maybe: perhaps.
    """
    return repr(dict(sorted(locals().items())))


EVERYTHING: dict[str, Any] = {
    "text": "grün \N{PILE OF POO}",
    "number": 5,
    "whole": 7,
    "flag": True,
    "nothing": None,
    "anything": {"a": [1, None]},
    "choice": 1,
    "colour": "blue",
    "level": 2,
    "user": 12,
    "texts": ["a", "b"],
    "pair": [1.5, "x"],
    "many": [1, 2, 3],
    "unique": ["a"],
    "table": {"k": [1]},
    "free": {"a": 1, "b": "x"},
    "line": {"start": {"x": 1}, "points": [{"x": 1, "y": 2}]},
    "options": {"depth": 1, "names": {"k": ["v"]}},
    "either": {"x": 3},
    "described": "yes",
}
"""Arguments for :func:`everything` that fit."""

TAKEN: dict[str, Any] = {
    **EVERYTHING,
    "number": 5.0,
    "colour": Colour.BLUE,
    "level": Level.HIGH,
    "pair": (1.5, "x"),
    "many": (1, 2, 3),
    "unique": {"a"},
    "line": Line(Point(1.0), [Point(1.0, 2.0)]),
    "either": Point(3.0),
    "maybe": None,
    "count": 3,
    "default_colour": Colour.BLUE,
}
"""What the function gets of them."""
