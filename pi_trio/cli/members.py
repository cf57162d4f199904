"""Who there is, as far as some discoveries tell: asked once how they are, and shown."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..abc import Discovery
from ..lifecycle import BreakerPolicy, Health, HealthPolicy
from ..registry import Entry, Registry, Watch, open_registry
from .exits import complain

__all__ = ["Members", "model_of", "open_members", "plain"]


# Somebody waits for the table, and the command has little else to spend its descriptors on.
_AT_ONCE = 256

# Somebody looks: what is there again is to be seen soon, in seconds.
_BACK_WITHIN = 10.0


@attrs.frozen(eq=False)
class Members:
    """The members of a registry that is there to look at them."""

    registry: Registry
    sources: tuple[str, ...]
    """The names of the discoveries."""

    async def settle(self, timeout: float) -> None:
        """Wait until each discovery has told something, and each member was asked; for neither, longer than so."""
        with trio.move_on_after(timeout):
            await self.registry.wait_for(lambda _: not self.silent())
        with trio.move_on_after(timeout + 1):  # a request that nobody answers ends just before
            await self.registry.wait_for(
                lambda table: all(entry.health is not Health.UNKNOWN for entry in table.values())
            )

    def silent(self) -> list[str]:
        """The discoveries that have told nothing yet, and did not fail either."""
        told = self.registry.snapshot().discoveries
        return [name for name in self.sources if name not in told or not (told[name].completed or told[name].error)]

    def failures(self) -> dict[str, str]:
        """Why which discovery has told nothing, or told nothing lately."""
        told = self.registry.snapshot().discoveries
        failed = {name: each.error for name in self.sources if (each := told.get(name)) is not None and each.error}
        return failed | dict.fromkeys(self.silent(), "it has told nothing yet")

    def complain(self) -> None:
        """Say which discoveries failed."""
        for name, why in self.failures().items():
            complain(f"{name}: {plain(why)}")

    def as_json(self, entry: Entry) -> dict[str, Any]:
        """One of them, for a program."""
        profile, report = entry.profile, self.registry.last_report(entry.instance_id)
        return {
            "id": entry.instance_id,
            "url": profile.url,
            "mode": str(profile.mode),
            "source": profile.source,
            "state": str(entry.state),
            "health": str(entry.health),
            "latency": None if report is None else report.latency,
            "error": None if report is None else report.error,
            "provider": entry.provider,
            "model": entry.model,
            "session_id": entry.session_id,
            "region": profile.region,
            "capabilities": sorted(profile.capabilities),
            "tags": sorted(profile.tags),
            "max_concurrent": profile.max_concurrent,
            "selectable": profile.selectable,
            "breaker": str(entry.breaker.state),
        }

    def shown(self) -> RenderableType:
        """All of them, for a person: a table, and a line for each that did not answer."""
        entries = self.registry.all()
        if not entries:
            return Text("no instances")
        reports = [report for entry in entries if (report := self.registry.last_report(entry.instance_id)) is not None]
        errors = [Text(plain(f"{each.instance_id}: {each.error}")) for each in reports if each.error]
        return Group(_table([self._row(entry) for entry in entries]), *errors)

    def _row(self, entry: Entry) -> dict[str, str]:
        profile, report = entry.profile, self.registry.last_report(entry.instance_id)
        return {
            "id": entry.instance_id,
            "where": profile.url or str(profile.mode),
            "health": str(entry.health),
            "took": f"{1000 * report.latency:.0f} ms" if report is not None and report.latency is not None else "-",
            "model": model_of(entry),
            "region": profile.region or "-",
            "capabilities": ", ".join(sorted(profile.capabilities)) or "-",
            "tags": ", ".join(sorted(profile.tags)) or "-",
            "room": str(profile.max_concurrent),
            "source": profile.source,
        }


# These are compared and copied: others are folded where there is no room for all, the widest first.
_WHOLE = ("where", "health", "took")

# What does not tell one from another is not shown, if it is this, or where it comes from.
_USUAL = {"region": "-", "capabilities": "-", "tags": "-", "room": "1"}


def _table(rows: Sequence[Mapping[str, str]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    heads = [head for head in rows[0] if not _goes_without_saying(head, {row[head] for row in rows})]
    for head in heads:
        table.add_column(head, overflow="fold", no_wrap=head in _WHOLE)
    for row in rows:
        table.add_row(*(Text(plain(row[head])) for head in heads))
    return table


def _goes_without_saying(head: str, values: set[str]) -> bool:
    return len(values) == 1 and (head == "source" or _USUAL.get(head) in values)


def model_of(entry: Entry) -> str:
    """Its provider and model, as far as they are known."""
    return f"{entry.provider or '-'}/{entry.model or '-'}"


def plain(text: str) -> str:
    """What others said, without what a terminal would take for orders."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


@asynccontextmanager
async def open_members(discoveries: Sequence[Discovery], *, timeout: float) -> AsyncIterator[Members]:
    """A registry of what they find, for the body. Who does not answer within ``timeout`` seconds is unhealthy at once."""
    # What goes wrong is told by the command, from the events; a log without a handler would say it on stderr again.
    logging.getLogger("pi_trio").addHandler(logging.NullHandler())
    policy = HealthPolicy(timeout=timeout, misses=1, action="report")
    watch = Watch(health=policy, remove_after=math.inf, at_once=_AT_ONCE)
    async with open_registry(watch=watch, breaker=BreakerPolicy(max_reset_timeout=_BACK_WITHIN)) as registry:
        async with registry.discover(*discoveries):
            yield Members(registry, tuple(each.name for each in discoveries))
