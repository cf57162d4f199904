"""What a run came to."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ..protocol import (
    AssistantMessage,
    CompactionEnd,
    CompactionEntry,
    CompactionResult,
    Message,
    MessageEnd,
    Record,
    ToolCall,
    ToolResultMessage,
    Usage,
    decode_event,
)

__all__ = ["Reply", "ReplyFold"]


@attrs.frozen
class Reply:
    """The outcome of one run: a prompt, until Pi settled."""

    text: str
    """The text of the last assistant message."""
    stop_reason: str | None
    """Why the model stopped: ``stop``, ``length``, ``toolUse``, ``error``, ``aborted``; ``None`` when it was not asked."""
    messages: tuple[Message, ...]
    """Every message that was completed during the run, in order."""
    tool_calls: tuple[ToolCall, ...]
    """Every tool call the model made, in order."""
    usage: Usage
    """Tokens and US dollars of the whole run, as Pi adds them to its session: the answers, the summaries of
    compactions, and what tools say that they have used themselves."""
    error_message: str | None = None
    """What went wrong, when ``stop_reason`` is ``error``."""
    handled: bool = False
    """Pi, or an extension of it, dealt with the prompt itself: no run was started."""

    @property
    def ok(self) -> bool:
        """Whether the run came to its end: neither failed nor aborted."""
        return self.stop_reason not in ("error", "aborted")


class ReplyFold:
    """Makes a :class:`Reply` of a run's records, as they pass."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._compactions: dict[tuple[str, int], Usage] = {}

    def add(self, record: Record) -> None:
        """Take the next record of the run."""
        kind = record.get("type")
        if kind not in ("message_end", "compaction_end"):
            return
        event = decode_event(record)
        if isinstance(event, MessageEnd):
            self._messages.append(event.message)
        elif isinstance(event, CompactionEnd) and event.result is not None:
            self._add_compaction(event.result)

    def _add_compaction(self, compaction: CompactionResult | CompactionEntry) -> None:
        # Told as it ends, and again among the entries when the run is looked up in its session: it counts once.
        if compaction.usage is not None:
            self._compactions[compaction.first_kept_entry_id, compaction.tokens_before] = compaction.usage

    @property
    def messages(self) -> tuple[Message, ...]:
        """Every message that was completed so far."""
        return tuple(self._messages)

    def replace(self, said: Iterable[Message | CompactionEntry]) -> None:
        """These are the run's messages, and compactions of it: more is known of it than what has passed."""
        self._messages = []
        for each in said:
            if isinstance(each, CompactionEntry):
                self._add_compaction(each)
            else:
                self._messages.append(each)

    @property
    def usage(self) -> Usage:
        """Tokens and US dollars so far: see :attr:`Reply.usage`."""
        used = [each.usage for each in self._messages if isinstance(each, AssistantMessage | ToolResultMessage)]
        return sum((each for each in (*used, *self._compactions.values()) if each is not None), Usage())

    def reply(self, *, handled: bool = False, aborted: bool = False) -> Reply:
        """The reply as far as it has come.

        ``aborted``: an error is what the abort led to. Pi 0.87 says that when a tool was running (the model call that
        it begins behind that fails at once); 1.5 says ``aborted``.
        """
        answers = [message for message in self._messages if isinstance(message, AssistantMessage)]
        last = answers[-1] if answers else None
        stop_reason = last.stop_reason if last else None
        if aborted and stop_reason == "error":
            stop_reason = "aborted"
        return Reply(
            text=last.text if last else "",
            stop_reason=stop_reason,
            messages=tuple(self._messages),
            tool_calls=tuple(call for answer in answers for call in answer.tool_calls),
            usage=self.usage,
            error_message=last.error_message if last and stop_reason == "error" else None,
            handled=handled,
        )
