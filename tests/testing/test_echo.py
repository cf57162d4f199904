"""The scripted model without a script."""

from __future__ import annotations

from typing import Any

import pytest

from pi_trio.testing import ModelRequest, ToolUse
from pi_trio.testing.echo import echo

TOOLS = [{"function": {"name": "draw"}}, {"function": {"name": "read"}}]


def request(*messages: dict[str, Any]) -> ModelRequest:
    return ModelRequest(number=0, model="m", messages=messages, headers={}, body={"tools": TOOLS})


@pytest.mark.parametrize(
    "prompt", ["Hello.", "Call nobody(x=1)", "draw (it)", "draw(this one)", "read(1)", "draw(x=y)", "draw(f(1))"]
)
def test_a_prompt_is_repeated(prompt: str) -> None:
    turn = echo(request({"role": "user", "content": prompt}))
    assert (turn.text, turn.tools) == (f"The scripted model heard: {prompt}", ())


def test_calls_in_a_prompt_are_made() -> None:
    turn = echo(request({"role": "user", "content": "Call draw(colour='red', size=[1, 2]) and read()."}))
    assert turn.tools == (ToolUse("draw", {"colour": "red", "size": [1, 2]}), ToolUse("read"))


def test_what_the_tools_returned_is_repeated() -> None:
    earlier = [{"role": "tool", "content": "old"}, {"role": "assistant", "content": ""}]
    now = [{"role": "tool", "content": "one"}, {"role": "tool", "content": "two"}, {"role": "user", "content": "image"}]
    assert echo(request(*earlier, *now)).text == "The tools said: one; two"
