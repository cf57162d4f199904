"""Records to classes: strictly, or not at all."""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.protocol import ShapeError, Wire, structure
from pi_trio.protocol.convert import by_tag, camel_case
from tests.protocol.strategies import json_objects, json_values, properties


@attrs.frozen
class Text(Wire):
    value: str


@attrs.frozen
class Whole(Wire):
    value: int


@attrs.frozen
class Number(Wire):
    value: float


@attrs.frozen
class Truth(Wire):
    value: bool


@attrs.frozen
class Texts(Wire):
    value: tuple[str, ...]


@attrs.frozen
class Mapping(Wire):
    value: dict[str, Any]


@attrs.frozen
class Anything(Wire):
    value: Any


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def all_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


FITS: dict[type[Any], Any] = {
    Text: lambda value: isinstance(value, str),
    Whole: lambda value: isinstance(value, int) and not isinstance(value, bool),
    Number: is_number,
    Truth: lambda value: isinstance(value, bool),
    Texts: all_strings,
    Mapping: lambda value: isinstance(value, dict),
    Anything: lambda value: True,
}
"""For each kind of field, which JSON values it takes."""

TEMPTING = [None, True, False, 0, 1, 5, 5.0, 5.9, "", "5", "true", "abc", [], ["a"], ["a", 1], [None], {}, {"a": 1}]
"""Values that a lenient converter would turn into something."""


@attrs.frozen
class Optional(Wire):
    given: str
    left_out: int | None = None
    counted: int = 7


@attrs.frozen
class Leaf(Wire):
    deep_value: int


@attrs.frozen
class Odd(Wire):
    type: str = ""


Branch: TypeAlias = Leaf | Text | Odd
by_tag(Branch, "type", {"leaf": Leaf, "text": Text}, Odd)


@attrs.frozen
class Tree(Wire):
    branch: Branch
    many_branches: tuple[Branch, ...] = ()
    perhaps: Leaf | None = None


@pytest.mark.parametrize("cls", FITS)
@pytest.mark.parametrize("value", TEMPTING, ids=repr)
def test_nothing_is_converted_in_silence(cls: Any, value: Any) -> None:
    check(cls, value)


@properties
@given(st.sampled_from(list(FITS)), json_values())
def test_any_value_is_kept_or_refused(cls: Any, value: Any) -> None:
    check(cls, value)


def check(cls: Any, value: Any) -> None:
    if not FITS[cls](value):
        with pytest.raises(ShapeError, match=r"^value(\[\d+\])?: \w+ where .* was expected$"):
            structure({"value": value}, cls)
        return
    got = structure({"value": value}, cls).value
    assert got == (tuple(value) if cls is Texts else value)
    kind = {Number: float, Texts: tuple}.get(cls, type(value))
    assert type(got) is kind


def test_a_number_too_large_for_a_float_is_refused() -> None:
    with pytest.raises(ShapeError, match="^value: a number that is too large$"):
        structure({"value": 10**400}, Number)


@pytest.mark.parametrize("value", [None, [], "text", 1, True])
def test_only_an_object_becomes_an_object(value: Any) -> None:
    with pytest.raises(ShapeError, match=r"^\w+ where Text was expected$"):
        structure(value, Text)


def test_what_may_be_left_out_may_be_left_out() -> None:
    made = structure({"given": "a"}, Optional)

    assert (made.left_out, made.counted) == (None, 7)


def test_null_is_for_what_may_be_none() -> None:
    assert structure({"given": "a", "leftOut": None}, Optional).left_out is None
    with pytest.raises(ShapeError, match="^counted: NoneType where int was expected$"):
        structure({"given": "a", "counted": None}, Optional)


def test_what_may_be_none_is_still_strict() -> None:
    with pytest.raises(ShapeError, match="^leftOut: str where int was expected$"):
        structure({"given": "a", "leftOut": "1"}, Optional)


def test_what_is_missing_is_named_as_pi_names_it() -> None:
    with pytest.raises(ShapeError, match="^branch: 'deepValue' is missing$"):
        structure({"branch": {"type": "leaf"}}, Tree)


@properties
@given(json_objects())
def test_unknown_fields_are_kept_in_raw(more: dict[str, Any]) -> None:
    record = {**more, "value": "a"}

    made = structure(record, Text)

    assert made.raw is record
    assert made.value == "a"


def test_a_field_called_raw_is_pis_own() -> None:
    assert structure({"value": "a", "raw": 5}, Text).raw == {"value": "a", "raw": 5}


def test_the_tag_picks_the_class() -> None:
    tree = structure(
        {"branch": {"type": "leaf", "deepValue": 1}, "manyBranches": [{"type": "text", "value": "a"}]}, Tree
    )

    assert isinstance(tree.branch, Leaf)
    assert [type(each) for each in tree.many_branches] == [Text]


def test_an_unknown_tag_is_kept() -> None:
    for record in ({"type": "new", "field": [1]}, {"field": [1]}):
        branch = structure({"branch": record}, Tree).branch
        assert isinstance(branch, Odd)
        assert branch.type == record.get("type", "")
        assert branch.raw is record


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"branch": 5}, "branch: int where an object was expected"),
        ({"branch": {"type": "leaf", "deepValue": "1"}}, "branch.deepValue: str where int was expected"),
        ({"branch": {}, "manyBranches": {}}, "manyBranches: dict where a list was expected"),
        (
            {"branch": {}, "manyBranches": [{}, {"type": "text", "value": 5}]},
            "manyBranches[1].value: int where str was expected",
        ),
        ({"branch": {}, "perhaps": {"deepValue": 1.5}}, "perhaps.deepValue: float where int was expected"),
        ({"branch": {}, "perhaps": {}}, "perhaps: 'deepValue' is missing"),
    ],
)
def test_an_error_says_what_and_where(record: Any, message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        structure(record, Tree)

    assert str(caught.value) == message
    assert caught.value.path.removeprefix(".") + ": " + caught.value.reason == message


@pytest.mark.parametrize(
    ("ours", "pis"),
    [
        ("type", "type"),
        ("will_retry", "willRetry"),
        ("from_", "from"),
        ("tool_call_id", "toolCallId"),
        ("cache_read", "cacheRead"),
    ],
)
def test_names_are_spelled_as_pi_spells_them(ours: str, pis: str) -> None:
    assert camel_case(ours) == pis
