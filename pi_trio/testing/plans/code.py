"""Values as Python code that makes them again: short, for what has its default is left out."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import attrs

__all__ = ["as_code", "given"]

_LINE = 100


def as_code(value: Any, indent: int | None = None) -> str:
    """``value`` as an expression: attrs classes, enums, tuples, mappings and plain values.

    With ``indent``, what does not fit into a line is spread over several, so many levels in.
    """
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if attrs.has(type(value)):
        parts = [f"{name}={as_code(each, _deeper(indent))}" for name, each in given(value)]
        return _call(type(value).__name__, parts, ")", indent)
    if isinstance(value, tuple):
        parts = [as_code(each, _deeper(indent)) for each in value]
        return _call("", parts, ",)" if len(parts) == 1 else ")", indent)
    if isinstance(value, frozenset):
        return f"frozenset({as_code(tuple(sorted(value, key=str)))})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {as_code(each)}" for key, each in value.items()) + "}"
    return f"Path({str(value)!r})" if isinstance(value, Path) else repr(value)


def given(value: attrs.AttrsInstance) -> list[tuple[str, Any]]:
    """The fields that have another value than by default, with their argument's names."""
    given = []
    for field in attrs.fields(type(value)):
        default = field.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            default = default.factory() if not default.takes_self else attrs.NOTHING
        each = getattr(value, field.name)
        if field.init and each != default:
            given.append((field.alias or field.name, each))
    return given


def _deeper(indent: int | None) -> int | None:
    return None if indent is None else indent + 1


def _call(name: str, parts: list[str], end: str, indent: int | None) -> str:
    line = f"{name}({', '.join(parts)}{end}"
    if indent is None or (len(line) + 4 * indent <= _LINE and "\n" not in line):
        return line
    inner = "\n" + "    " * (indent + 1)
    return f"{name}({inner}{f',{inner}'.join(parts)},\n{'    ' * indent})"
