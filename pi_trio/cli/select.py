"""``pitrio select``: which instance would be taken, and why."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import attrs

from ..abc import Discovery
from ..errors import NoMatchingInstance
from ..process import watch_interrupts
from ..registry import (
    CapabilityMatch,
    Criteria,
    Entry,
    LeastLoaded,
    PowerOfTwoChoices,
    Random,
    RoundRobin,
    Selection,
    Sticky,
    Strategy,
    refused_by,
)
from .exits import FAILED, NOBODY, OK, complain
from .members import Members, model_of, open_members, plain

__all__ = ["STRATEGIES", "Wish", "make_strategy", "select_command"]

STRATEGIES = ("least-loaded", "round-robin", "random", "two-choices", "capability-match", "sticky")


def make_strategy(name: str, *, key: str | None, seed: int | None, prefer: Sequence[str]) -> Strategy:
    """The strategy of this name. What is given besides has to be its own.

    Raises:
        ValueError: it is another's, or is missing.
    """
    if (key is None) == (name == "sticky"):
        raise ValueError("--strategy sticky needs a --key" if key is None else "--key is for --strategy sticky")
    if seed is not None and name not in ("random", "two-choices"):
        raise ValueError("--seed is for --strategy random or two-choices")
    if prefer and name != "capability-match":
        raise ValueError("--prefer is for --strategy capability-match")
    made: dict[str, Strategy] = {
        "least-loaded": LeastLoaded(),
        "round-robin": RoundRobin(),
        "random": Random(seed),
        "two-choices": PowerOfTwoChoices(seed),
        "capability-match": CapabilityMatch(frozenset(prefer)),
        "sticky": Sticky(key or ""),
    }
    return made[name]


@attrs.frozen
class Wish:
    """What is to be selected."""

    criteria: Criteria
    strategy: Strategy
    alternatives: int


async def select_command(discoveries: Sequence[Discovery], wish: Wish, *, timeout: float, as_json: bool) -> int:
    """The whole command."""
    code = FAILED
    async with watch_interrupts() as interruption:
        with interruption.scope:
            async with open_members(discoveries, timeout=timeout) as members:
                await members.settle(timeout)
                members.complain()
                code = _select(members, wish, as_json=as_json)
    return code if interruption.exit_code is None else interruption.exit_code


def _select(members: Members, wish: Wish, *, as_json: bool) -> int:
    selection: Selection | NoMatchingInstance
    try:
        selection = members.registry.select(wish.criteria, wish.strategy, alternatives=wish.alternatives)
    except NoMatchingInstance as error:
        selection = error
    if as_json:
        print(json.dumps(_told(members, wish, selection)))
    elif isinstance(selection, Selection):
        _show(members, wish, selection)
    if isinstance(selection, Selection):
        return OK
    complain(str(selection))
    for line in () if as_json else _why_not(members, wish):
        print(plain(line), file=sys.stderr)
    # Where not everybody was found, nobody can say that there is nobody.
    return FAILED if members.failures() else NOBODY


def _refused(members: Members, wish: Wish) -> dict[str, str]:
    refused = {entry.instance_id: refused_by(wish.criteria, entry) for entry in members.registry.all()}
    return {name: check for name, check in refused.items() if check is not None}


def _show(members: Members, wish: Wish, selection: Selection) -> None:
    entry, count = selection.entry, len(members.registry.instances)
    lines = [
        f"{entry.instance_id}  {entry.profile.url or entry.mode}  {model_of(entry)}",
        f"why: {selection.why}; {count - len(_refused(members, wish))} of {count} instances match",
    ]
    if selection.alternatives:
        lines.append(f"next: {', '.join(selection.alternatives)}")
    for line in lines + _why_not(members, wish):
        print(plain(line))


def _why_not(members: Members, wish: Wish) -> list[str]:
    """A line for each that does not match: what was looked at, and what it has."""
    return [
        f"not {name}: {check}{_has(members, members.registry.get(name), check)}"
        for name, check in _refused(members, wish).items()
    ]


def _has(members: Members, entry: Entry, check: str) -> str:
    report = members.registry.last_report(entry.instance_id)
    has = {
        "provider": entry.provider,
        "model": entry.model,
        "region": entry.profile.region,
        "capabilities": ", ".join(sorted(entry.profile.capabilities)),
        "tags": ", ".join(sorted(entry.profile.tags)),
        "health": report.error if report is not None and report.error else str(entry.health),
        "free capacity": str(entry.free),
    }
    return f" ({has[check] or 'none'})" if check in has else ""


def _told(members: Members, wish: Wish, selection: Selection | NoMatchingInstance) -> dict[str, Any]:
    told: dict[str, Any] = {
        "instance": None,
        "refused": _refused(members, wish),
        "failed": members.failures(),
    }
    if isinstance(selection, Selection):
        return told | {
            "instance": members.as_json(selection.entry),
            "why": selection.why,
            "alternatives": selection.alternatives,
        }
    return told | {"why": str(selection), "criterion": selection.criterion, "passed": dict(selection.passed)}
