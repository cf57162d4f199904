"""The arguments of a call, from JSON to what the function's annotations say. Strictly, and with all that is wrong."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args, get_origin, is_typeddict

import cattrs
from cattrs.errors import IterableValidationError, IterableValidationNote
from cattrs.gen import make_dict_structure_fn

from ..protocol import ShapeError
from .fields import fields_of, has_fields
from .misfits import UNKNOWN_ARGUMENT, misfits_in
from .schema import DICTS, LISTS, SETS, UNIONS, stripped

__all__ = ["structure_arguments"]

Hook = Callable[[Any, Any], Any]

# Beyond it, another number arrives than the model wrote: Pi's are all floating point.
_EXACT = 2**53 - 1

# What hooks raise: ours, what cattrs generates, and a class's own validators and converters.
_RAISED = (ShapeError, KeyError, TypeError, ValueError, AttributeError, cattrs.BaseValidationError)

# In the words of JSON, which is what the model writes.
_WORDS: dict[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def _is_not(value: Any, wanted: str) -> ShapeError:
    return ShapeError(f"{_WORDS.get(type(value), type(value).__name__)} where {wanted} is wanted")


def _exactly(kind: type) -> Hook:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise _is_not(value, _WORDS[kind])
        return value

    return hook


def _integer(value: Any, _: Any) -> int:
    # JSON has one kind of number: 5.0 is how some write 5.
    if not (type(value) is int or (type(value) is float and value.is_integer())):
        raise _is_not(value, "an integer")
    if abs(value) > _EXACT:
        raise ShapeError(f"an integer beyond {_EXACT}, which does not arrive exactly; is there no other way to say it?")
    return int(value)


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise _is_not(value, "a number")
    try:
        return float(value)
    except OverflowError:
        raise ShapeError("a number that is too large") from None


def _one_of(values: tuple[Any, ...], value: Any) -> Any:
    for each in values:
        if type(each) is type(value) and each == value:  # True is not 1 here
            return each
    raise ShapeError(f"{value!r} where one of {', '.join(map(repr, values))} is wanted")


def _literal_hook(cls: Any) -> Hook:
    return lambda value, _: _one_of(get_args(cls), value)


def _enum_hook(cls: type[enum.Enum]) -> Hook:
    values = tuple(member.value for member in cls)
    return lambda value, _: cls(_one_of(values, value))


def _but_for_enums(kind: type, hook: Hook) -> Hook:
    # cattrs takes the hook of a type for its subclasses, too, and an IntEnum is one of int.
    return lambda value, cls: hook(value, cls) if cls is kind else _enum_hook(cls)(value, cls)


def _each(cls: Any, parts: Iterable[tuple[int | str, Any, Any]]) -> list[Any]:
    """Structure the parts (how each is called, its value, its type); raise with all that do not fit."""
    made: list[Any] = []
    wrong: list[Exception] = []
    for name, value, kind in parts:
        try:
            made.append(_part(name, value, kind))
        except _RAISED as error:
            error.add_note(IterableValidationNote(f"at {name!r}", name, kind))
            wrong.append(error)
    if wrong:
        raise IterableValidationError("parts that do not fit", wrong, cls)
    return made


_ABSENT = object()


def _part(name: int | str, value: Any, kind: Any) -> Any:
    if value is _ABSENT:
        raise KeyError(name)
    if kind is _ABSENT:
        raise ShapeError(UNKNOWN_ARGUMENT)
    return _converter.structure(value, kind)


def _list_hook(cls: Any) -> Hook:
    """Lists, and the sets and tuples of any length that JSON has only lists for."""
    origin = get_origin(cls) or cls
    kind = next(iter(get_args(cls)), Any)
    make = origin if origin is tuple or origin in SETS else list

    def hook(value: Any, _: Any) -> Any:
        if type(value) is not list:
            raise _is_not(value, "a list")
        return make(_each(cls, zip(itertools.count(), value, itertools.repeat(kind))))

    return hook


def _tuple_hook(cls: Any) -> Hook:
    kinds = get_args(cls)

    def hook(value: Any, _: Any) -> Any:
        if type(value) is not list:
            raise _is_not(value, "a list")
        if len(value) != len(kinds):
            raise ShapeError(f"a list of {len(value)} where one of {len(kinds)} is wanted")
        return tuple(_each(cls, zip(itertools.count(), value, kinds)))

    return hook


def _dict_hook(cls: Any) -> Hook:
    kind = get_args(cls)[1] if get_args(cls) else Any

    def hook(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise _is_not(value, "an object")
        made = _each(cls, ((name, part, kind) for name, part in value.items()))
        return dict(zip(value, made, strict=True))

    return hook


def _union_hook(cls: Any) -> Hook:
    # A float takes every integer, so it comes last: 5 is an int for `float | int`.
    members = sorted(get_args(cls), key=lambda member: member is float)
    others = [member for member in members if member is not type(None)]

    def hook(value: Any, _: Any) -> Any:
        if value is None and len(others) < len(members):
            return None
        if len(others) == 1:
            return _converter.structure(value, others[0])
        reasons: list[str] = []
        for member in others:
            try:
                return _converter.structure(value, member)
            except _RAISED as error:
                reasons += [f"{where}: {reason}" if where else reason for where, reason in misfits_in(error)]
        raise ShapeError("; or ".join(reasons))

    return hook


def _class_hook(cls: type[Any]) -> Hook:
    build = make_dict_structure_fn(cls, _converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True)

    def hook(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise _is_not(value, "an object")
        return build(value, cls)

    return hook


def _typed_dict_hook(cls: type[Any]) -> Hook:
    # Not cattrs' own: it takes every key for a required one where annotations are strings.
    fields = fields_of(cls)
    kinds = {field.name: field.type for field in fields}
    required = {field.name: _ABSENT for field in fields if field.required}

    def hook(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise _is_not(value, "an object")
        names = {**value, **required}
        made = _each(cls, ((name, value.get(name, _ABSENT), kinds.get(name, _ABSENT)) for name in names))
        return dict(zip(names, made, strict=True))

    return hook


def _wrapped_hook(cls: Any) -> Hook:
    inner = stripped(cls)
    return lambda value, _: _converter.structure(value, inner)


def _is_kind_of(*kinds: Any) -> Callable[[Any], bool]:
    return lambda cls: (get_origin(cls) or cls) in kinds


_converter = cattrs.Converter()
for _kind, _hook in {str: _exactly(str), bool: _exactly(bool), int: _integer, float: _number}.items():
    _converter.register_structure_hook(_kind, _but_for_enums(_kind, _hook))
_converter.register_structure_hook(type(None), _exactly(type(None)))
# The one that was registered last is asked first.
_converter.register_structure_hook_factory(has_fields, _class_hook)
_converter.register_structure_hook_factory(is_typeddict, _typed_dict_hook)
_converter.register_structure_hook_factory(lambda cls: isinstance(cls, type) and issubclass(cls, enum.Enum), _enum_hook)
_converter.register_structure_hook_factory(_is_kind_of(Literal), _literal_hook)
_converter.register_structure_hook_factory(_is_kind_of(*UNIONS), _union_hook)
_converter.register_structure_hook_factory(_is_kind_of(*DICTS), _dict_hook)
_converter.register_structure_hook_factory(_is_kind_of(*LISTS, *SETS), _list_hook)
_converter.register_structure_hook_factory(
    _is_kind_of(tuple), lambda cls: _list_hook(cls) if cls is tuple or Ellipsis in get_args(cls) else _tuple_hook(cls)
)
_converter.register_structure_hook_factory(lambda cls: stripped(cls) is not cls, _wrapped_hook)


def structure_arguments(value: Any, cls: Any) -> Any:
    """Make a ``cls`` of what the model wrote.

    Raises:
        Exception: it does not fit; :func:`~pi_trio.tools.misfits.misfits_in` says how.
    """
    return _converter.structure(value, cls)
