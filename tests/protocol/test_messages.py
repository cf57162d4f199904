"""Messages and their content."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.protocol import (
    AssistantMessage,
    BashExecutionMessage,
    BranchSummaryMessage,
    CompactionSummaryMessage,
    ContentBlock,
    Cost,
    CustomMessage,
    ImageContent,
    Message,
    Record,
    ShapeError,
    SystemMessage,
    TextContent,
    ThinkingContent,
    ToolCall,
    ToolResultMessage,
    UnknownContent,
    UnknownMessage,
    Usage,
    UserMessage,
    structure,
)
from tests.protocol.strategies import json_objects, properties

TEXT = {"type": "text", "text": "Hello"}
IMAGE = {"type": "image", "data": "QUJD" * 1000, "mimeType": "image/png"}
CALL = {"type": "toolCall", "id": "c1", "name": "bash", "arguments": {"command": "ls"}}
USAGE = {"input": 1, "output": 2, "cacheRead": 3, "cacheWrite": 4, "totalTokens": 10, "cost": {"total": 0.5}}

BLOCKS: dict[type[Any], Record] = {
    TextContent: TEXT,
    ImageContent: IMAGE,
    ThinkingContent: {"type": "thinking", "thinking": "Hm.", "redacted": False},
    ToolCall: CALL,
    UnknownContent: {"type": "video", "data": "x"},
}

ASSISTANT: Record = {
    "role": "assistant",
    "content": [{"type": "thinking", "thinking": "Hm."}, TEXT, CALL, {"type": "text", "text": " you"}],
    "provider": "scripted",
    "model": "scripted-1",
    "usage": USAGE,
    "stopReason": "toolUse",
}

MESSAGES: dict[type[Any], Record] = {
    SystemMessage: {"role": "system", "content": "Be brief.", "timestamp": 1},
    UserMessage: {"role": "user", "content": [TEXT, IMAGE], "timestamp": 1},
    AssistantMessage: ASSISTANT,
    ToolResultMessage: {
        "role": "toolResult",
        "toolCallId": "c1",
        "toolName": "bash",
        "content": [TEXT],
        "isError": False,
        "details": {"any": "thing"},
    },
    BashExecutionMessage: {
        "role": "bashExecution",
        "command": "ls",
        "output": "a",
        "exitCode": 0,
        "cancelled": False,
        "truncated": True,
        "fullOutputPath": "/tmp/all",
        "excludeFromContext": True,
    },
    CustomMessage: {"role": "custom", "customType": "note", "content": "text", "display": False},
    BranchSummaryMessage: {"role": "branchSummary", "summary": "It went on.", "fromId": None},
    CompactionSummaryMessage: {"role": "compactionSummary", "summary": "It was long.", "tokensBefore": 1000},
    UnknownMessage: {"role": "narrator", "content": 5},
}


def message(record: Record) -> Any:
    made: Any = structure(record, Message)  # type: ignore[arg-type]  # a union is no class to the type checker
    return made


def block(record: Record) -> Any:
    made: Any = structure(record, ContentBlock)  # type: ignore[arg-type]  # as above
    return made


@pytest.mark.parametrize("cls", MESSAGES)
def test_the_role_picks_the_class(cls: type[Any]) -> None:
    record = MESSAGES[cls]

    made = message(record)

    assert type(made) is cls
    assert made.raw is record


@pytest.mark.parametrize("cls", BLOCKS)
def test_the_type_picks_the_class_of_a_block(cls: type[Any]) -> None:
    record = BLOCKS[cls]

    made = block(record)

    assert type(made) is cls
    assert made.raw is record


@properties
@given(json_objects(), st.sampled_from(["narrator", "", "User", None]))
def test_any_message_of_an_unknown_role_is_kept(record: Record, role: str | None) -> None:
    record = {name: value for name, value in record.items() if name != "role"}
    if role is not None:
        record["role"] = role

    made = message(record)

    assert type(made) is UnknownMessage
    assert made.role == (role or "")
    assert made.raw is record


def test_content_is_text_or_blocks() -> None:
    assert message({"role": "user", "content": "Hello"}).content == "Hello"
    blocks = message({"role": "user", "content": [TEXT, IMAGE, {"type": "video"}]}).content
    assert [type(each) for each in blocks] == [TextContent, ImageContent, UnknownContent]


@pytest.mark.parametrize("content", [None, 5, {}, TEXT])
def test_content_is_nothing_else(content: Any) -> None:
    with pytest.raises(ShapeError, match="^content: "):
        message({"role": "user", "content": content})


def test_an_error_deep_in_a_message_says_where() -> None:
    with pytest.raises(ShapeError, match=r"^content\[1\]\.text: int where str was expected$"):
        message({"role": "user", "content": [TEXT, {"type": "text", "text": 5}]})


def test_text_is_the_text_blocks_joined() -> None:
    assert message(ASSISTANT).text == "Hello you"
    assert message({"role": "user", "content": "plain"}).text == "plain"
    assert message(MESSAGES[UserMessage]).text == "Hello"
    assert message(MESSAGES[ToolResultMessage]).text == "Hello"


def test_tool_calls_are_the_tool_call_blocks() -> None:
    (call,) = message(ASSISTANT).tool_calls

    assert (call.id, call.name, call.arguments) == ("c1", "bash", {"command": "ls"})


def test_usage_is_read_whole() -> None:
    usage = message(ASSISTANT).usage

    assert (usage.input, usage.output, usage.cache_read, usage.cache_write, usage.total_tokens) == (1, 2, 3, 4, 10)
    assert usage.cost.total == 0.5
    assert usage.reasoning is None


@pytest.mark.parametrize("tokens", [1.5, "1", None, True])
def test_tokens_are_whole_numbers(tokens: Any) -> None:
    with pytest.raises(ShapeError, match=r"^usage\.input: "):
        message({**ASSISTANT, "usage": {"input": tokens}})


counts = st.integers(0, 10**9)
costs = st.builds(Cost, *[st.integers(0, 10**6).map(float) for _ in range(5)])
usages = st.builds(Usage, counts, counts, counts, counts, counts, costs, st.none() | counts, st.none() | counts)


@properties
@given(st.lists(usages, max_size=4))
def test_usage_adds_up_field_by_field(parts: list[Usage]) -> None:
    total = sum(parts, Usage())

    for name in ("input", "output", "cache_read", "cache_write", "total_tokens"):
        assert getattr(total, name) == sum(getattr(part, name) for part in parts)
    for name in ("input", "output", "cache_read", "cache_write", "total"):
        assert getattr(total.cost, name) == sum(getattr(part.cost, name) for part in parts)
    for name in ("reasoning", "cache_write_1h"):
        known = [getattr(part, name) for part in parts if getattr(part, name) is not None]
        assert getattr(total, name) == (sum(known) if known else None), "not known is not none at all"


def test_an_image_is_not_printed() -> None:
    assert "QUJD" not in repr(block(IMAGE))
    assert "4000 characters" in repr(block(IMAGE))
