"""Records to events: every known type, and whatever else may come."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.protocol import (
    EVENT_TYPES,
    UI_METHODS,
    AgentEnd,
    AgentSettled,
    Event,
    MalformedRecord,
    MessageEnd,
    MessageUpdate,
    Notify,
    Record,
    TextDelta,
    ToolExecutionEnd,
    ToolExecutionUpdate,
    UnknownAssistantMessageEvent,
    UnknownEvent,
    UnknownMessage,
    Wire,
    decode_event,
    text_delta,
)
from tests.protocol.strategies import json_objects, json_values, properties

MESSAGE = {"role": "user", "content": "Hello", "timestamp": 1}

# One record of each type, with no field that could be left out.
LEAST: dict[str, Record] = {
    "session": {"id": "s"},
    "agent_start": {},
    "agent_end": {"messages": [MESSAGE]},
    "agent_settled": {},
    "turn_start": {},
    "turn_end": {"message": MESSAGE, "toolResults": []},
    "message_start": {"message": MESSAGE},
    "message_update": {"assistantMessageEvent": {"type": "text_delta", "contentIndex": 0, "delta": "Hi"}},
    "message_end": {"message": MESSAGE},
    "tool_execution_start": {"toolCallId": "c", "toolName": "bash"},
    "tool_execution_update": {"toolCallId": "c", "toolName": "bash"},
    "tool_execution_end": {"toolCallId": "c", "toolName": "bash", "isError": False},
    "queue_update": {"steering": [], "followUp": ["later"]},
    "entry_appended": {
        "entry": {"type": "custom", "id": "e", "parentId": None, "timestamp": "2026-01-01", "customType": "x"}
    },
    "session_info_changed": {},
    "thinking_level_changed": {"level": "high"},
    "compaction_start": {"reason": "manual"},
    "compaction_end": {"reason": "manual", "aborted": True, "willRetry": False},
    "auto_retry_start": {"attempt": 1, "maxAttempts": 2, "delayMs": 10, "errorMessage": "overloaded"},
    "auto_retry_end": {"success": True, "attempt": 1},
    "summarization_retry_scheduled": {"attempt": 1, "maxAttempts": 2, "delayMs": 10, "errorMessage": "overloaded"},
    "summarization_retry_attempt_start": {"source": "compaction"},
    "summarization_retry_finished": {},
    "bash_execution_update": {"delta": "out"},
    "extension_error": {"extensionPath": "/e.js", "event": "turn_start", "error": "thrown"},
}

STEPS: dict[str, Record] = {
    "start": {},
    "text_start": {"contentIndex": 0},
    "text_delta": {"contentIndex": 0, "delta": "Hi"},
    "text_end": {"contentIndex": 0, "content": "Hi"},
    "thinking_start": {"contentIndex": 0},
    "thinking_delta": {"contentIndex": 0, "delta": "Hm"},
    "thinking_end": {"contentIndex": 0, "content": "Hm"},
    "toolcall_start": {"contentIndex": 0},
    "toolcall_delta": {"contentIndex": 0, "delta": "{"},
    "toolcall_end": {"contentIndex": 0, "toolCall": {"type": "toolCall", "id": "c", "name": "bash", "arguments": {}}},
    "done": {"reason": "stop", "message": MESSAGE},
    "error": {"reason": "aborted", "error": MESSAGE},
}


def test_there_is_an_example_of_each_type() -> None:
    assert set(LEAST) == set(EVENT_TYPES)


def test_the_union_names_every_class_of_the_tables() -> None:
    assert {*EVENT_TYPES.values(), *UI_METHODS.values(), UnknownEvent, MalformedRecord} == set(get_args(Event))


@pytest.mark.parametrize("name", LEAST)
def test_each_type_becomes_its_class(name: str) -> None:
    record = {"type": name, **LEAST[name]}

    event = decode_event(record)

    assert type(event) is EVENT_TYPES[name]
    assert event.raw is record


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, record in LEAST.items() for field in record])
def test_what_a_type_needs_and_does_not_have_is_named(name: str, field: str) -> None:
    record = {"type": name, **LEAST[name]}
    del record[field]

    event = decode_event(record)

    assert event == UnknownEvent(type=name, reason=f"{field!r} is missing", raw=record)


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, record in LEAST.items() for field in record])
def test_what_has_the_wrong_shape_is_named(name: str, field: str) -> None:
    record = {"type": name, **LEAST[name], field: 5.5 if field != "delayMs" else "5"}

    event = decode_event(record)

    assert isinstance(event, UnknownEvent)
    assert event.type == name
    assert event.raw is record
    assert event.reason is not None
    assert event.reason.startswith(f"{field}: ")


@pytest.mark.parametrize("name", STEPS)
def test_each_step_of_a_stream_becomes_its_class(name: str) -> None:
    step = {"type": name, **STEPS[name]}

    event = decode_event({"type": "message_update", "assistantMessageEvent": step, "usage": {"input": 1}})

    assert isinstance(event, MessageUpdate)
    assert not isinstance(event.assistant_message_event, UnknownAssistantMessageEvent)
    assert type(event.assistant_message_event).__name__.lower() in (name.replace("_", ""), f"stream{name}")
    assert event.assistant_message_event.raw is step
    assert event.usage is not None
    assert event.usage.input == 1


def test_an_unknown_step_is_kept() -> None:
    step = {"type": "image_delta", "contentIndex": 0}

    event = decode_event({"type": "message_update", "assistantMessageEvent": step})

    assert isinstance(event, MessageUpdate)
    assert event.assistant_message_event == UnknownAssistantMessageEvent(type="image_delta", raw=step)
    assert event.text_delta == ""


def test_an_unknown_role_does_not_lose_the_event() -> None:
    event = decode_event({"type": "message_end", "message": {"role": "narrator", "says": "..."}})

    assert isinstance(event, MessageEnd)
    assert event.message == UnknownMessage(role="narrator", raw={"role": "narrator", "says": "..."})


@pytest.mark.parametrize("name", ["tomorrow", "", "Agent_Start", "response", None, 5, [], {}])
def test_an_unknown_type_is_kept(name: Any) -> None:
    record = {"type": name, "field": [1, {"a": None}]}

    assert decode_event(record) == UnknownEvent(type=name if isinstance(name, str) else "", raw=record)


def test_a_record_without_a_type_is_kept() -> None:
    assert decode_event({}) == UnknownEvent(raw={})


def test_a_malformed_record_stays_what_it_is() -> None:
    malformed = MalformedRecord("not JSON", b"{")

    assert decode_event(malformed) is malformed
    assert text_delta(malformed) == ""


def test_what_is_new_in_a_known_type_is_in_raw() -> None:
    event = decode_event({"type": "agent_settled", "aborted": True, "mood": "good"})

    assert isinstance(event, AgentSettled)
    assert event.aborted is True
    assert event.raw["mood"] == "good"


def test_what_a_pi_of_0_87_does_not_say_is_none() -> None:
    settled, ended = decode_event({"type": "agent_settled"}), decode_event({"type": "agent_end", "messages": []})

    assert isinstance(settled, AgentSettled)
    assert settled.aborted is None
    assert isinstance(ended, AgentEnd)
    assert ended.will_retry is False


known_types = st.sampled_from([*EVENT_TYPES, "extension_ui_request", "response", "tomorrow"])
documented = {field for record in (*LEAST.values(), *STEPS.values()) for field in record}
field_names = st.sampled_from(sorted(documented | {"method", "title", "options", "role", "content", "usage"}))
wild = st.recursive(
    json_values() | known_types | st.sampled_from(["text_delta", "user", "assistant", "text", "toolCall", 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(field_names | st.just("type"), inner, max_size=4),
    max_leaves=8,
)


@properties
@given(st.dictionaries(field_names | st.just("type"), wild, max_size=6), known_types | json_values())
def test_no_record_raises(record: Record, name: Any) -> None:
    record["type"] = name

    event = decode_event(record)

    assert isinstance(event, Wire)
    assert event.raw is record
    if not isinstance(event, UnknownEvent):
        assert isinstance(name, str)
        assert type(event) is EVENT_TYPES.get(name) or name == "extension_ui_request"
    elif isinstance(name, str) and name in EVENT_TYPES:
        assert event.reason, "of a known type it is said what does not fit"


steps = st.fixed_dictionaries(
    {"type": st.sampled_from(["text_delta", "text_delta", "text_end", "thinking_delta", None])},
    optional={"contentIndex": st.integers(0, 9) | json_values(), "delta": st.text() | json_values()},
)


@properties
@given(steps | json_objects())
def test_the_quick_look_at_a_text_delta_agrees_with_the_event(step: Record) -> None:
    update: Record = {"type": "message_update", "assistantMessageEvent": step}
    for record in (update, step):
        quick = text_delta(record)
        event = decode_event(record)
        if isinstance(event, MessageUpdate):
            assert quick == event.text_delta
        elif quick:  # so much of the record was as it should be
            assert record["assistantMessageEvent"]["delta"] == quick
        assert isinstance(quick, str)


def test_the_text_of_an_update() -> None:
    record = {"type": "message_update", **LEAST["message_update"]}

    event = decode_event(record)

    assert isinstance(event, MessageUpdate)
    assert event.assistant_message_event == TextDelta(0, "Hi", raw=record["assistantMessageEvent"])
    assert event.text_delta == text_delta(record) == "Hi"


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"content": [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]}, "ab"),
        ({"content": [{"type": "text", "text": 5}, {"type": "text"}, None, "x"]}, ""),
        ({"content": "text"}, ""),
        ({"content": 5}, ""),
        ({}, ""),
        (None, ""),
        ("text", ""),
        ([1], ""),
    ],
)
def test_a_tool_may_give_anything_back(result: Any, text: str) -> None:
    update = decode_event(
        {"type": "tool_execution_update", "toolCallId": "c", "toolName": "t", "partialResult": result}
    )
    end = decode_event(
        {"type": "tool_execution_end", "toolCallId": "c", "toolName": "t", "isError": False, "result": result}
    )

    assert isinstance(update, ToolExecutionUpdate)
    assert isinstance(end, ToolExecutionEnd)
    assert update.text == end.text == text
    assert end.result is result


def test_a_number_beyond_all_floats_is_no_reason_to_raise() -> None:
    record = {"type": "auto_retry_start", **LEAST["auto_retry_start"], "delayMs": 10**400}

    assert decode_event(record) == UnknownEvent(
        type="auto_retry_start", reason="delayMs: a number that is too large", raw=record
    )


def test_text_with_half_an_emoji_is_text() -> None:
    event = decode_event({"type": "extension_ui_request", "method": "notify", "id": "n", "message": "\ud83d"})

    assert isinstance(event, Notify)
    assert event.message == "\ud83d"
