"""What Pi tells without being asked: session events (Pi's ``docs/json.md``) and the RPC-only ones.

:func:`decode_event` makes the typed event of a record when somebody wants to look at it; until then a
record stays the ``dict`` it is. Extension UI records are in :mod:`.ui`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import attrs
import msgspec

from .convert import ShapeError, Wire, by_tag, structure
from .entries import Entry
from .framing import MalformedRecord
from .messages import Message, ToolCall, ToolResultMessage
from .records import Record, decode_line
from .ui import UI_METHODS, UIRequest
from .usage import Usage

__all__ = [
    "EVENT_TYPES",
    "STREAMED",
    "STEP_TYPES",
    "AgentEnd",
    "AgentSettled",
    "AgentStart",
    "AssistantMessageEvent",
    "AutoRetryEnd",
    "AutoRetryStart",
    "BashExecutionUpdate",
    "CompactionEnd",
    "CompactionResult",
    "CompactionStart",
    "EntryAppended",
    "Event",
    "ExtensionError",
    "MessageEnd",
    "MessageStart",
    "MessageUpdate",
    "QueueUpdate",
    "SessionHeader",
    "SessionInfoChanged",
    "StreamDone",
    "StreamError",
    "StreamStart",
    "SummarizationRetryAttemptStart",
    "SummarizationRetryFinished",
    "SummarizationRetryScheduled",
    "TextDelta",
    "TextEnd",
    "TextStart",
    "ThinkingDelta",
    "ThinkingEnd",
    "ThinkingLevelChanged",
    "ThinkingStart",
    "ToolCallDelta",
    "ToolCallEnd",
    "ToolCallStart",
    "ToolExecutionEnd",
    "ToolExecutionStart",
    "ToolExecutionUpdate",
    "TurnEnd",
    "TurnStart",
    "UnknownAssistantMessageEvent",
    "UnknownEvent",
    "decode_event",
    "message_step",
    "text_delta",
    "text_deltas",
]


# --- inside message_update ---------------------------------------------------------------------------


@attrs.frozen
class StreamStart(Wire):
    """``start``: the provider's stream began."""


@attrs.frozen
class TextStart(Wire):
    """``text_start``: a text block began. ``content_index`` says which block, here and below."""

    content_index: int


@attrs.frozen
class TextDelta(Wire):
    """``text_delta``: append ``delta`` to the block."""

    content_index: int
    delta: str


@attrs.frozen
class TextEnd(Wire):
    """``text_end``: the block is complete; ``content`` is authoritative."""

    content_index: int
    content: str


@attrs.frozen
class ThinkingStart(Wire):
    """``thinking_start``: a thinking block began."""

    content_index: int


@attrs.frozen
class ThinkingDelta(Wire):
    """``thinking_delta``: append ``delta`` to the block."""

    content_index: int
    delta: str


@attrs.frozen
class ThinkingEnd(Wire):
    """``thinking_end``: the block is complete; ``content`` is authoritative."""

    content_index: int
    content: str


@attrs.frozen
class ToolCallStart(Wire):
    """``toolcall_start``: a tool-call block began."""

    content_index: int
    id: str | None = None
    tool_name: str | None = None


@attrs.frozen
class ToolCallDelta(Wire):
    """``toolcall_delta``: append ``delta`` to the serialized arguments."""

    content_index: int
    delta: str


@attrs.frozen
class ToolCallEnd(Wire):
    """``toolcall_end``: the tool call is complete."""

    content_index: int
    tool_call: ToolCall


@attrs.frozen
class StreamDone(Wire):
    """``done``: the provider's stream ended well."""

    reason: str
    message: Message


@attrs.frozen
class StreamError(Wire):
    """``error``: the provider's stream ended with an error or an abort."""

    reason: str
    error: Message


@attrs.frozen
class UnknownAssistantMessageEvent(Wire):
    """A streaming step of a type that this version does not know: see ``raw``."""

    type: str = ""


