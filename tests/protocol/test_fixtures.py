"""What the real Pi wrote, in both versions (see ``tests/fixtures/record.py``): all of it is known."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.protocol import (
    EVENT_TYPES,
    UI_METHODS,
    BashResult,
    CompactionResult,
    ContentBlock,
    ConversationTree,
    Entries,
    Fork,
    MalformedRecord,
    Message,
    MessageUpdate,
    Model,
    QueueContents,
    Record,
    RecordDecoder,
    SessionStats,
    SessionSwitch,
    State,
    TreeNode,
    UnknownAssistantMessageEvent,
    UnknownContent,
    UnknownEntry,
    UnknownEvent,
    UnknownMessage,
    Wire,
    decode_event,
    decode_line,
    encode_record,
    response_data,
    structure,
    text_delta,
)
from pi_trio.protocol.convert import camel_case
from tests.protocol.strategies import json_values, properties

FIXTURES = Path(__file__).parent.parent / "fixtures"
VERSIONS = ("0.87.1", "1.5.2")
UNKNOWN = (UnknownEvent, UnknownMessage, UnknownContent, UnknownAssistantMessageEvent, UnknownEntry, MalformedRecord)

# The first record of `pi --mode json`; in RPC mode, which is what is recorded, there is none.
NOT_RECORDED_TYPES = {"session"}
NOT_RECORDED_METHODS: set[str] = set()
# What the provider's stream tells beyond the content; Pi makes message_start and message_end of it.
NOT_RECORDED_STEPS = {"start", "done", "error"}

DATA: dict[str, type[Any]] = {
    "get_state": State,
    "get_session_stats": SessionStats,
    "bash": BashResult,
    "clear_queue": QueueContents,
    "new_session": SessionSwitch,
    "switch_session": SessionSwitch,
    "clone": SessionSwitch,
    "fork": Fork,
    "get_entries": Entries,
    "set_model": Model,
    "compact": CompactionResult,
}
"""The commands whose response has a class for its data."""

REFUSED = {
    ("set_model", "Model not found: scripted/no-such-model"),
    ("no_such_command", "Unknown command: no_such_command"),
    ("get_entries", "Entry not found: no-such-entry"),
    ("compact", "Already compacted"),
}
"""What the scenario asks for in vain, besides a line that is no JSON and a prompt during a run."""


@functools.cache
def stream(version: str) -> bytes:
    return (FIXTURES / f"pi-{version}.jsonl").read_bytes()


@functools.cache
def records(version: str) -> tuple[Record, ...]:
    decoded = [decode_line(line) for line in stream(version).split(b"\n")[:-1]]
    return tuple(record for record in decoded if isinstance(record, dict))


def events(version: str) -> Iterator[Any]:
    return (decode_event(record) for record in records(version) if record["type"] != "response")


def responses(version: str) -> Iterator[Record]:
    return (record for record in records(version) if record["type"] == "response")


def inside(value: Any) -> Iterator[Any]:
    """``value``, and everything it is made of, ``raw`` left out."""
    yield value
    if isinstance(value, tuple):
        for each in value:
            yield from inside(each)
    elif isinstance(value, Wire):
        for field in attrs.fields(type(value)):
            if field.name != "raw":
                yield from inside(getattr(value, field.name))


def unknown(value: Any) -> list[Any]:
    return [each for each in inside(value) if isinstance(each, UNKNOWN)]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_line_is_a_record(version: str) -> None:
    decoder = RecordDecoder()
    decoded = decoder.feed(stream(version))

    assert [record for record in decoded if isinstance(record, MalformedRecord)] == []
    assert decoder.end() is None
    assert decoded == list(records(version))
    assert len(decoded) == stream(version).count(b"\n") > 400


@pytest.mark.parametrize("version", VERSIONS)
def test_every_event_is_known_to_its_depth(version: str) -> None:
    for event in events(version):
        assert unknown(event) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_lost_on_the_way_to_an_event(version: str) -> None:
    # What a class has a field for is what was in the record: no value was made up, none was left behind.
    for event in events(version):
        for part in inside(event):
            if isinstance(part, Wire):
                check_fields(part)


def check_fields(part: Wire) -> None:
    for field in attrs.fields(type(part)):
        value, name = getattr(part, field.name), camel_case(field.name)
        if name in part.raw and not isinstance(value, Wire | tuple):
            assert value == part.raw[name]
        elif isinstance(value, tuple):
            assert len(value) == len(part.raw[name])
        elif isinstance(value, Wire) and name in part.raw:
            assert value.raw is part.raw[name]


def results(version: str) -> Iterator[Any]:
    for response in responses(version):
        if response["success"]:
            command = response["command"]
            if command in DATA:
                yield response_data(command, response["data"], DATA[command])
            elif command in ("get_messages", "get_tree"):
                yield messages(response)
            elif command == "get_available_models":
                yield structure(response["data"]["models"], tuple[Model, ...])


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_in_raw_only(version: str) -> None:
    tags = {"type", "role", "method"}  # each is a class
    for whole in (*events(version), *results(version)):
        for part in inside(whole):
            if isinstance(part, Wire):
                ours = {camel_case(field.name) for field in attrs.fields(type(part))}
                assert set(part.raw) - ours <= tags, type(part).__name__


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_recorded_covers_the_wire(version: str) -> None:
    types = {record["type"] for record in records(version)} - {"response", "extension_ui_request"}
    methods = {record["method"] for record in records(version) if record["type"] == "extension_ui_request"}
    steps = {
        event.raw["assistantMessageEvent"]["type"] for event in events(version) if isinstance(event, MessageUpdate)
    }

    assert set(EVENT_TYPES) - types == NOT_RECORDED_TYPES
    assert set(UI_METHODS) - methods == NOT_RECORDED_METHODS
    assert steps == {
        f"{kind}_{step}" for kind in ("text", "thinking", "toolcall") for step in ("start", "delta", "end")
    }
    assert steps.isdisjoint(NOT_RECORDED_STEPS)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_recorded_covers_messages_and_content(version: str) -> None:
    parts = {type(part).__name__ for event in events(version) for part in inside(event)}
    for response in responses(version):
        if response["command"] == "get_messages":
            parts |= {type(part).__name__ for message in messages(response) for part in inside(message)}

    for union, missing in ((Message, "UnknownMessage"), (ContentBlock, "UnknownContent")):
        assert {cls.__name__ for cls in union.__args__} - parts == {missing}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_response_has_the_documented_shape(version: str) -> None:
    refused = set()
    for response in responses(version):
        assert isinstance(response["success"], bool)
        if not response["success"]:
            refused.add((response["command"], response["error"]))
        elif response["command"] in DATA:
            assert unknown(response_data(response["command"], response["data"], DATA[response["command"]])) == []
    assert {command for command, _ in refused - REFUSED} == {"parse", "prompt"}
    assert refused >= REFUSED
    seen = {response["command"] for response in responses(version) if response["success"]}
    assert set(DATA) <= seen


def messages(response: Record) -> tuple[Any, ...]:
    """The messages in the data of a response to ``get_messages``, ``get_entries`` or ``get_tree``."""
    data = response["data"]
    if "messages" in data:
        return structure(data["messages"], tuple[Message, ...])
    found = [entry["message"] for entry in entries(data) if entry["type"] == "message"]
    return structure(found, tuple[Message, ...])


def entries(data: Any) -> Iterator[Record]:
    yield from data.get("entries", ())
    nodes = list(data.get("tree", ()))
    while nodes:
        node = nodes.pop()
        yield node["entry"]
        nodes += node["children"]


@pytest.mark.parametrize("command", ["get_messages", "get_entries", "get_tree"])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_message_of_a_session_is_known(version: str, command: str) -> None:
    count = 0
    for response in responses(version):
        if response["command"] == command and response["success"]:
            count += len(messages(response))
            assert unknown(messages(response)) == []
    assert count > 10


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_lost_on_the_way_to_a_result(version: str) -> None:
    for response in responses(version):
        if response["success"] and response["command"] in DATA:
            for part in inside(response_data(response["command"], response["data"], DATA[response["command"]])):
                if isinstance(part, Wire):
                    check_fields(part)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_tree_that_is_made_of_entries_is_pis_own(version: str) -> None:
    trees = [each["data"] for each in responses(version) if each["command"] == "get_tree"]
    for told in trees:
        flat = sorted(entries(told), key=lambda entry: str(entry["timestamp"]))
        tree = ConversationTree(structure({"entries": flat, "leafId": told["leafId"]}, Entries))
        assert [as_told(root) for root in tree.roots] == told["tree"]
        assert tree.path()[-1].id == told["leafId"]
    assert trees


def as_told(node: TreeNode) -> Record:
    told: Record = {"entry": node.entry.raw, "children": [as_told(child) for child in node.children]}
    return told if node.label is None else {**told, "label": node.label, "labelTimestamp": node.label_timestamp}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_model_is_known(version: str) -> None:
    (response,) = (each for each in responses(version) if each["command"] == "get_available_models")

    models = structure(response["data"]["models"], tuple[Model, ...])

    assert [model.id for model in models] == ["scripted-1", "scripted-2"]
    assert all(model.context_window == 128_000 and model.reasoning is True for model in models)


@pytest.mark.parametrize("version", VERSIONS)
def test_encoding_a_record_again_changes_nothing(version: str) -> None:
    for record in records(version):
        assert decode_line(encode_record(record)[:-1]) == record


@properties
@given(st.data(), st.sampled_from(VERSIONS))
def test_records_do_not_depend_on_how_the_bytes_arrive(draw: st.DataObject, version: str) -> None:
    whole = stream(version)
    start = whole.index(b"\n", draw.draw(st.integers(0, len(whole) - 20_000))) + 1
    part = whole[start : whole.rindex(b"\n", start, start + 20_000) + 1] if draw.draw(st.booleans()) else whole
    cuts = draw.draw(st.lists(st.integers(0, len(part)), max_size=40))
    ends = [*sorted(cuts), len(part)]
    decoder = RecordDecoder()

    decoded = [each for a, b in zip([0, *ends], ends, strict=False) for each in decoder.feed(part[a:b])]

    assert decoded == [decode_line(line) for line in part.split(b"\n")[:-1]]
    assert decoder.end() is None


@pytest.mark.parametrize("version", VERSIONS)
def test_one_byte_at_a_time_makes_the_same_records(version: str) -> None:
    decoder = RecordDecoder()
    whole = stream(version)

    decoded = [record for n in range(len(whole)) for record in decoder.feed(whole[n : n + 1])]

    assert decoded == list(records(version))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pieces_of_text_make_up_the_text(version: str) -> None:
    streamed: list[str] = []
    for record in records(version):
        if record["type"] == "message_start":
            streamed = []
        streamed.append(text_delta(record))
        if record["type"] == "message_end" and record["message"]["role"] == "assistant":
            (message,) = messages({"data": {"messages": [record["message"]]}})
            assert "".join(streamed) == message.text


@properties
@given(st.data(), st.sampled_from(VERSIONS), json_values())
def test_a_real_event_with_one_value_replaced_is_still_an_event(draw: st.DataObject, version: str, value: Any) -> None:
    record = draw.draw(st.sampled_from([each for each in records(version) if each["type"] != "response"]))
    path: list[Any] = []
    here: Any = record
    while isinstance(here, dict | list) and here and (not path or draw.draw(st.booleans())):
        path.append(draw.draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here)))))
        here = here[path[-1]]

    changed = replaced(record, path, value)
    event = decode_event(changed)

    assert isinstance(event, Wire)
    assert event.raw is changed
    if isinstance(event, UnknownEvent) and path[0] not in ("type", "method"):
        assert event.reason is not None
        assert event.reason.startswith(str(path[0])), "it is said where"


def replaced(whole: Any, path: list[Any], value: Any) -> Any:
    if not path:
        return value
    changed = dict(whole) if isinstance(whole, dict) else list(whole)
    changed[path[0]] = replaced(whole[path[0]], path[1:], value)
    return changed


@pytest.mark.parametrize("version", VERSIONS)
def test_no_trace_of_the_machine_is_in_the_fixture(version: str) -> None:
    for trace in (b"/tmp", b"/private/", b"/Users/", b"/root", b"node_modules"):
        assert trace not in stream(version).replace(b"/home/user/tmp", b"")


def test_the_newer_pi_says_more() -> None:
    older, newer = (list(records(version)) for version in VERSIONS)

    def dispositions(of: list[Record]) -> set[Any]:
        prompts = [each for each in of if each.get("command") == "prompt" and each["success"]]
        return {each.get("data", {}).get("disposition") for each in prompts}

    def aborted(of: list[Record]) -> set[Any]:
        return {each.get("aborted") for each in of if each["type"] == "agent_settled"}

    assert dispositions(older) == {None}
    assert dispositions(newer) == {"started", "handled"}
    assert aborted(older) == {None}
    assert aborted(newer) == {False, True}
