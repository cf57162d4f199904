"""What a run has said while nobody here could hear it, from the entries of its session."""

from __future__ import annotations

from collections.abc import Iterator

from ..protocol import CustomMessage, CustomMessageEntry, Entries, Entry, Message, MessageEntry, UserMessage

__all__ = ["recall"]

# Those that Pi tells when they are complete. What a shell command of a client's printed is a message, too, but no part of
# a run.
_OF_A_RUN = ("system", "user", "assistant", "toolResult")


def recall(entries: Entries, first: Message | str, last: Message | None) -> tuple[Message, ...] | None:
    """The messages of the conversation from ``first`` to ``last``, or to its end; ``None``: they are not there.

    A session's entries know no runs: they are told apart by messages of theirs that were heard, or by the text of the
    prompt. Behind that everything is the run's own until it has settled, for Pi does one at a time.
    """
    messages = tuple(_messages(entries))
    begins = _find_prompt(messages, first) if isinstance(first, str) else _find(messages, first)
    if begins is None:
        return None
    ends = None if last is None else _find(messages, last)
    return messages[begins:] if ends is None else messages[begins : ends + 1]


def _messages(entries: Entries) -> Iterator[Message]:
    for entry in _path(entries):
        if isinstance(entry, MessageEntry) and entry.message.raw.get("role") in _OF_A_RUN:
            yield entry.message
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


def _find_prompt(messages: tuple[Message, ...], text: str) -> int | None:
    """Where it was said last."""
    said = [at for at, each in enumerate(messages) if isinstance(each, UserMessage) and each.text == text]
    return said[-1] if said else None


def _find(messages: tuple[Message, ...], wanted: Message) -> int | None:
    """Where it is: the last, if it was said more than once in a millisecond."""
    return next((at for at in range(len(messages) - 1, -1, -1) if messages[at].raw == wanted.raw), None)
