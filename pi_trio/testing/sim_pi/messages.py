"""Messages of Pi's session format, as plain records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ..model_server import ToolUse, Turn

__all__ = [
    "Json",
    "add_usage",
    "assistant",
    "for_model",
    "model_record",
    "no_usage",
    "text_of",
    "tool_result",
    "usage_of",
    "user",
]

Json: TypeAlias = dict[str, Any]

# US dollars per million tokens; what the scripted model of `pi_trio.testing` charges.
_INPUT_PRICE, _OUTPUT_PRICE = 1.0, 2.0


def no_usage() -> Json:
    """The usage of an answer of which the provider has reported nothing."""
    cost = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": 0}
    return {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "totalTokens": 0, "cost": cost}


def usage_of(turn: Turn) -> Json:
    """What the provider reports for this answer."""
    paid_in = turn.input_tokens * _INPUT_PRICE / 1e6
    paid_out = turn.output_tokens * _OUTPUT_PRICE / 1e6
    return {
        "input": turn.input_tokens,
        "output": turn.output_tokens,
        "cacheRead": 0,
        "cacheWrite": 0,
        "reasoning": 0,
        "totalTokens": turn.input_tokens + turn.output_tokens,
        "cost": {"input": paid_in, "output": paid_out, "cacheRead": 0, "cacheWrite": 0, "total": paid_in + paid_out},
    }


def add_usage(total: Json, usage: Json) -> None:
    """Add the tokens and the cost of one answer to a session's sums."""
    for name in ("input", "output", "cacheRead", "cacheWrite"):
        total[name] += usage[name]
    total["total"] += usage["totalTokens"]
    total["cost"] += usage["cost"]["total"]


def user(text: str, images: Iterable[Json], timestamp: int) -> Json:
    """A user's message."""
    return {"role": "user", "content": [{"type": "text", "text": text}, *images], "timestamp": timestamp}


def assistant(model: Json, timestamp: int) -> Json:
    """An answer that has just begun."""
    return {
        "role": "assistant",
        "content": [],
        "api": model["api"],
        "provider": model["provider"],
        "model": model["id"],
        "usage": no_usage(),
        "stopReason": "pending",
        "timestamp": timestamp,
    }


def tool_call(call_id: str, use: ToolUse) -> Json:
    """A block of an answer that asks for a tool."""
    return {"type": "toolCall", "id": call_id, "name": use.name, "arguments": dict(use.arguments)}


def tool_result(call: Json, result: Mapping[str, Any], *, is_error: bool, timestamp: int) -> Json:
    """The message that gives a tool's result to the model."""
    return {
        "role": "toolResult",
        "toolCallId": call["id"],
        "toolName": call["name"],
        **result,
        "isError": is_error,
        "timestamp": timestamp,
    }


def text_of(message: Json) -> str:
    """The text blocks of a message, joined."""
    return "".join(block["text"] for block in message["content"] if block.get("type") == "text")


def for_model(messages: Sequence[Json]) -> tuple[Json, ...]:
    """The messages as an OpenAI-compatible provider is given them."""
    roles = {"user": "user", "assistant": "assistant", "toolResult": "tool"}
    return tuple(
        {"role": roles[message["role"]], "content": text_of(message)}
        for message in messages
        if message["role"] in roles
    )


_CONTEXT_WINDOW = 128_000


def model_record(provider: str, id_: str) -> Json:
    """A model as Pi tells of it."""
    prices = {"input": 1, "output": 2, "cacheRead": 0, "cacheWrite": 0}
    return {
        "id": id_,
        "name": f"{id_} (scripted)",
        "api": "openai-completions",
        "provider": provider,
        "baseUrl": "http://model.invalid/v1",
        "reasoning": False,
        "input": ["text", "image"],
        "cost": prices,
        "contextWindow": _CONTEXT_WINDOW,
        "maxTokens": 16_384,
    }
