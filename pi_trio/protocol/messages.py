"""The messages that events, responses and session entries share (Pi's ``docs/message-types.md``).

Strings with a fixed set of values stay ``str``: the values known today are in the docstring, and one
that Pi adds tomorrow is no reason to lose a message.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs

from .convert import Wire, by_tag, register, structure
from .usage import Usage

__all__ = [
    "AssistantMessage",
    "BashExecutionMessage",
    "BranchSummaryMessage",
    "CompactionSummaryMessage",
    "ContentBlock",
    "CustomMessage",
    "DeferredHandle",
    "Diagnostic",
    "ImageContent",
    "Message",
    "NestedToolCall",
    "NestedToolCalls",
    "SystemMessage",
    "TextContent",
    "ThinkingContent",
    "ToolCall",
    "ToolDefinition",
    "ToolReference",
    "ToolResultMessage",
    "UnknownContent",
    "UnknownMessage",
    "UserMessage",
]


@attrs.frozen
class TextContent(Wire):
    """Text."""

    text: str
    text_signature: str | None = None
    """Opaque, provider-specific."""


@attrs.frozen
class ImageContent(Wire):
    """An image."""

    data: str = attrs.field(repr=lambda data: f"<{len(data)} characters>")
    """Base64."""
    mime_type: str
    """Such as ``"image/png"``."""


@attrs.frozen
class ThinkingContent(Wire):
    """What the model thought, where the provider shows it."""

    thinking: str
    thinking_signature: str | None = None
    """Opaque, provider-specific."""
    redacted: bool | None = None


@attrs.frozen
class ToolCall(Wire):
    """The model asks for a tool."""

    id: str
    name: str
    arguments: dict[str, Any]
    thought_signature: str | None = None
    namespace: str | None = None


@attrs.frozen
class UnknownContent(Wire):
    """A content block of a type that this version does not know: see ``raw``."""

    type: str = ""


ContentBlock: TypeAlias = TextContent | ImageContent | ThinkingContent | ToolCall | UnknownContent

by_tag(
    ContentBlock,
    "type",
    {"text": TextContent, "image": ImageContent, "thinking": ThinkingContent, "toolCall": ToolCall},
    UnknownContent,
)

Content: TypeAlias = str | tuple[ContentBlock, ...]


def _content(value: Any, _: Any) -> Content:
    return value if isinstance(value, str) else structure(value, tuple[ContentBlock, ...])


register(Content, _content)


def text_of(content: Content) -> str:
    """The text of a content value, its other blocks left out."""
    if isinstance(content, str):
        return content
    return "".join(block.text for block in content if isinstance(block, TextContent))


@attrs.frozen
class ToolDefinition(Wire):
    """A tool as the model is told of it."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = attrs.field(factory=dict)
    """A JSON schema."""
    constrained_sampling: Any = None


@attrs.frozen
class ToolReference(Wire):
    """A tool by its name."""

    name: str


@attrs.frozen
class SystemMessage(Wire):
    """The system prompt, or a later change to it."""

    content: Content
    timestamp: float | None = None
    """Unix time in milliseconds, here as in every message."""
    sections: dict[str, str | None] | None = None
    """Parts of the prompt by name, behind ``content``; with ``None``, that part is taken out."""
    tools_added: tuple[ToolDefinition, ...] | None = None
    tools_removed: tuple[ToolReference, ...] | None = None
    replace: bool | None = None
    """What was said before it counts no more (Pi 0.87)."""


@attrs.frozen
class UserMessage(Wire):
    """What the user said."""

    content: Content
    timestamp: float | None = None

    @property
    def text(self) -> str:
        """Its text, images left out."""
        return text_of(self.content)


@attrs.frozen
class DeferredHandle(Wire):
    """By what the provider is asked later for an answer that takes its time."""

    provider: str
    model_id: str
    api: str
    id: str
    expires_at: float | None = None
    poll_after_ms: float | None = None
    data: Any = None


@attrs.frozen
class Diagnostic(Wire):
    """Something that went wrong on the way to an answer."""

    type: str
    timestamp: float | None = None
    error: dict[str, Any] | None = None
    """``message``, and where known ``name``, ``stack`` and ``code``."""
    details: dict[str, Any] | None = None


