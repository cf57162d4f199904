"""What Pi may make of an argument without having changed it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from pi_trio import Tool, ToolContext, ToolError
from pi_trio.tools.coercion import says_the_same

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(JSON)
def test_everything_says_the_same_as_itself(value: Any) -> None:
    assert says_the_same(value, orjson.loads(orjson.dumps(value)))


@pytest.mark.parametrize(
    ("written", "given"), [("5", 5), (5, "5"), ("true", True), ({"a": ["2"]}, {"a": [2]}), ("1.5", 1.5)]
)
def test_other_words_for_the_same(written: Any, given: Any) -> None:
    assert says_the_same(written, given)


@pytest.mark.parametrize(
    ("written", "given"),
    [
        (None, 0),
        (None, ""),
        (None, "null"),
        ("null", None),
        (True, 1),
        (1.5, 1),
        ("", 0),
        ("1.9", 1),
        (None, [0]),
        (1.5, [1]),
        ([None], ["null"]),
        ({"a": 1.7}, {"a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ([1, 2], [1]),
    ],
)
def test_something_else(written: Any, given: Any) -> None:
    assert not says_the_same(written, given)


async def count(number: int | None = None) -> int | None:
    """Count."""
    return number


async def _nothing(_: Any) -> None:
    await trio.lowlevel.checkpoint()


CONTEXT = ToolContext("t", "c", "pi-1", _nothing)


def test_what_was_written_has_to_fit_too() -> None:
    async def main() -> None:
        counting = Tool.from_function(count)
        with pytest.raises(ToolError, match="- number: a number where an integer is wanted"):
            await counting.call({"number": 1}, CONTEXT, written={"number": 1.5})
        assert await counting.call({"number": 5}, CONTEXT, written={"number": "5"}) == 5
        # It fits as it is, and what another extension made of it since is what counts.
        assert await counting.call({"number": 7}, CONTEXT, written={"number": 6}) == 7

    trio.run(main)
