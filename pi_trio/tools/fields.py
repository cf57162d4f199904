"""The fields of the classes that a tool may take: attrs classes, dataclasses and TypedDicts alike."""

from __future__ import annotations

import dataclasses
from typing import Any, NotRequired, Required, get_origin, get_type_hints, is_typeddict

import attrs

from .docstring import parse_docstring

__all__ = ["MISSING", "UNRESOLVED", "Field", "described", "fields_of", "has_fields"]

MISSING: Any = object()
"""The default of what has none, or one that is made anew each time."""

UNRESOLVED = (NameError, AttributeError, SyntaxError, TypeError)
"""What comes of an annotation that means nothing: no such name, or none in its module; no expression; no type."""


@attrs.frozen
class Field:
    """One field, or one parameter of a function."""

    name: str
    type: Any
    """Its annotation, resolved, with ``Annotated`` and ``NotRequired`` left on."""
    required: bool = True
    default: Any = MISSING
    description: str = ""


def has_fields(cls: Any) -> bool:
    """Whether it is a class of one of the three kinds."""
    return isinstance(cls, type) and (attrs.has(cls) or dataclasses.is_dataclass(cls) or is_typeddict(cls))


def fields_of(cls: type[Any]) -> list[Field]:
    """What has to be given to make one. Raises one of :data:`UNRESOLVED` when an annotation means nothing."""
    said = parse_docstring(cls.__doc__).parameters
    hints = get_type_hints(cls, include_extras=True)
    return [
        Field(name, hints[name], required, default, said.get(name, ""))
        for name, required, default in (_typed_dict(cls, hints) if is_typeddict(cls) else _initialized(cls))
    ]


def _typed_dict(cls: Any, hints: dict[str, Any]) -> list[tuple[str, bool, Any]]:
    # Where annotations are strings, `__required_keys__` knows nothing of the NotRequired in them.
    found: list[tuple[str, bool, Any]] = []
    for name, hint in hints.items():
        wrapper = get_origin(hint)
        required = wrapper is Required if wrapper in (Required, NotRequired) else name in cls.__required_keys__
        found.append((name, required, MISSING))
    return found


def _initialized(cls: Any) -> list[tuple[str, bool, Any]]:
    found: list[tuple[str, bool, Any]] = []
    if attrs.has(cls):
        for each in attrs.fields(cls):
            made = isinstance(each.default, attrs.Factory)  # type: ignore[arg-type]  # a class at run time
            default = MISSING if made or each.default is attrs.NOTHING else each.default
            if each.init:
                found.append((each.name, each.default is attrs.NOTHING, default))
        return found
    for field in dataclasses.fields(cls):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if field.init:
            found.append((field.name, required, MISSING if field.default is dataclasses.MISSING else field.default))
    return found


def described(cls: type[Any]) -> str:
    """What a class says about itself; not what a dataclass makes up when it says nothing."""
    text = cls.__doc__ or ""
    return "" if text.startswith(f"{cls.__name__}(") else parse_docstring(text).description
