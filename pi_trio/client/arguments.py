"""Arguments that Pi takes without a look at them.

It keeps a value that it cannot have, and from then on every ``get_state`` says it: no answer of that Pi could be read
any more, those of the supervisor's probes neither.
"""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["check_flag", "check_one_of"]


def check_one_of(name: str, value: object, choices: Collection[str]) -> None:
    """Raise :class:`ValueError` unless ``value`` is one of the ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")


def check_flag(name: str, value: object) -> None:
    """Raise :class:`TypeError` unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {value!r}")
