"""The messages that events, responses and session entries share (Pi's ``docs/message-types.md``).

Strings with a fixed set of values stay ``str``: the values known today are in the docstring, and one
that Pi adds tomorrow is no reason to lose a message.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs

from .convert import Wire, by_tag, register, structure

__all__ = [
    "AssistantMessage",
    "BashExecutionMessage",
    "BranchSummaryMessage",
    "CompactionSummaryMessage",
    "ContentBlock",
    "Cost",
    "CustomMessage",
    "ImageContent",
    "Message",
    "SystemMessage",
    "TextContent",
    "ThinkingContent",
    "ToolCall",
    "ToolResultMessage",
    "UnknownContent",
    "UnknownMessage",
    "Usage",
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


@attrs.frozen
class Cost(Wire):
    """US dollars."""

    input: float = 0.0
    output: float = 0.0
    cache_read: float = 0.0
    cache_write: float = 0.0
    total: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            input=self.input + other.input,
            output=self.output + other.output,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            total=self.total + other.total,
        )


@attrs.frozen
class Usage(Wire):
    """Tokens of one model call, and what they cost. ``reasoning`` is already part of ``output``."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    total_tokens: int = 0
    cost: Cost = attrs.field(factory=Cost)
    reasoning: int | None = None

    def __add__(self, other: Usage) -> Usage:
        reasoning = None
        if self.reasoning is not None or other.reasoning is not None:
            reasoning = (self.reasoning or 0) + (other.reasoning or 0)
        return Usage(
            input=self.input + other.input,
            output=self.output + other.output,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            total_tokens=self.total_tokens + other.total_tokens,
            cost=self.cost + other.cost,
            reasoning=reasoning,
        )


def text_of(content: Content) -> str:
    """The text of a content value, its other blocks left out."""
    if isinstance(content, str):
        return content
    return "".join(block.text for block in content if isinstance(block, TextContent))


@attrs.frozen
class SystemMessage(Wire):
    """The system prompt, or a later change to it."""

    content: Content
    timestamp: float | None = None
    """Unix time in milliseconds, here as in every message."""


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

    @property
    def text(self) -> str:
        """Its text blocks, joined."""
        return text_of(self.content)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Its tool calls, in order."""
        return tuple(block for block in self.content if isinstance(block, ToolCall))


@attrs.frozen
class ToolResultMessage(Wire):
    """What a tool gave back to the model."""

    tool_call_id: str
    tool_name: str
    content: tuple[ContentBlock, ...]
    is_error: bool
    details: Any = None
    usage: Usage | None = None
    timestamp: float | None = None

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
