"""Types to JSON schema, as Pi and the providers behind it take it.

No ``$ref``, no ``prefixItems``: not every provider knows them, so classes are written out where they are
used. What a schema cannot say (which item of a tuple is of which type) is checked when a call comes in.
"""

from __future__ import annotations

import collections.abc
import enum
import types
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

from ..errors import ToolSpecError
from ..protocol import Record
from .fields import MISSING, UNRESOLVED, Field, described, fields_of, has_fields
from .result import to_plain

__all__ = ["DICTS", "LISTS", "SETS", "UNIONS", "object_schema", "schema_of", "stripped"]

UNIONS = (Union, types.UnionType)
SETS = (set, frozenset)
LISTS = (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
DICTS = (dict, collections.abc.Mapping)
_WRAPPERS = (Required, NotRequired, typing.Final)

_PLAIN: dict[Any, Record] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    None: {"type": "null"},
    Any: {},
}


def stripped(kind: Any) -> Any:
    """What is behind the names and wrappers that change nothing for JSON (``NewType``, ``NotRequired``)."""
    while True:
        if isinstance(kind, typing.NewType):
            kind = kind.__supertype__
        elif get_origin(kind) in _WRAPPERS:
            kind = get_args(kind)[0]
        elif type(kind).__name__ == "TypeAliasType":  # `type X = ...`, from Python 3.12 on
            kind = kind.__value__
        else:
            return kind


def schema_of(kind: Any, where: str, inside: tuple[Any, ...] = ()) -> Record:
    """The schema of one type.

    Args:
        kind: the type, as annotated.
        where: what it belongs to, for the error.
        inside: the classes that it is a part of.

    Raises:
        ToolSpecError: it has no schema; the message says where it stands, and what would do.
    """
    kind = stripped(kind)
    origin, args = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        schema = schema_of(args[0], where, inside)
        texts = [each for each in kind.__metadata__ if isinstance(each, str)]
        return {**schema, "description": " ".join(texts)} if texts else schema
    for fits, make in _KINDS:
        if fits(origin):
            return make(kind, args, where, inside)
    raise ToolSpecError(
        f"{where}: {_named(kind)} has no JSON schema; use str, int, float, bool, None, Any, Literal, an Enum, list, "
        "tuple, set, dict with str keys, Optional, Union, an attrs class, a dataclass or a TypedDict"
    )


def _named(kind: Any) -> str:
    return kind.__qualname__ if isinstance(kind, type) else str(kind).removeprefix("typing.")


def _is_plain(kind: Any) -> bool:
    return isinstance(kind, collections.abc.Hashable) and kind in _PLAIN


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def _plain(kind: Any, _args: Any, _where: str, _inside: Any) -> Record:
    return dict(_PLAIN[kind])


def _choice(values: Sequence[Any], where: str) -> Record:
    kinds = sorted({_PLAIN[type(value)]["type"] for value in values if type(value) in _PLAIN})
    if not values or any(type(value) not in _PLAIN or type(value) is float for value in values):
        raise ToolSpecError(f"{where}: the values must be strings, integers, booleans or None, not {values!r}")
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": list(values)}


def _literal(_kind: Any, args: tuple[Any, ...], where: str, _inside: Any) -> Record:
    return _choice(args, where)


def _enum(kind: type[enum.Enum], _args: Any, where: str, _inside: Any) -> Record:
    return _choice([member.value for member in kind], where)


def _union(_kind: Any, args: tuple[Any, ...], where: str, inside: tuple[Any, ...]) -> Record:
    return {"anyOf": [schema_of(each, where, inside) for each in args]}


def _list(_kind: Any, args: tuple[Any, ...], where: str, inside: tuple[Any, ...]) -> Record:
    return {"type": "array", "items": schema_of(args[0], f"{where}[]", inside) if args else {}}


def _set(kind: Any, args: tuple[Any, ...], where: str, inside: tuple[Any, ...]) -> Record:
    item = stripped(args[0]) if args else Any
    if getattr(get_origin(item) or item, "__hash__", None) is None:
        raise ToolSpecError(f"{where}: a set cannot hold {_named(item)}, which has no hash; use list")
    return {**_list(kind, args, where, inside), "uniqueItems": True}


def _tuple(kind: Any, args: tuple[Any, ...], where: str, inside: tuple[Any, ...]) -> Record:
    if kind is tuple or Ellipsis in args:
        return _list(kind, args, where, inside)
    items: list[Record] = []
    for number, each in enumerate(args):
        schema = schema_of(each, f"{where}[{number}]", inside)
        if schema not in items:
            items.append(schema)
    made: Record = {"type": "array", "minItems": len(args), "maxItems": len(args)}
    if items:
        made["items"] = items[0] if len(items) == 1 else {"anyOf": items}
    return made


def _dict(_kind: Any, args: tuple[Any, ...], where: str, inside: tuple[Any, ...]) -> Record:
    if not args:
        return {"type": "object"}
    if stripped(args[0]) is not str:
        raise ToolSpecError(f"{where}: the keys of a JSON object are strings, not {_named(args[0])}")
    return {"type": "object", "additionalProperties": schema_of(args[1], f"{where}{{}}", inside)}


def _class(kind: type[Any], args: Any, where: str, inside: tuple[Any, ...]) -> Record:
    if args:
        raise ToolSpecError(
            f"{where}: {kind} is a generic class, which has no schema; write a class without parameters"
        )
    if kind in inside:
        raise ToolSpecError(f"{where}: {_named(kind)} contains itself, which cannot be written out as a schema")
    try:
        fields = fields_of(kind)
    except UNRESOLVED as error:
        raise ToolSpecError(f"{where}: an annotation of {_named(kind)} cannot be resolved: {error}") from error
    schema = object_schema(fields, where, (*inside, kind))
    description = described(kind)
    return {**schema, "description": description} if description else schema


def object_schema(fields: Sequence[Field], where: str, inside: tuple[Any, ...] = ()) -> Record:
    """The schema of an object with these fields and no others. Raises as :func:`schema_of`."""
    made: Record = {
        "type": "object",
        "properties": {field.name: _field(field, f"{where}.{field.name}", inside) for field in fields},
        "additionalProperties": False,
    }
    required = [field.name for field in fields if field.required]
    return {**made, "required": required} if required else made


def _field(field: Field, where: str, inside: tuple[Any, ...]) -> Record:
    schema = schema_of(field.type, where, inside)
    if field.description:
        schema.setdefault("description", field.description)
    if field.default is not MISSING:
        try:
            default = to_plain(field.default)
        except TypeError:
            return schema  # a default that JSON cannot say is still the default
        if default is not None or field.default is None:  # NaN and the infinities become null
            schema["default"] = default
    return schema


# In this order: what is more particular comes first.
_KINDS: tuple[tuple[Callable[[Any], bool], Callable[..., Record]], ...] = (
    (_is_plain, _plain),
    (lambda origin: origin is Literal, _literal),
    (_is_enum, _enum),
    (lambda origin: origin in UNIONS, _union),
    (lambda origin: origin in LISTS, _list),
    (lambda origin: origin in SETS, _set),
    (lambda origin: origin is tuple, _tuple),
    (lambda origin: origin in DICTS, _dict),
    (has_fields, _class),
)