AssistantMessageEvent: TypeAlias = (
    StreamStart
    | TextStart
    | TextDelta
    | TextEnd
    | ThinkingStart
    | ThinkingDelta
    | ThinkingEnd
    | ToolCallStart
    | ToolCallDelta
    | ToolCallEnd
    | StreamDone
    | StreamError
    | UnknownAssistantMessageEvent
)

STEP_TYPES: dict[str, type[Any]] = {
    "start": StreamStart,
    "text_start": TextStart,
    "text_delta": TextDelta,
    "text_end": TextEnd,
    "thinking_start": ThinkingStart,
    "thinking_delta": ThinkingDelta,
    "thinking_end": ThinkingEnd,
    "toolcall_start": ToolCallStart,
    "toolcall_delta": ToolCallDelta,
    "toolcall_end": ToolCallEnd,
    "done": StreamDone,
    "error": StreamError,
}
"""Pi's name of each streaming step, and the class for it."""

by_tag(AssistantMessageEvent, "type", STEP_TYPES, UnknownAssistantMessageEvent)


# --- events ------------------------------------------------------------------------------------------


@attrs.frozen
class SessionHeader(Wire):
    """``session``: the first record of ``pi --mode json``; RPC mode does not send it."""

    id: str
    version: int | None = None
    cwd: str | None = None
    timestamp: str | None = None


@attrs.frozen
class AgentStart(Wire):
    """``agent_start``: a low-level run began."""


@attrs.frozen
class AgentEnd(Wire):
    """``agent_end``: a low-level run ended. Retries, compaction and queued messages may still follow."""

    messages: tuple[Message, ...]
    will_retry: bool = False


@attrs.frozen
class AgentSettled(Wire):
    """``agent_settled``: Pi will not go on by itself. This is the end of a run."""

    aborted: bool | None = None
    """Whether it ended because it was aborted; ``None`` from a Pi that does not say (0.87)."""


@attrs.frozen
class TurnStart(Wire):
    """``turn_start``: one answer of the model, with its tool calls, began."""


@attrs.frozen
class TurnEnd(Wire):
    """``turn_end``: one answer of the model and its tool calls ended."""

    message: Message
    tool_results: tuple[ToolResultMessage, ...]


@attrs.frozen
class MessageStart(Wire):
    """``message_start``: a message began."""

    message: Message


@attrs.frozen
class MessageUpdate(Wire):
    """``message_update``: one step of an assistant message that is being streamed."""

    assistant_message_event: AssistantMessageEvent
    usage: Usage | None = None
    """What the provider reported for this answer so far."""

    @property
    def text_delta(self) -> str:
        """The text that this step adds; empty for every step but a :class:`TextDelta`."""
        step = self.assistant_message_event
        return step.delta if isinstance(step, TextDelta) else ""


@attrs.frozen
class MessageEnd(Wire):
    """``message_end``: a message is complete; this is its authoritative form."""

    message: Message


@attrs.frozen
class ToolExecutionStart(Wire):
    """``tool_execution_start``: a tool began to run."""

    tool_call_id: str
    tool_name: str
    args: Any = None
    parent_tool_call_id: str | None = None


@attrs.frozen
class ToolExecutionUpdate(Wire):
    """``tool_execution_update``: a running tool reported something."""

    tool_call_id: str
    tool_name: str
    args: Any = None
    partial_result: Any = None
    parent_tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The text blocks of the partial result, joined."""
        return _result_text(self.partial_result)


@attrs.frozen
class ToolExecutionEnd(Wire):
    """``tool_execution_end``: a tool finished."""

    tool_call_id: str
    tool_name: str
    is_error: bool
    result: Any = None
    duration_ms: float | None = None
    parent_tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The text blocks of the result, joined."""
        return _result_text(self.result)


