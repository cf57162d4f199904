"""What the scripted model says when there is no script: it repeats the prompt, and calls the tools named in it."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .model_server import ModelRequest, ToolUse, Turn

__all__ = ["echo"]

_REPEATED = 300  # characters

_CALL = re.compile(r"(\w+)\(([^()]*)\)")


def echo(request: ModelRequest) -> Turn:
    """Repeat the prompt; or call the tools that it calls, as in ``draw(colour='red')``, and repeat their results."""
    results = [str(message.get("content")) for message in _since_last_turn(request) if message.get("role") == "tool"]
    if results:
        return Turn(f"The tools said: {'; '.join(reversed(results))}")
    uses = tuple(_uses(request))
    return Turn(tools=uses) if uses else _repeat(request)


def _repeat(request: ModelRequest) -> Turn:
    heard = request.prompt if len(request.prompt) <= _REPEATED else request.prompt[:_REPEATED] + " ..."
    said = sum(len(str(message.get("content"))) for message in request.messages if message.get("role") == "user")
    # Word by word, in about the time of a fast model: so that a program can say something in between.
    return Turn(f"The scripted model heard: {heard}", input_tokens=max(100, said // 4), chunk_delay=0.01)


def _since_last_turn(request: ModelRequest) -> Iterator[Mapping[str, Any]]:
    return itertools.takewhile(lambda message: message.get("role") != "assistant", reversed(request.messages))


def _uses(request: ModelRequest) -> Iterator[ToolUse]:
    known = {each["function"]["name"] for each in request.body.get("tools", ())}
    for name, inner in _CALL.findall(request.prompt):
        try:
            call = ast.parse(f"call({inner})", mode="eval").body
            assert isinstance(call, ast.Call)
            arguments = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
        except (SyntaxError, ValueError):
            continue  # prose in parentheses
        if name in known and not call.args:
            yield ToolUse(name, arguments)
