"""Plans as JSON, to be kept in a file: a value of a class is an object with the class's name under ``"is"``.

What has its default is left out, so that a plan stays readable, and stays the plan it was when a class gets a new field.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from ...launch import InstanceSpec, NodeInstall, PiInstall
from ...lifecycle import Backoff, BreakerPolicy, Health, HealthPolicy, RestartPolicy, RestartType
from ...registry import CapabilityMatch, Criteria, LeastLoaded, PowerOfTwoChoices, Random, RoundRobin, Sticky
from ...supervisor import Strategy
from ..world import Fault
from . import steps
from .code import given
from .plan import Affliction, Plan

__all__ = ["dump_plan", "load_plan"]

_CLASSES = (
    Affliction,
    Backoff,
    BreakerPolicy,
    CapabilityMatch,
    Criteria,
    Health,
    HealthPolicy,
    InstanceSpec,
    LeastLoaded,
    NodeInstall,
    PiInstall,
    Plan,
    PowerOfTwoChoices,
    Random,
    RestartPolicy,
    RestartType,
    RoundRobin,
    Sticky,
    Strategy,
    *(getattr(steps, name) for name in steps.__all__ if name != "Step"),
)


def dump_plan(plan: Plan) -> str:
    """A plan as JSON."""
    return json.dumps(_to_json(plan), indent=1)


def load_plan(text: str) -> Plan:
    """The plan that :func:`dump_plan` made this of.

    Raises:
        ValueError: it is no plan, or of a class that is not known here (a fault of a program's own has to be imported
            first), or a field has a value that it cannot have.
    """
    try:
        plan = _from_json(json.loads(text))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"this is no plan: {error}") from error
    if not isinstance(plan, Plan):
        raise ValueError(f"this is no plan, but a {type(plan).__name__}")
    return plan


def _to_json(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return {"is": type(value).__name__, "name": value.name}
    if attrs.has(type(value)):
        return {"is": type(value).__name__, **{name: _to_json(each) for name, each in given(value)}}
    if isinstance(value, tuple | list):
        return [_to_json(each) for each in value]
    if isinstance(value, frozenset):
        return {"is": "frozenset", "items": [_to_json(each) for each in sorted(value, key=str)]}
    if isinstance(value, dict):
        return {"is": "dict", "items": value}
    if isinstance(value, bytes):
        return {"is": "bytes", "latin-1": value.decode("latin-1")}
    return {"is": "Path", "path": str(value)} if isinstance(value, Path) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_from_json(each) for each in value)
    if not isinstance(value, dict):
        return value
    kind = value["is"]
    if kind == "dict":
        return dict(value["items"])
    if kind == "frozenset":
        return frozenset(map(_from_json, value["items"]))
    if kind == "bytes":
        return value["latin-1"].encode("latin-1")
    if kind == "Path":
        return Path(value["path"])
    cls = _class(kind)
    if issubclass(cls, enum.Enum):
        return cls[value["name"]]
    return cls(**{name: _from_json(each) for name, each in value.items() if name != "is"})


def _class(name: str) -> Any:
    for cls in (*_CLASSES, *_subclasses(Fault)):
        if cls.__name__ == name:
            return cls
    raise ValueError(f"nothing is called {name!r} here")


def _subclasses(cls: type) -> Iterator[type]:
    each: type
    for each in cls.__subclasses__():
        yield each
        yield from _subclasses(each)