def _result_text(result: Any) -> str:
    """Tools may give anything back; usually ``{"content": [blocks], ...}``."""
    blocks = result.get("content") if isinstance(result, dict) else None
    if not isinstance(blocks, list):
        return ""
    texts = [block.get("text") for block in blocks if isinstance(block, dict) and block.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


@attrs.frozen
class QueueUpdate(Wire):
    """``queue_update``: the whole queue of steering and follow-up messages, as it is now."""

    steering: tuple[str, ...]
    follow_up: tuple[str, ...]


@attrs.frozen
class EntryAppended(Wire):
    """``entry_appended``: an extension added an entry to the session."""

    entry: Entry


@attrs.frozen
class SessionInfoChanged(Wire):
    """``session_info_changed``: the session has another name, or none."""

    name: str | None = None


@attrs.frozen
class ThinkingLevelChanged(Wire):
    """``thinking_level_changed``: the thinking level is another."""

    level: str


@attrs.frozen
class CompactionStart(Wire):
    """``compaction_start``: ``reason`` is ``manual``, ``threshold`` or ``overflow``."""

    reason: str


@attrs.frozen
class CompactionResult(Wire):
    """What a compaction came to. Sizes are in tokens."""

    summary: str
    first_kept_entry_id: str
    tokens_before: int
    estimated_tokens_after: int | None = None
    usage: Usage | None = None
    details: Any = None


@attrs.frozen
class CompactionEnd(Wire):
    """``compaction_end``: a compaction ended; without a ``result`` it was aborted or failed."""

    reason: str
    aborted: bool
    will_retry: bool
    result: CompactionResult | None = None
    error_message: str | None = None


@attrs.frozen
class AutoRetryStart(Wire):
    """``auto_retry_start``: the model's answer failed and will be asked for again in ``delay_ms``."""

    attempt: int
    max_attempts: int
    delay_ms: float
    error_message: str


@attrs.frozen
class AutoRetryEnd(Wire):
    """``auto_retry_end``: the retries are over."""

    success: bool
    attempt: int
    final_error: str | None = None


@attrs.frozen
class SummarizationRetryScheduled(Wire):
    """``summarization_retry_scheduled``: a summary failed and will be tried again in ``delay_ms``."""

    attempt: int
    max_attempts: int
    delay_ms: float
    error_message: str


@attrs.frozen
class SummarizationRetryAttemptStart(Wire):
    """``summarization_retry_attempt_start``: ``source`` is ``compaction`` or ``branchSummary``."""

    source: str
    reason: str | None = None


@attrs.frozen
class SummarizationRetryFinished(Wire):
    """``summarization_retry_finished``: the retries of a summary are over."""


@attrs.frozen
class BashExecutionUpdate(Wire):
    """``bash_execution_update``: output of a ``bash`` command; ``id`` is that command's."""

    delta: str
    id: str | None = None


@attrs.frozen
class ExtensionError(Wire):
    """``extension_error``: an extension's handler threw."""

    extension_path: str
    event: str
    error: str


@attrs.frozen
class UnknownEvent(Wire):
    """A record of a type that this version does not know, or that does not have its type's shape."""

    type: str = ""
    reason: str | None = None
    """What did not fit, when the type is known."""


EVENT_TYPES: dict[str, type[Wire]] = {
    "session": SessionHeader,
    "agent_start": AgentStart,
    "agent_end": AgentEnd,
    "agent_settled": AgentSettled,
    "turn_start": TurnStart,
    "turn_end": TurnEnd,
    "message_start": MessageStart,
    "message_update": MessageUpdate,
    "message_end": MessageEnd,
    "tool_execution_start": ToolExecutionStart,
    "tool_execution_update": ToolExecutionUpdate,
    "tool_execution_end": ToolExecutionEnd,
    "queue_update": QueueUpdate,
    "entry_appended": EntryAppended,
    "session_info_changed": SessionInfoChanged,
    "thinking_level_changed": ThinkingLevelChanged,
    "compaction_start": CompactionStart,
    "compaction_end": CompactionEnd,
    "auto_retry_start": AutoRetryStart,
    "auto_retry_end": AutoRetryEnd,
    "summarization_retry_scheduled": SummarizationRetryScheduled,
    "summarization_retry_attempt_start": SummarizationRetryAttemptStart,
    "summarization_retry_finished": SummarizationRetryFinished,
    "bash_execution_update": BashExecutionUpdate,
    "extension_error": ExtensionError,
}
"""Pi's name of each event type, and the class for it."""

Event: TypeAlias = (
    SessionHeader
    | AgentStart
    | AgentEnd
    | AgentSettled
    | TurnStart
    | TurnEnd
    | MessageStart
    | MessageUpdate
    | MessageEnd
    | ToolExecutionStart
    | ToolExecutionUpdate
    | ToolExecutionEnd
    | QueueUpdate
    | EntryAppended
    | SessionInfoChanged
    | ThinkingLevelChanged
    | CompactionStart
    | CompactionEnd
    | AutoRetryStart
    | AutoRetryEnd
    | SummarizationRetryScheduled
    | SummarizationRetryAttemptStart
    | SummarizationRetryFinished
    | BashExecutionUpdate
    | ExtensionError
    | UIRequest
    | UnknownEvent
    | MalformedRecord
)


def decode_event(record: Record | MalformedRecord) -> Event:
    """The typed event of a record. Never raises: what does not fit becomes an :class:`UnknownEvent`."""
    if isinstance(record, MalformedRecord):
        return record
    name = record.get("type")
    cls: type[Wire] | None
    if name == "extension_ui_request":
        method = record.get("method")
        cls = UI_METHODS.get(method) if isinstance(method, str) else None
    else:
        cls = EVENT_TYPES.get(name) if isinstance(name, str) else None
    label = name if isinstance(name, str) else ""
    if cls is None:
        return UnknownEvent(type=label, raw=record)
    try:
        return structure(record, cls)  # type: ignore[return-value]  # every class in the tables is in Event
    except ShapeError as error:
        return UnknownEvent(type=label, reason=str(error), raw=record)


STREAMED = b'{"type":"message_update",'
"""How the line of a step of a message that is being streamed begins: Pi writes the type first.

Nearly every line is one, and nobody but its readers wants to know what is in it: it need not be decoded on its way to
them. One that begins in another way is found out when it is decoded.
"""


class _Step(msgspec.Struct, gc=False):
    type: str
    delta: str = ""


class _Update(msgspec.Struct, gc=False, rename="camel"):
    type: str
    assistant_message_event: _Step

    def text(self) -> str:
        step = self.assistant_message_event
        return step.delta if step.type == "text_delta" and self.type == "message_update" else ""


# Builds these fields and skips the rest of each record, in a fourth of the time that decoding takes.
_updates = msgspec.json.Decoder(_Update)

# Not an update; or one with half a surrogate pair in it; or malformed. The slow way finds out.
_NOT_PLAIN = (TypeError, msgspec.DecodeError, RecursionError)


def text_deltas(items: Sequence[object]) -> list[str]:
    """The pieces of text that records add to the answer, without building their events: for hot loops.

    ``items`` are lines, records, or anything else, which adds nothing.
    """
    try:
        updates = _updates.decode_lines(b"\n".join(items))  # type: ignore[arg-type]  # what is no line raises
    except _NOT_PLAIN:
        texts = map(text_delta, items)
    else:
        texts = map(_Update.text, updates)
    return list(filter(None, texts))


def text_delta(item: object) -> str:
    """The text that one record adds to the answer; see :func:`text_deltas`."""
    if isinstance(item, bytes):
        try:
            return _updates.decode(item).text()
        except _NOT_PLAIN:
            item = decode_line(item)
    step = message_step(item)
    delta = step.get("delta")
    return delta if step.get("type") == "text_delta" and type(delta) is str else ""


def message_step(record: object) -> Record:
    """The streaming step in a ``message_update``, as it came; empty for every other record."""
    if type(record) is dict and record.get("type") == "message_update":
        step = record.get("assistantMessageEvent")
        if type(step) is dict:
            return step
    return {}
