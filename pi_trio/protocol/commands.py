"""What Pi answers to commands (Pi's ``docs/rpc-commands.md``)."""

from __future__ import annotations

from typing import Any

import attrs

from ..errors import InvalidResponse
from .convert import ShapeError, T, Wire, structure
from .models import Model

__all__ = [
    "BashResult",
    "ContextUsage",
    "Fork",
    "ForkMessage",
    "QueueContents",
    "SessionStats",
    "SessionSwitch",
    "SlashCommand",
    "SourceInfo",
    "State",
    "TokenCounts",
    "response_data",
    "response_field",
]


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
class Fork(Wire):
    """``fork``: a new session, up to before a message of the user; or whether an extension refused it."""

    cancelled: bool
    text: str | None = None
    """That message, to be sent again or in other words."""


@attrs.frozen
class ForkMessage(Wire):
    """``get_fork_messages``: a message of the user that can be forked from."""

    entry_id: str
    text: str


@attrs.frozen
class SourceInfo(Wire):
    """Where something that Pi loaded comes from."""

    path: str
    source: str
    """How it was found, such as ``local``, ``auto`` or ``cli``."""
    scope: str
    """``user``, ``project`` or ``temporary``."""
    origin: str
    """``top-level`` or ``package``."""
    base_dir: str | None = None
    changelog_path: str | None = None
    """From Pi 1.5 on, for what came in a package that has one."""


@attrs.frozen
class SlashCommand(Wire):
    """``get_commands``: what can be prompted as ``/name``."""

    name: str
    source: str
    """``extension``, ``prompt`` (a template) or ``skill``."""
    source_info: SourceInfo
    description: str | None = None


@attrs.frozen
class SessionSwitch(Wire):
    """``new_session`` and the like: whether an extension refused the switch."""

    cancelled: bool


@attrs.frozen
class QueueContents(Wire):
    """``clear_queue``: the messages that were taken out of the queue."""

    steering: tuple[str, ...]
    follow_up: tuple[str, ...]


def response_field(command: str, data: Any, name: str, cls: Any) -> Any:
    """One field of a response's data, as a ``cls``. Raises as :func:`response_data`."""
    if not isinstance(data, dict) or name not in data:
        raise InvalidResponse(command, f"{name} is missing", data=data)
    return response_data(command, data[name], cls)


def response_data(command: str, data: Any, cls: type[T]) -> T:
    """A response's data as a ``cls``.

    Raises:
        InvalidResponse: it does not have that shape.
    """
    try:
        return structure(data, cls)
    except ShapeError as error:
        raise InvalidResponse(command, str(error), data=data) from error
