"""What a run has said while nobody here could hear it, from the entries of its session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from ..protocol import (
    CompactionEntry,
    CustomMessage,
    CustomMessageEntry,
    Entries,
    Entry,
    Message,
    MessageEntry,
    UserMessage,
)

__all__ = ["Said", "recall"]

Said: TypeAlias = Message | CompactionEntry

# Those that Pi tells when they are complete. What a shell command of a client's printed is a message, too, but no part of
# a run.
_OF_A_RUN = ("system", "user", "assistant", "toolResult")


def recall(entries: Entries, first: Message | str, last: Message | None) -> tuple[Said, ...] | None:
    """What the conversation has from ``first`` to ``last``, or to its end; ``None``: they are not there.

    A session's entries know no runs: they are told apart by messages of theirs that were heard, or by the text of the
    prompt. Behind that everything is the run's own until it has settled, for Pi does one at a time.
    """
    said = tuple(_said(entries))
    begins = _find_prompt(said, first) if isinstance(first, str) else _find(said, first)
    if begins is None:
        return None
    ends = None if last is None else _find(said, last)
    return said[begins:] if ends is None else said[begins : ends + 1]


def _said(entries: Entries) -> Iterator[Said]:
    for entry in _path(entries):
        if isinstance(entry, MessageEntry) and entry.message.raw.get("role") in _OF_A_RUN:
            yield entry.message
        elif isinstance(entry, CompactionEntry):
            yield entry
        elif isinstance(entry, CustomMessageEntry):
            yield CustomMessage(entry.custom_type, entry.content, entry.display, entry.details)


def _path(entries: Entries) -> list[Entry]:
    """From the root to where the conversation is."""
    by_id = {entry.id: entry for entry in entries.entries}
    path: list[Entry] = []
    entry = by_id.get(entries.leaf_id or "")
    while entry is not None:
        path.append(entry)
        entry = by_id.pop(entry.parent_id or "", None)  # popped: a circle has an end
    return path[::-1]


def _find_prompt(said: tuple[Said, ...], text: str) -> int | None:
    """Where it was said last."""
    places = [at for at, each in enumerate(said) if isinstance(each, UserMessage) and each.text == text]
    return places[-1] if places else None


def _find(said: tuple[Said, ...], wanted: Message) -> int | None:
    """Where it is: the last, if it was said more than once in a millisecond."""
    return next((at for at in range(len(said) - 1, -1, -1) if said[at].raw == wanted.raw), None)
