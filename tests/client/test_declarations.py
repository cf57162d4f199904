"""Nothing of Pi's own type declarations is missing here, in either version."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import attrs
import pytest

from pi_trio import PiClient
from pi_trio.client.branches import Branches
from pi_trio.launch import PiInstall
from pi_trio.protocol import (
    EVENT_TYPES,
    STEP_TYPES,
    UI_METHODS,
    AssistantMessage,
    BashExecutionMessage,
    BashResult,
    BranchSummaryMessage,
    CompactionResult,
    CompactionSummaryMessage,
    ConversationTree,
    Cost,
    CustomMessage,
    DeferredHandle,
    Diagnostic,
    Fork,
    ForkMessage,
    ImageContent,
    ImageLimits,
    ImageResize,
    InputLimits,
    MessageEntry,
    Model,
    ModelCost,
    ModelCostTier,
    NestedToolCall,
    NestedToolCalls,
    QueueContents,
    SessionStats,
    SlashCommand,
    SourceInfo,
    State,
    SystemMessage,
    TextContent,
    ThinkingContent,
    ToolCall,
    ToolDefinition,
    ToolReference,
    ToolResultMessage,
    TreeNode,
    Usage,
    UserMessage,
)
from pi_trio.protocol.convert import camel_case
from pi_trio.protocol.entries import ENTRY_TYPES


def declarations(pi: PiInstall) -> Path:
    """The folder with Pi's declarations."""
    return next(parent for parent in pi.path.parents if parent.name == "dist")


def declared(source: str, name: str) -> str:
    """The text of an exported type or interface, up to the next declaration at the left margin."""
    start = re.search(rf"^(?:export )?(?:declare )?(?:type|interface) {name}\b", source, re.MULTILINE)
    assert start, f"Pi declares no {name} any more: this test has to learn where it is now"
    return re.split(r"^(?=export|declare|interface|type|/\*\*|//)", source[start.start() + 1 :], flags=re.MULTILINE)[0]


def tags(text: str, tag: str = "type") -> set[str]:
    return set(re.findall(rf'\b{tag}: "([^"]+)"', text))


def own_fields(text: str) -> dict[str, bool]:
    """The fields of an interface at its first level, and whether each is always there."""
    return {name: not optional for name, optional in re.findall(r"^    (\w+)(\??):", text, re.MULTILINE)}


def rpc_types(pi: PiInstall) -> str:
    return (declarations(pi) / "modes" / "rpc" / "rpc-types.d.ts").read_text()


def core(pi: PiInstall, name: str) -> str:
    return (declarations(pi) / "core" / name).read_text()


def test_every_command_is_a_method_with_its_arguments(pi: PiInstall) -> None:
    union = declared(rpc_types(pi), "RpcCommand")
    commands = {each[0]: each[1] for each in re.findall(r'type: "(\w+)";(.*?)\n}', union, re.DOTALL)}
    assert len(commands) >= 33
    for command, rest in commands.items():
        method = getattr(PiClient, command, None)
        assert inspect.iscoroutinefunction(method), f"no method for {command}"
        assert method.__doc__, f"{command} is not documented"
        ours = {camel_case(name) for name in inspect.signature(method).parameters}
        theirs = set(re.findall(r"^    (\w+)\??:", rest, re.MULTILINE))
        assert theirs <= ours, f"{command} cannot be given {theirs - ours}"


