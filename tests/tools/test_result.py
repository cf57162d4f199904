"""What a function returns, as Pi takes it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio import ToolImage, ToolResult
from pi_trio.protocol import ImageContent, TextContent
from pi_trio.tools.result import to_result
from tests.tools.kinds import Colour, Point

IMAGE = {"type": "image", "data": "AAE=", "mimeType": "image/jpeg"}


def text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("grün", [text("grün")]),
        ("", [text("")]),
        (None, [text("(no result)")]),
        (ToolImage(b"\0\1", "image/jpeg"), [IMAGE]),
        (ImageContent("AAE=", "image/jpeg"), [IMAGE]),
        (["Look:", ToolImage(b"\0\1", "image/jpeg"), TextContent("!")], [text("Look:"), IMAGE, text("!")]),
        (ToolResult("short"), [text("short")]),
        (ToolResult(["a", "b"]), [text("a"), text("b")]),
    ],
)
def test_texts_and_images_are_content(value: Any, content: Any) -> None:
    assert to_result(value) == {"content": content}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (5, 5),
        (True, True),
        (["a", "b"], ["a", "b"]),
        ([], []),
        ({"a": {1}}, {"a": [1]}),
        ({1: Colour.RED}, {"1": "red"}),
        (Point(1.0), {"x": 1.0, "y": 0.0}),
        ([Point(1.0)], [{"x": 1.0, "y": 0.0}]),
        (dt.date(2026, 1, 2), "2026-01-02"),
    ],
)
def test_structured_values_are_json_for_the_model_and_details_for_programs(value: Any, plain: Any) -> None:
    result = to_result(value)
    assert result["details"] == plain
    assert [orjson.loads(block["text"]) for block in result["content"]] == [plain]


def test_content_and_details_may_differ() -> None:
    assert to_result(ToolResult("short", details=Point(1.0))) == {
        "content": [text("short")],
        "details": {"x": 1.0, "y": 0.0},
    }


@pytest.mark.parametrize(
    "value",
    [object(), {"a": b"bytes"}, ToolResult("x", details=object()), ToolResult([1])],  # type: ignore[list-item]
)
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        to_result(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_json_comes_out_as_it_went_in(value: Any) -> None:
    result = to_result(value)
    if value is not None and not isinstance(value, str):
        assert result["details"] == value
