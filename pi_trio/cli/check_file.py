"""What ``pitrio check`` is to check: a TOML file, with what was said on the command line on top of it.

strategies = ["rest_for_one"]        # of the supervision trees; all three by default

[[spec]]                             # as many as the program has
start_timeout = 10.0
drain_timeout = 1.0
grace_timeout = 3.0
restart = { type = "permanent", intensity = 3, period = 60.0, reset_after = 30.0, backoff = { base = 0.5, cap = 20.0 } }
health = { period = 5.0, timeout = 2.0, misses = 3, action = "restart" }    # or false
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from ..errors import SpecError
from ..launch import InstanceSpec
from ..lifecycle import Backoff, HealthPolicy, RestartPolicy, RestartType
from ..supervisor import Strategy

__all__ = ["Checked", "read_checked"]

T = TypeVar("T")

_PLAIN = ("start_timeout", "request_timeout", "drain_timeout", "grace_timeout", "restart_session")


@attrs.frozen
class Checked:
    """What is checked."""

    specs: tuple[InstanceSpec, ...] | None
    """``None`` when nothing was said: then many different ones are."""
    strategies: tuple[Strategy, ...]


def read_checked(
    path: Path | None, *, restart: Mapping[str, Any], timeouts: Mapping[str, Any], strategy: str | None = None
) -> Checked:
    """Read the file, if there is one, and put the values that were given on top of each of its specs.

    Raises:
        SpecError: it is not TOML, or says what cannot be.
        OSError: it cannot be read.
    """
    try:
        said: dict[str, Any] = {} if path is None else tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from error
    _only(said, ("spec", "strategies"), "the file")
    tables = said.get("spec", [{}] if restart or timeouts else None)
    if tables is not None and (not isinstance(tables, list) or not tables):
        raise SpecError("spec has to be a table in double brackets: [[spec]]")
    specs = None if tables is None else tuple(_spec(_table(each, "spec"), restart, timeouts) for each in tables)
    names = said.get("strategies", [each.value for each in Strategy])
    return Checked(specs, _strategies(names if strategy is None else [strategy]))


def _strategies(names: object) -> tuple[Strategy, ...]:
    if not isinstance(names, list) or not names:
        raise SpecError(f"strategies has to be a list of names, not {names!r}")
    return tuple(_made(Strategy, "strategies", name) for name in names)


def _spec(table: dict[str, Any], restart: Mapping[str, Any], timeouts: Mapping[str, Any]) -> InstanceSpec:
    _only(table, (*_PLAIN, "restart", "health"), "spec")
    fields = {**table, **timeouts}
    fields["restart"] = _restart({**_table(table.get("restart", {}), "restart"), **restart})
    if "health" in fields:
        health = fields["health"]
        fields["health"] = None if health is False else _made(HealthPolicy, "health", **_table(health, "health"))
    return _made(InstanceSpec, "spec", **fields)


def _restart(table: dict[str, Any]) -> RestartPolicy:
    if "type" in table:
        table["type"] = _made(RestartType, "restart.type", table["type"])
    if "backoff" in table:
        table["backoff"] = _made(Backoff, "restart.backoff", **_table(table["backoff"], "restart.backoff"))
    return _made(RestartPolicy, "restart", **table)


def _made(make: Callable[..., T], where: str, *args: Any, **fields: Any) -> T:
    try:
        return make(*args, **fields)
    except (SpecError, ValueError, TypeError) as error:
        raise SpecError(f"{where}: {error}") from error


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SpecError(f"{where} has to be a table, not {value!r}")
    return dict(value)


def _only(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise SpecError(f"{where} has no {', '.join(unknown)}; it may have {', '.join(known)}")
