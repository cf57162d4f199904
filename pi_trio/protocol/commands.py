"""What Pi answers to the commands of this version (Pi's ``docs/rpc-commands.md``)."""

from __future__ import annotations

from typing import Any

import attrs

from ..errors import InvalidResponse
from .convert import ShapeError, T, Wire, structure

__all__ = [
    "BashResult",
    "ContextUsage",
    "Model",
    "QueueContents",
    "SessionStats",
    "SessionSwitch",
    "State",
    "TokenCounts",
    "response_data",
]


@attrs.frozen
class Model(Wire):
    """A configured model. Sizes are in tokens."""

    id: str
    provider: str
    name: str | None = None
    api: str | None = None
    base_url: str | None = None
    reasoning: bool | None = None
    context_window: int | None = None
    max_tokens: int | None = None


@attrs.frozen
class State(Wire):
    """``get_state``: what Pi is doing, with which model, in which session."""

    session_id: str
    thinking_level: str
    is_streaming: bool
    is_compacting: bool
    steering_mode: str
    follow_up_mode: str
    auto_compaction_enabled: bool
    message_count: int
    pending_message_count: int
    model: Model | None = None
    session_file: str | None = None
    session_name: str | None = None


@attrs.frozen
class TokenCounts(Wire):
    """Tokens of a whole session."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    total: int = 0


@attrs.frozen
class ContextUsage(Wire):
    """How full the context is. Unknown (``None``) right after a compaction."""

    context_window: int
    tokens: int | None = None
    percent: float | None = None


@attrs.frozen
class SessionStats(Wire):
    """``get_session_stats``: counts, tokens, and the cost in US dollars."""

    session_id: str
    user_messages: int
    assistant_messages: int
    tool_calls: int
    tool_results: int
    total_messages: int
    tokens: TokenCounts
    cost: float
    session_file: str | None = None
    context_usage: ContextUsage | None = None


@attrs.frozen
class BashResult(Wire):
    """``bash``: how a shell command ended, and what it printed (stdout and stderr, interleaved)."""

    output: str
    cancelled: bool
    truncated: bool
    exit_code: int | None = None
    """``None`` when the command was ended by a signal."""
    full_output_path: str | None = None
    """Where the whole output is, when ``output`` is only its end."""


@attrs.frozen
class SessionSwitch(Wire):
    """``new_session`` and the like: whether an extension refused the switch."""

    cancelled: bool


@attrs.frozen
class QueueContents(Wire):
    """``clear_queue``: the messages that were taken out of the queue."""

    steering: tuple[str, ...]
    follow_up: tuple[str, ...]


def response_data(command: str, data: Any, cls: type[T]) -> T:
    """A response's data as a ``cls``.

    Raises:
        InvalidResponse: it does not have that shape.
    """
    try:
        return structure(data, cls)
    except ShapeError as error:
        raise InvalidResponse(command, str(error), data=data) from error
