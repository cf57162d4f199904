"""What signals do by default, and in which order those that waited are delivered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias

__all__ = ["DEFAULT_ACTIONS", "IGNORE", "Action", "Handler", "in_order"]

Action: TypeAlias = Literal["end", "ignore", "stop", "continue"]
Handler: TypeAlias = Callable[[str], None]
"""Called with the signal's name, at once. It cannot wait: a program that wants to starts a task."""

IGNORE: Final = "ignore"
"""Instead of a handler: the signal does nothing."""

# In the order of their numbers on Linux: that is the order in which pending ones are delivered.
DEFAULT_ACTIONS: Final[dict[str, Action]] = {
    "SIGHUP": "end",
    "SIGINT": "end",
    "SIGQUIT": "end",
    "SIGKILL": "end",
    "SIGUSR1": "end",
    "SIGUSR2": "end",
    "SIGPIPE": "end",
    "SIGALRM": "end",
    "SIGTERM": "end",
    "SIGCHLD": "ignore",
    "SIGCONT": "continue",
    "SIGSTOP": "stop",
    "SIGTSTP": "stop",
}
"""signal(7), for those that anybody here has a use for."""

_ORDER = {name: number for number, name in enumerate(DEFAULT_ACTIONS)}


def in_order(names: dict[str, None]) -> list[str]:
    """Pending signals in the order in which they are delivered."""
    return sorted(names, key=_ORDER.__getitem__)
