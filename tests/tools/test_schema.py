"""Types to JSON schema."""

from __future__ import annotations

import datetime as dt
import enum
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, Optional, TypeVar, Union

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio import Tool, ToolSpecError
from pi_trio.tools.schema import schema_of
from tests.tools.kinds import Colour, Level, Line, Options, Point, UserId, everything

T = TypeVar("T")


@attrs.define
class Unhashable:
    """It can change, and is equal to others like it."""

    x: int


POINT = {
    "type": "object",
    "properties": {
        "x": {"type": "number", "description": "to the right."},
        "y": {"type": "number", "default": 0.0},
    },
    "additionalProperties": False,
    "required": ["x"],
    "description": "Where it is.",
}


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Any, {}),
        (UserId, {"type": "integer"}),
        (Annotated[int, "How many.", ...], {"type": "integer", "description": "How many."}),
        (Annotated[int, ...], {"type": "integer"}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (
            Literal["a", 1, None],  # noqa: PYI061
            {"type": ["integer", "null", "string"], "enum": ["a", 1, None]},
        ),
        (Colour, {"type": "string", "enum": ["red", "blue"]}),
        (Level, {"type": "integer", "enum": [1, 2]}),
        (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045
        (Union[int, str], {"anyOf": [{"type": "integer"}, {"type": "string"}]}),  # noqa: UP007
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (list, {"type": "array", "items": {}}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (Sequence[str], {"type": "array", "items": {"type": "string"}}),
        (set[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
        (frozenset[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
        (tuple, {"type": "array", "items": {}}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (tuple[()], {"type": "array", "minItems": 0, "maxItems": 0}),
        (tuple[int, int], {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "integer"}}),
        (
            tuple[int, str],
            {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            },
        ),
        (dict, {"type": "object"}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Mapping[str, Any], {"type": "object", "additionalProperties": {}}),
        (Point, POINT),
        (
            Line,
            {
                "type": "object",
                "properties": {
                    "start": POINT,
                    "points": {"type": "array", "items": POINT},
                    "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                },
                "additionalProperties": False,
                "required": ["start"],
            },
        ),
        (
            Options,
            {
                "type": "object",
                "properties": {
                    "depth": {"type": "integer"},
                    "names": {
                        "type": "object",
                        "additionalProperties": {"type": "array", "items": {"type": "string"}},
                    },
                },
                "additionalProperties": False,
                "required": ["depth"],
                "description": "How to do it.",
            },
        ),
    ],
    ids=str,
)
def test_a_type_has_its_schema(kind: Any, schema: dict[str, Any]) -> None:
    assert schema_of(kind, "x") == schema


@attrs.frozen
class Node:
    children: list[Node]


@attrs.frozen
class Odd:
    when: dt.datetime


@attrs.frozen
class Lost:
    what: Nowhere  # type: ignore[name-defined]  # noqa: F821


@attrs.frozen
class Box(Generic[T]):
    inside: T


class Empty(enum.Enum):
    pass


class Weird(enum.Enum):
    ONE = (1, 2)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (bytes, "x: bytes has no JSON schema"),
        (complex | int, "x: complex"),
        (list[object], r"x\[\]: object"),
        (dict[int, str], "x: the keys of a JSON object are strings, not int"),
        (dict[str, bytes], r"x\{\}: bytes"),
        (Node, "x.children.*Node contains itself"),
        (Odd, "x.when: datetime"),
        (Lost, "x: an annotation of Lost cannot be resolved.*Nowhere"),
        (Box[int], "x: .*Box.int. is a generic class"),
        (Empty, "x: the values must be"),
        (Weird, "x: the values must be"),
        (tuple[int, bytes], r"x\[1\]: bytes"),
    ],
    ids=str,
)
def test_what_cannot_be_expressed_says_so(kind: Any, said: str) -> None:
    with pytest.raises(ToolSpecError, match=said):
        schema_of(kind, "x")


@pytest.mark.parametrize("kind", [set[list[int]], frozenset[dict[str, int]], set[Unhashable]])
def test_a_set_holds_what_has_a_hash(kind: Any) -> None:
    with pytest.raises(ToolSpecError, match="has no hash; use list"):
        schema_of(kind, "x")


def test_a_default_that_json_cannot_say_is_not_told() -> None:
    async def limit(seconds: float = math.inf, count: int | None = None) -> None:
        """Limit."""

    properties = Tool.from_function(limit).parameters["properties"]
    assert "default" not in properties["seconds"]
    assert properties["count"]["default"] is None


def test_a_functions_schema_is_made_of_its_parameters() -> None:
    schema = Tool.from_function(everything).parameters
    properties = schema["properties"]
    assert next(iter(properties)) == "text"
    assert properties["text"] == {"type": "string", "description": "what to say."}
    assert properties["described"] == {"type": "string", "description": "In English."}
    assert properties["maybe"] == {
        "anyOf": [{"type": "string"}, {"type": "null"}],
        "description": "perhaps.",
        "default": None,
    }
    assert properties["count"] == {"type": "integer", "default": 3}
    assert properties["default_colour"]["default"] == "blue"
    assert schema["required"] == list(properties)[:-3]
    assert schema["additionalProperties"] is False


_leaves = st.sampled_from([str, int, float, bool, Any, Literal["a", 2], Colour, Level, Point, Line, Options, UserId])
KINDS = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        inner.map(lambda kind: list[kind]),  # type: ignore[valid-type]
        inner.map(lambda kind: dict[str, kind]),  # type: ignore[valid-type]
        inner.map(lambda kind: tuple[kind, ...]),  # type: ignore[valid-type]
        st.tuples(inner, inner).map(lambda kinds: tuple[kinds]),  # type: ignore[valid-type]
        inner.map(lambda kind: Optional[kind]),  # noqa: UP045
        st.tuples(inner, inner).map(lambda kinds: Union[kinds]),  # noqa: UP007
    ),
    max_leaves=6,
)


@given(KINDS)
def test_every_schema_is_plain_json_without_references(kind: Any) -> None:
    schema = schema_of(kind, "x")
    assert orjson.loads(orjson.dumps(schema)) == schema
    assert b"$ref" not in orjson.dumps(schema)
