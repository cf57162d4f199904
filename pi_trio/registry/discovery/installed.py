"""Discoveries that other packages bring."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from ...abc import Discovery

__all__ = ["GROUP", "find_discoveries", "load_discovery"]

GROUP = "pi_trio.discoveries"
"""The group of entry points. Each names a class, or a function, that makes a :class:`Discovery`."""


def find_discoveries() -> tuple[str, ...]:
    """The names of those that are installed. Nothing is imported for it."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def load_discovery(name: str) -> Callable[..., Discovery]:
    """What makes the discovery of this name; its package is imported.

    Raises:
        LookupError: none is installed by this name.
    """
    found = tuple(entry_points(group=GROUP, name=name))
    if not found:
        installed = ", ".join(find_discoveries()) or "none"
        raise LookupError(f"no discovery {name!r} is installed (there are: {installed})")
    make: Callable[..., Discovery] = found[0].load()
    return make
