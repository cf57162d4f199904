"""Records to frozen classes, strictly.

cattrs converts in silence by default (``None`` becomes ``"None"``, ``5.9`` becomes ``5``). Here a value
either has the type that the class says, or structuring fails with a :class:`ShapeError` that names the
field. Field names are Pi's, in snake_case; every class keeps the record it was made from in ``raw``, so
fields we do not know are never lost.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from ..errors import ProtocolError
from .records import Record

__all__ = ["ShapeError", "Wire", "by_tag", "camel_case", "structure"]

T = TypeVar("T")


class ShapeError(ProtocolError):
    """A record does not have the shape of the class it should become.

    Attributes:
        reason: what does not fit.
        path: where, such as ``".message.content[0].text"``; empty for the record itself.
    """

    def __init__(self, reason: str, *, path: str = "") -> None:
        super().__init__(f"{path.removeprefix('.')}: {reason}" if path else reason)
        self.reason = reason
        self.path = path


# What the functions that cattrs generates raise, beside the hooks below.
_MISFITS = (ShapeError, KeyError, TypeError, ValueError, AttributeError)


@attrs.frozen
class Wire:
    """A base for everything read off the wire: it keeps the record it was made from."""

    raw: Record = attrs.field(kw_only=True, repr=False, factory=dict)
    """The record as it came, unknown fields and all. Not to be changed."""


def camel_case(name: str) -> str:
    """``will_retry`` to ``willRetry``, as Pi spells it. A trailing underscore (``from_``) is ours."""
    head, *rest = name.rstrip("_").split("_")
    return head + "".join(word.capitalize() for word in rest)


def _exactly(kind: type, *, but_not: type | None = None) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is kind:  # nearly always
            return value
        if not isinstance(value, kind) or (but_not is not None and isinstance(value, but_not)):
            raise ShapeError(f"{type(value).__name__} where {kind.__name__} was expected")
        return value

    return hook


def _number(value: Any, _: Any) -> float:
    # JSON has one kind of number; what JavaScript prints without a fraction arrives as int.
    if type(value) is float:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):  # made once, as `int | float` is not
        raise ShapeError(f"{type(value).__name__} where a number was expected")
    try:
        return float(value)
    except OverflowError:
        raise ShapeError("a number that is too large") from None


def _is_tuple_of(cls: Any) -> bool:
    return get_origin(cls) is tuple and len(get_args(cls)) == 2 and get_args(cls)[1] is Ellipsis


def _tuple_hook(cls: Any) -> Callable[[Any, Any], Any]:
    item = get_args(cls)[0]
    item_hook = _converter.get_structure_hook(item)

    def hook(value: Any, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ShapeError(f"{type(value).__name__} where a list was expected")
        return tuple(item_hook(each, item) for each in value)

    return hook


def _is_dict(cls: Any) -> bool:
    return cls is dict or get_origin(cls) is dict


def _is_optional(cls: Any) -> bool:
    if get_origin(cls) not in (Union, types.UnionType):
        return False
    return len(get_args(cls)) == 2 and type(None) in get_args(cls)


def _inner(optional: Any) -> Any:
    return next(arg for arg in get_args(optional) if arg is not type(None))


def _optional_hook(cls: Any) -> Callable[[Any, Any], Any]:
    inner = _inner(cls)
    inner_hook = _converter.get_structure_hook(inner)
    return lambda value, _: None if value is None else inner_hook(value, inner)


def _class_hook(cls: type[Any]) -> Callable[[Any, Any], Any]:
    fields = attrs.fields(attrs.resolve_types(cls))
    renames = {field.name: override(rename=camel_case(field.name)) for field in fields if field.name != "raw"}
    keeps_raw = any(field.name == "raw" for field in fields)
    if keeps_raw:
        renames["raw"] = override(omit=True)
    build = make_dict_structure_fn(cls, _converter, **renames)  # type: ignore[arg-type]  # "raw" is no option name

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise ShapeError(f"{type(value).__name__} where {cls.__name__} was expected")
        made = build(value, cls)
        if keeps_raw:
            object.__setattr__(made, "raw", value)  # frozen for everybody else
        return made

    return hook


_converter = cattrs.Converter(detailed_validation=False)
for _kind in (str, bool):
    _converter.register_structure_hook(_kind, _exactly(_kind))
_converter.register_structure_hook(int, _exactly(int, but_not=bool))
_converter.register_structure_hook(float, _number)
_converter.register_structure_hook_factory(attrs.has, _class_hook)
_converter.register_structure_hook_factory(_is_tuple_of, _tuple_hook)
_converter.register_structure_hook_func(_is_dict, _exactly(dict))
_converter.register_structure_hook_factory(_is_optional, _optional_hook)

_pick: dict[Any, Callable[[Any], type[Any]]] = {}
"""For each tagged union, what picks the class of a value."""


def by_tag(union: Any, tag: str, classes: dict[str, type[Any]], unknown: type[Any]) -> None:
    """Teach the converter a union: the record's ``tag`` field picks the class, ``unknown`` takes the rest."""

    def pick(value: Any) -> type[Any]:
        if not isinstance(value, dict):
            raise ShapeError(f"{type(value).__name__} where an object was expected")
        name = value.get(tag)
        return classes.get(name, unknown) if isinstance(name, str) else unknown

    def hook(value: Any, _: Any) -> Any:
        return _converter.structure(value, pick(value))

    _pick[union] = pick
    _converter.register_structure_hook_func(lambda cls: cls == union, hook)


def register(cls: Any, hook: Callable[[Any, Any], Any]) -> None:
    """Teach the converter a shape of its own."""
    _converter.register_structure_hook_func(lambda other: other == cls, hook)


def structure(value: Any, cls: type[T]) -> T:
    """Make a ``cls`` of a decoded JSON value.

    Raises:
        ShapeError: the value does not have that shape.
    """
    try:
        return _converter.structure(value, cls)
    except _MISFITS as error:
        raise _blame(value, cls, error) from error
    except RecursionError as error:
        raise ShapeError("nested too deeply") from error


def _blame(value: Any, cls: Any, error: Exception) -> ShapeError:
    """What is wrong, and where: ``value`` failed, so there is time to take it apart once more."""
    for name, part, part_cls in _parts(value, cls):
        try:
            _converter.structure(part, part_cls)
        except _MISFITS as misfit:
            found = _blame(part, part_cls, misfit)
            return ShapeError(found.reason, path=name + found.path)
    if isinstance(error, ShapeError):
        return ShapeError(error.reason, path=error.path)
    return ShapeError(f"{error} is missing" if isinstance(error, KeyError) else str(error))


def _parts(value: Any, cls: Any) -> Iterator[tuple[str, Any, Any]]:
    """The parts of ``value`` that the converter looks at: how to reach each, the part, its class."""
    if _is_optional(cls):
        cls = _inner(cls)
    if cls in _pick and isinstance(value, dict):
        cls = _pick[cls](value)
    if _is_tuple_of(cls) and isinstance(value, list):
        yield from ((f"[{index}]", part, get_args(cls)[0]) for index, part in enumerate(value))
    elif attrs.has(cls) and isinstance(value, dict):
        for field in attrs.fields(cls):
            name = camel_case(field.name)
            if field.name != "raw" and name in value:
                yield f".{name}", value[name], field.type
