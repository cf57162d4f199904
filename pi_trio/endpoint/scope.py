"""What a peer may do: a ladder of scopes, and which of Pi's commands needs which."""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import Final

__all__ = ["COMMAND_SCOPES", "Scope", "scope_of"]


class Scope(enum.IntEnum):
    """Each includes those before it. A token has one; nothing that a peer says about itself changes that."""

    OBSERVE = 1
    """See: events, the state, the whole conversation."""
    PROMPT = 2
    """Talk: prompts, what is said to a run, and answers to dialogs. Pi's tools do what the model is talked into."""
    CONTROL = 3
    """Change how Pi works, and which of its sessions it is in."""
    ADMIN = 4
    """All of Pi, with what reaches beyond its session: a shell, files, and commands that are not known here."""

    @classmethod
    def named(cls, name: str) -> Scope:
        """The scope with this name, such as ``"observe"``.

        Raises:
            ValueError: there is none.
        """
        try:
            return cls[name.upper()]
        except KeyError:
            raise ValueError(f"a scope is one of {', '.join(map(str, cls))}, not {name!r}") from None

    def __str__(self) -> str:
        return self.name.lower()


_BY_SCOPE = {
    Scope.OBSERVE: (
        "get_state",
        "get_messages",
        "get_available_models",
        "get_available_thinking_levels",
        "get_session_stats",
        "get_fork_messages",
        "get_entries",
        "get_tree",
        "get_last_assistant_text",
        "get_commands",
    ),
    Scope.PROMPT: ("prompt", "steer", "follow_up", "abort", "clear_queue", "abort_retry", "extension_ui_response"),
    Scope.CONTROL: (
        "new_session",
        "set_model",
        "cycle_model",
        "set_thinking_level",
        "cycle_thinking_level",
        "set_steering_mode",
        "set_follow_up_mode",
        "compact",
        "set_auto_compaction",
        "set_auto_retry",
        "fork",
        "clone",
        "set_session_name",
    ),
    # A shell; a file written where the peer says; a session read from a file that the peer names.
    Scope.ADMIN: ("bash", "abort_bash", "export_html", "switch_session"),
}

COMMAND_SCOPES: Final = MappingProxyType({name: scope for scope, names in _BY_SCOPE.items() for name in names})
"""The scope each command of Pi needs, by its ``type``; and what answers a dialog, which is no command."""


def scope_of(command: str) -> Scope:
    """The scope that a command needs. One that is not known here needs the highest: it may do anything."""
    return COMMAND_SCOPES.get(command) or Scope.ADMIN  # a member of an enum takes longer to find than one of a dict
