"""A gateway's ``chat.history`` as the messages of a Pi, which they are in the end: OpenClaw's agent is built on Pi's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..protocol import Record

__all__ = ["HISTORY", "assistant", "count", "last_text", "messages_of", "of_run", "said_in"]


HISTORY = 1000
"""The most messages that every version gives at once."""


def messages_of(payload: Any) -> list[Record]:
    """The messages in an answer to ``chat.history``, each whole, and with everything that a Pi's message has."""
    rows = payload.get("messages") if isinstance(payload, dict) else None
    joined: list[Record] = []
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, dict) or _is_mark(row):
            continue
        if joined and _is_told_twice(row, joined[-1]):
            continue
        if joined and _is_rest_of(row, joined[-1]):
            joined[-1] = {**joined[-1], **row, "content": [*joined[-1]["content"], *row["content"]]}
        else:
            joined.append(row)
    return [_completed(row) for row in joined]


def _is_mark(row: Record) -> bool:
    """A gateway shows where a session was compacted, or emptied, as if somebody had said so."""
    marks = row.get("__openclaw")
    return row.get("role") == "system" and isinstance(marks, dict) and isinstance(marks.get("kind"), str)


def _is_rest_of(row: Record, before: Record) -> bool:
    """A gateway shows the text and the tool calls of one message as two rows, with one id."""
    id_ = _id_of(row)
    if id_ is None or id_ != _id_of(before) or row.get("role") != before.get("role"):
        return False
    return isinstance(row.get("content"), list) and isinstance(before.get("content"), list)


def _id_of(row: Record) -> Any:
    marks = row.get("__openclaw")
    return marks.get("id") if isinstance(marks, dict) else None


def _is_told_twice(row: Record, before: Record) -> bool:
    """What was cut off by an abort, a gateway writes down, though the agent may have done so already."""
    return _is_cut_off(row) and before.get("stopReason") == "aborted" and said_in(row) == said_in(before)


def _is_cut_off(row: Record) -> bool:
    return isinstance(row.get("openclawAbort"), dict)


def _completed(row: Record) -> Record:
    if row.get("role") != "assistant":
        return row
    return assistant({**row, "stopReason": "aborted"} if _is_cut_off(row) else row)


def assistant(row: Record, *, stop_reason: str = "stop", error: str | None = None) -> Record:
    """An assistant message, with what it lacks: one that somebody put into the conversation has no model."""
    made: Record = {"provider": "", "model": "", "usage": {}, "stopReason": stop_reason, "content": [], **row}
    made["role"] = "assistant"
    if not isinstance(made["content"], list):
        made["content"] = [{"type": "text", "text": str(made["content"])}]
    return made if error is None else {**made, "errorMessage": error}


def of_run(messages: Sequence[Record], run_id: str, prompt: str) -> list[Record]:
    """What was said in a run, from its prompt on; empty when that is not there.

    A 2026.9 gateway marks its prompts with their runs. Of another, the last with these words is the one: which may be an
    earlier one, while a prompt waits that was given before.
    """
    prompts = [at for at, message in enumerate(messages) if message.get("role") == "user"]
    marked = [at for at in prompts if messages[at].get("idempotencyKey") == f"{run_id}:user"]
    alike = [at for at in prompts if "idempotencyKey" not in messages[at] and said_in(messages[at]) == prompt]
    begin = (marked or alike or [len(messages)])[-1]
    return list(messages[begin:])


def said_in(message: Record) -> str:
    """The text of a message."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "".join(str(block.get("text", "")) for block in blocks if isinstance(block, dict))


def last_text(messages: Sequence[Record]) -> str | None:
    """What the model said last."""
    for message in reversed(messages):
        if message.get("role") == "assistant":
            return said_in(message)
    return None


def count(messages: Sequence[Record], session_id: str) -> Record:
    """What Pi would say of them in answer to ``get_session_stats``."""
    answers = [message for message in messages if message.get("role") == "assistant"]
    usages = [usage for message in answers if isinstance(usage := message.get("usage"), dict)]
    calls = [block for message in answers for block in message["content"] if _type_of(block) == "toolCall"]
    tokens = {
        name: sum(_number(usage.get(key)) for usage in usages)
        for name, key in (("input", "input"), ("output", "output"), ("cacheRead", "cacheRead"))
    }
    tokens["cacheWrite"] = sum(_number(usage.get("cacheWrite")) for usage in usages)
    costs = [cost.get("total") for usage in usages if isinstance(cost := usage.get("cost"), dict)]
    return {
        "sessionId": session_id,
        "userMessages": sum(message.get("role") == "user" for message in messages),
        "assistantMessages": len(answers),
        "toolCalls": len(calls),
        "toolResults": sum(message.get("role") == "toolResult" for message in messages),
        "totalMessages": len(messages),
        "tokens": {**tokens, "total": sum(tokens.values())},
        "cost": float(sum(_number(cost) for cost in costs)),
    }


def _type_of(block: Any) -> Any:
    return block.get("type") if isinstance(block, dict) else None


def _number(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0