@attrs.frozen
class AssistantMessage(Wire):
    """What the model said: text, thinking, tool calls."""

    content: tuple[ContentBlock, ...]
    provider: str
    model: str
    usage: Usage
    stop_reason: str
    """``pending``, ``stop``, ``length``, ``toolUse``, ``error``, ``aborted`` or ``deferred``."""
    api: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    error_message: str | None = None
    timestamp: float | None = None
    provider_thinking_level: str | None = None
    """How hard it thought, in the provider's own word."""
    thinking_level: str | None = None
    """The same in Pi's (since 1.5)."""
    diagnostics: tuple[Diagnostic, ...] | None = None
    deferred: DeferredHandle | None = None
    """Where the stop reason is ``deferred``."""
    raw_stop_reason: str | None = None
    """The provider's own word."""
    end_turn: bool | None = None
    """Whether the model said that its turn is over, where the provider tells."""
    duration_ms: float | None = None
    """How long it took (since 1.5)."""

    @property
    def text(self) -> str:
        """Its text blocks, joined."""
        return text_of(self.content)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Its tool calls, in order."""
        return tuple(block for block in self.content if isinstance(block, ToolCall))


@attrs.frozen
class NestedToolCall(Wire):
    """A call that a tool made to another."""

    id: str
    name: str
    status: str
    """``ok``, ``error`` or ``unfinished``."""
    arguments: dict[str, Any] | None = None
    """Left out where they are long: then there is only ``arguments_bytes``."""
    arguments_bytes: int | None = None
    duration_ms: float | None = None
    error: str | None = None


@attrs.frozen
class NestedToolCalls(Wire):
    """The calls that a tool made to others."""

    calls: tuple[NestedToolCall, ...]
    complete: bool
    """Whether they are all here."""


@attrs.frozen
class ToolResultMessage(Wire):
    """What a tool gave back to the model."""

    tool_call_id: str
    tool_name: str
    content: tuple[ContentBlock, ...]
    is_error: bool
    details: Any = None
    usage: Usage | None = None
    """What the tool itself has used, if it asked a model."""
    timestamp: float | None = None
    nested_calls: NestedToolCalls | None = None
    """What it called in its turn (since 1.5)."""
    duration_ms: float | None = None
    """How long it took (since 1.5)."""

    @property
    def text(self) -> str:
        """Its text blocks, joined."""
        return text_of(self.content)


@attrs.frozen
class BashExecutionMessage(Wire):
    """A shell command run over RPC, not by the model."""

    command: str
    output: str
    cancelled: bool
    truncated: bool
    exit_code: int | None = None
    full_output_path: str | None = None
    exclude_from_context: bool | None = None
    timestamp: float | None = None


@attrs.frozen
class CustomMessage(Wire):
    """A message that an extension put into the context."""

    custom_type: str
    content: Content
    display: bool = True
    details: Any = None
    timestamp: float | None = None


@attrs.frozen
class BranchSummaryMessage(Wire):
    """What was summarized when a branch was left."""

    summary: str
    from_id: str | None = None
    timestamp: float | None = None


@attrs.frozen
class CompactionSummaryMessage(Wire):
    """What was summarized when the context was compacted."""

    summary: str
    tokens_before: int
    timestamp: float | None = None


@attrs.frozen
class UnknownMessage(Wire):
    """A message with a role that this version does not know: see ``raw``."""

    role: str = ""


Message: TypeAlias = (
    SystemMessage
    | UserMessage
    | AssistantMessage
    | ToolResultMessage
    | BashExecutionMessage
    | CustomMessage
    | BranchSummaryMessage
    | CompactionSummaryMessage
    | UnknownMessage
)

by_tag(
    Message,
    "role",
    {
        "system": SystemMessage,
        "user": UserMessage,
        "assistant": AssistantMessage,
        "toolResult": ToolResultMessage,
        "bashExecution": BashExecutionMessage,
        "custom": CustomMessage,
        "branchSummary": BranchSummaryMessage,
        "compactionSummary": CompactionSummaryMessage,
    },
    UnknownMessage,
)
