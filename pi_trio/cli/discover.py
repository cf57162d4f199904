"""``pitrio discover``: who is there, and how they are."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import trio
from rich.console import Group
from rich.live import Live
from rich.text import Text

from ..abc import Discovery
from ..process import watch_interrupts
from .exits import FAILED, OK
from .members import Members, open_members, plain
from .terminal import wide_console

__all__ = ["discover_command"]

# How often the table is drawn at the most.
_PERIOD = 0.1


async def discover_command(discoveries: Sequence[Discovery], *, timeout: float, as_json: bool, watch: bool) -> int:
    """The whole command."""
    failed = False
    async with watch_interrupts() as interruption:
        with interruption.scope:
            async with open_members(discoveries, timeout=timeout) as members:
                await members.settle(timeout)
                if watch:
                    await (_follow(members, as_json=as_json) if as_json or not sys.stdout.isatty() else _draw(members))
                _print(members, as_json=as_json)
                members.complain()
                failed = bool(members.failures())
    if interruption.exit_code is not None:
        return interruption.exit_code
    return FAILED if failed else OK


async def _draw(members: Members) -> None:
    """A table that is kept up to date on a terminal, until cancelled."""
    with Live(console=wide_console(), auto_refresh=False) as live:
        while True:
            notes = [Text(f"{name}: {plain(why)}", style="red") for name, why in members.failures().items()]
            live.update(Group(members.shown(), *notes, Text("Ctrl-C ends it", style="dim")), refresh=True)
            await _change(members)


async def _follow(members: Members, *, as_json: bool) -> None:
    """All of it once more whenever something has changed, until cancelled."""
    last = None
    while True:
        shown = dict(members.registry.instances), members.failures()
        if shown != last:
            _print(members, as_json=as_json)
            last = shown
        await _change(members)


async def _change(members: Members) -> None:
    await members.registry.wait_change()
    await trio.sleep(_PERIOD)  # what changes with it is shown with it


def _print(members: Members, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(_as_json(members))
    else:
        wide_console().print(members.shown())
    sys.stdout.flush()


def _as_json(members: Members) -> str:
    discoveries = members.registry.snapshot().discoveries
    failures = members.failures()
    told = {
        "instances": [members.as_json(entry) for entry in members.registry.all()],
        "discoveries": [
            {"name": name, "told": name in discoveries and discoveries[name].completed > 0, "error": failures.get(name)}
            for name in members.sources
        ],
    }
    return json.dumps(told) + "\n"
