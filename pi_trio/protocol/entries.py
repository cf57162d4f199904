"""The entries of a session, which form a tree (Pi's ``docs/session-format.md``).

Every entry knows its parent. The conversation as the model sees it is the path from a root to the *leaf*, the entry
that the next one will be a child of.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs

from .convert import Wire, by_tag
from .messages import Content, Message, SystemMessage
from .usage import Usage

__all__ = [
    "BranchSummaryEntry",
    "CompactionEntry",
    "ContextEditEntry",
    "CustomEntry",
    "CustomMessageEntry",
    "Entries",
    "Entry",
    "LabelEntry",
    "MessageEntry",
    "ModelChangeEntry",
    "SessionInfoEntry",
    "ThinkingLevelChangeEntry",
    "UnknownEntry",
    "UsageEntry",
]


@attrs.frozen
class _Entry(Wire):
    id: str
    parent_id: str | None
    """The entry it follows; ``None`` for a root."""
    timestamp: str
    """ISO 8601."""


@attrs.frozen
class MessageEntry(_Entry):
    """``message``: a message of the conversation."""

    message: Message


@attrs.frozen
class ModelChangeEntry(_Entry):
    """``model_change``: from here on another model answers."""

    provider: str
    model_id: str


@attrs.frozen
class ThinkingLevelChangeEntry(_Entry):
    """``thinking_level_change``: from here on the model thinks more, or less."""

    thinking_level: str


@attrs.frozen
class UsageEntry(_Entry):
    """``usage``: tokens that were spent on something else than an answer."""

    kind: str
    provider: str
    model: str
    usage: Usage
    note: str | None = None


@attrs.frozen
class CompactionEntry(_Entry):
    """``compaction``: what came before ``first_kept_entry_id`` is replaced by ``summary``."""

    summary: str
    first_kept_entry_id: str
    tokens_before: int
    system_message: SystemMessage | None = None
    usage: Usage | None = None
    details: Any = None
    from_hook: bool | None = None
    """Whether an extension made the summary; here as below."""


@attrs.frozen
class BranchSummaryEntry(_Entry):
    """``branch_summary``: what was left behind when the leaf moved here from ``from_id``."""

    from_id: str
    summary: str
    usage: Usage | None = None
    details: Any = None
    from_hook: bool | None = None


@attrs.frozen
class ContextEditEntry(_Entry):
    """``context_edit``: the model sees ``replacement`` for the content of an earlier entry, or with ``None`` nothing."""

    target_id: str
    replacement: dict[str, Any] | None = None


@attrs.frozen
class CustomEntry(_Entry):
    """``custom``: something that an extension keeps in the session. The model does not see it."""

    custom_type: str
    data: Any = None


@attrs.frozen
class CustomMessageEntry(_Entry):
    """``custom_message``: something that an extension tells the model."""

    custom_type: str
    content: Content
    display: bool = True
    details: Any = None


@attrs.frozen
class LabelEntry(_Entry):
    """``label``: another entry has this label from now on, or with ``None`` none."""

    target_id: str
    label: str | None = None


@attrs.frozen
class SessionInfoEntry(_Entry):
    """``session_info``: the session has another name, or none."""

    name: str | None = None


@attrs.frozen
class UnknownEntry(Wire):
    """An entry of a type that this version does not know: see ``raw``."""

    type: str = ""
    id: str = ""
    parent_id: str | None = None
    timestamp: str = ""


Entry: TypeAlias = (
    MessageEntry
    | ModelChangeEntry
    | ThinkingLevelChangeEntry
    | UsageEntry
    | CompactionEntry
    | BranchSummaryEntry
    | ContextEditEntry
    | CustomEntry
    | CustomMessageEntry
    | LabelEntry
    | SessionInfoEntry
    | UnknownEntry
)

ENTRY_TYPES: dict[str, type[Any]] = {
    "message": MessageEntry,
    "model_change": ModelChangeEntry,
    "thinking_level_change": ThinkingLevelChangeEntry,
    "usage": UsageEntry,
    "compaction": CompactionEntry,
    "branch_summary": BranchSummaryEntry,
    "context_edit": ContextEditEntry,
    "custom": CustomEntry,
    "custom_message": CustomMessageEntry,
    "label": LabelEntry,
    "session_info": SessionInfoEntry,
}
"""Pi's name of each entry type, and the class for it."""

by_tag(Entry, "type", ENTRY_TYPES, UnknownEntry)


@attrs.frozen
class Entries(Wire):
    """``get_entries``: entries in the order they were made, and where the conversation is now."""

    entries: tuple[Entry, ...]
    leaf_id: str | None = None
    """``None`` for a session without entries, or one that was led back to before its first."""