def test_every_event_has_a_class(pi: PiInstall) -> None:
    union = declared(core(pi, "agent-session.d.ts"), "AgentSessionEvent")
    session_events = tags(union)
    assert len(session_events) >= 14
    assert session_events <= set(EVENT_TYPES)
    page = (declarations(pi).parent / "docs" / "json.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert {"agent_start", "tool_execution_end", "text_delta"} <= documented
    assert documented <= set(EVENT_TYPES) | set(STEP_TYPES)


def test_the_events_of_the_agent_have_classes(one_pi: PiInstall) -> None:
    """The package with these is installed for one of the versions only: the other comes as a bundle."""
    types = declarations(one_pi).parent.parent / "pi-agent-core" / "dist" / "types.d.ts"
    events = tags(declared(types.read_text(), "AgentEvent"))
    assert {"agent_start", "message_update", "tool_execution_end"} <= events <= set(EVENT_TYPES)


def test_every_ui_method_has_a_class(pi: PiInstall) -> None:
    union = declared(rpc_types(pi), "RpcExtensionUIRequest")
    requests = re.findall(r'method: "(\w+)";(.*?)\n}', union, re.DOTALL)
    assert {method for method, _ in requests} == set(UI_METHODS)
    for method, rest in requests:
        theirs = set(re.findall(r"^    (\w+)\??:", rest, re.MULTILINE))
        assert theirs <= ours_of(UI_METHODS[method]), method


def test_every_entry_type_has_a_class(pi: PiInstall) -> None:
    source = core(pi, "session-manager.d.ts")
    names = re.findall(r"\w+Entry\b", declared(source, "SessionEntry").split("=", 1)[1])
    entries = {name: declared(source, name) for name in names}
    assert len(entries) >= 11
    for name, text in entries.items():
        (tag,) = tags(text)
        assert set(own_fields(text)) - {"type"} <= ours_of(ENTRY_TYPES[tag]), name


def ours_of(cls: type[Any]) -> set[str]:
    return {camel_case(field.name) for field in attrs.fields(cls)}


@pytest.mark.parametrize(
    ("file", "name", "cls"),
    [
        ("modes/rpc/rpc-types.d.ts", "RpcSessionState", State),
        ("modes/rpc/rpc-types.d.ts", "RpcSlashCommand", SlashCommand),
        ("core/agent-session.d.ts", "SessionStats", SessionStats),
        ("core/bash-executor.d.ts", "BashResult", BashResult),
        ("core/compaction/compaction.d.ts", "CompactionResult", CompactionResult),
        ("core/source-info.d.ts", "SourceInfo", SourceInfo),
    ],
)
def test_every_field_of_a_result_is_there(pi: PiInstall, file: str, name: str, cls: type[Any]) -> None:
    theirs = own_fields(declared((declarations(pi) / file).read_text(), name))
    assert theirs
    ours = {camel_case(field.name): field for field in attrs.fields(cls)}
    assert set(theirs) <= set(ours)
    for field, always in theirs.items():
        if not always:  # what may be missing must not be asked for
            assert ours[field].default is not attrs.NOTHING, field


def responses(pi: PiInstall) -> Mapping[str, str]:
    union = declared(rpc_types(pi), "RpcResponse")
    found = re.findall(r'command: "(\w+)";\n    success: true;(.*?)\n}(?: \||;)', union, re.DOTALL)
    return dict(found)


@pytest.mark.parametrize(
    ("command", "cls"), [("clear_queue", QueueContents), ("fork", Fork), ("get_fork_messages", ForkMessage)]
)
def test_every_field_of_an_inline_result_is_there(pi: PiInstall, command: str, cls: type[Any]) -> None:
    fields = set(re.findall(r"^\s{8,}(\w+)\??:", responses(pi)[command], re.MULTILINE)) - {"messages"}
    assert fields
    assert fields <= ours_of(cls)


def test_every_response_with_data_is_known(pi: PiInstall) -> None:
    """A method for a command whose response has data returns it."""
    with_data = [command for command, data in responses(pi).items() if "data:" in data]
    assert len(with_data) >= 19
    for command in with_data:
        assert inspect.signature(getattr(PiClient, command)).return_annotation != "None", command


# --- messages and models -----------------------------------------------------------------------------

MESSAGES: dict[str, type[Any]] = {
    "AssistantMessage": AssistantMessage,
    "BashExecutionMessage": BashExecutionMessage,
    "BranchSummaryMessage": BranchSummaryMessage,
    "CompactionSummaryMessage": CompactionSummaryMessage,
    "CustomMessage": CustomMessage,
    "DeferredHandle": DeferredHandle,
    "ImageContent": ImageContent,
    "NestedToolCallRecord": NestedToolCall,
    "NestedToolCalls": NestedToolCalls,
    "SystemMessage": SystemMessage,
    "TextContent": TextContent,
    "ThinkingContent": ThinkingContent,
    "ToolCall": ToolCall,
    "ToolResultMessage": ToolResultMessage,
    "Usage": Usage,
    "UserMessage": UserMessage,
}
"""Pi's name of each interface on its page about messages, and the class for it."""


def check_class(theirs: dict[str, bool], cls: type[Any]) -> None:
    """Every field of theirs is one of ours, and what may be missing is not asked for."""
    assert theirs
    ours = {camel_case(field.name): field for field in attrs.fields(cls)}
    assert set(theirs) - {"type", "role"} <= set(ours), cls.__name__
    for field, always in theirs.items():
        assert always or ours[field].default is not attrs.NOTHING, f"{cls.__name__}.{field}"


def test_every_field_that_is_documented_of_a_message_is_there(pi: PiInstall) -> None:
    """The page is in both packages; the declarations are in one only."""
    page = (declarations(pi).parent / "docs" / "message-types.md").read_text()
    found = dict(re.findall(r"^interface (\w+)[^{\n]*\{\n(.*?)^\}", page, re.MULTILINE | re.DOTALL))
    assert len(found) >= 14
    assert set(found) <= set(MESSAGES)
    for name, text in found.items():
        fields = re.findall(r"^  (\w+)(\??):", text, re.MULTILINE)
        check_class({field: not optional for field, optional in fields}, MESSAGES[name])
    cost = re.findall(r"^    (\w+)\??:", found["Usage"], re.MULTILINE)
    assert {"input", "cacheRead", "total"} <= set(cost) <= ours_of(Cost)


@pytest.mark.parametrize(
    ("names", "cls"),
    [
        (["AssistantMessage"], AssistantMessage),
        (["DeferredHandle"], DeferredHandle),
        (["ImageContent"], ImageContent),
        (["SystemMessage"], SystemMessage),
        (["TextContent"], TextContent),
        (["ThinkingContent"], ThinkingContent),
        (["Tool"], ToolDefinition),
        (["ToolCall"], ToolCall),
        (["ToolReference"], ToolReference),
        (["ToolResultMessage"], ToolResultMessage),
        (["Usage"], Usage),
        (["UserMessage"], UserMessage),
        (["Model"], Model),
        (["ModelCostRates", "ModelCost"], ModelCost),
        (["ModelCostRates", "ModelCostTier"], ModelCostTier),
        (["ModelInputLimits"], InputLimits),
        (["ModelImageInputLimits"], ImageLimits),
        (["ModelImageResizeOptions"], ImageResize),
    ],
)
def test_every_field_that_is_declared_of_a_message_or_model_is_there(
    one_pi: PiInstall, names: list[str], cls: type[Any]
) -> None:
    """The package with these is installed for one of the versions only: the other comes as a bundle."""
    types = (declarations(one_pi).parent.parent / "pi-ai" / "dist" / "types.d.ts").read_text()
    theirs: dict[str, bool] = {}
    for name in names:  # one extends the other
        theirs |= own_fields(declared(types, name))
    check_class(theirs, cls)


def test_every_field_that_is_declared_of_a_diagnostic_is_there(one_pi: PiInstall) -> None:
    pi_ai = declarations(one_pi).parent.parent / "pi-ai" / "dist"
    source = (pi_ai / "utils" / "diagnostics.d.ts").read_text()
    check_class(own_fields(declared(source, "AssistantMessageDiagnostic")), Diagnostic)


# --- everything is a value ---------------------------------------------------------------------------


def results_of(annotation: Any) -> Iterator[type[Any]]:
    """The classes of ours in an annotation, and in the annotations of their fields."""
    waiting, seen = [annotation], set()
    while waiting:
        each = waiting.pop()
        waiting += get_args(each)
        if isinstance(each, type) and each.__module__.startswith("pi_trio.") and each not in seen:
            seen.add(each)
            yield each
            if attrs.has(each):
                waiting += [field.type for field in attrs.fields(attrs.resolve_types(each))]


@pytest.mark.parametrize("cls", [PiClient, Branches])
def test_every_result_is_frozen(cls: type[Any]) -> None:
    found: set[type[Any]] = set()
    for _, method in inspect.getmembers(cls, inspect.iscoroutinefunction):
        if not method.__name__.startswith("_"):
            found |= set(results_of(get_type_hints(method).get("return")))
    assert {ConversationTree, TreeNode, MessageEntry} <= found
    for each in found:
        assert attrs.has(each), each
        assert getattr(each.__setattr__, "__name__", "") == "_frozen_setattrs", each
        for field in attrs.fields(each):
            assert get_origin(field.type) is not list, f"{each.__name__}.{field.name} can be changed"
