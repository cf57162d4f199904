"""What a run came to."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ..protocol import AssistantMessage, Message, MessageEnd, Record, ToolCall, Usage, decode_event

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
    """Tokens and US dollars, summed over the run's model calls."""
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

    def add(self, record: Record) -> None:
        """Take the next record of the run."""
        if record.get("type") == "message_end":
            event = decode_event(record)
            if isinstance(event, MessageEnd):
                self._messages.append(event.message)

    @property
    def messages(self) -> tuple[Message, ...]:
        """Every message that was completed so far."""
        return tuple(self._messages)

    def replace(self, messages: Iterable[Message]) -> None:
        """These are the run's messages: more is known of it than what has passed."""
        self._messages = list(messages)

    @property
    def usage(self) -> Usage:
        """Tokens and US dollars of the model calls so far."""
        return sum((each.usage for each in self._messages if isinstance(each, AssistantMessage)), Usage())

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
