"""``pitrio doctor``: what was found, what is missing, and the command that mends it."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Awaitable, Callable
from importlib import metadata

import attrs
import trio
from rich.console import Console
from rich.table import Table

from .. import __version__
from ..errors import SetupError
from ..launch import MINIMUM_NODE, MINIMUM_PI, data_home, find_node, find_pi, installed_pi, npm_command
from ..process import guarantee
from .exits import OK, SETUP

__all__ = ["Finding", "doctor_command", "examine"]


# npm comes with Node.js.
_FALLBACK = "pip install 'pi-trio[pi]'"


@attrs.frozen
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    found: str
    mend: str = ""
    """The command that mends it."""


async def _check(what: str, look: Callable[[], Awaitable[str]]) -> Finding:
    try:
        return Finding(what, True, await look())
    except SetupError as error:
        return Finding(what, False, str(error).removesuffix(f"; mend it with: {error.mend}"), error.mend or _FALLBACK)


async def _node() -> str:
    node = await find_node()
    return f"{node.version} ({node.origin}) at {node.path}; {MINIMUM_NODE} or newer is needed"


async def _npm() -> str:
    return " ".join(npm_command(await find_node()))


async def _pi() -> str:
    pi = await find_pi()
    version = pi.version or "of unknown version"
    return f"{version} ({pi.origin}) at {pi.path}; {MINIMUM_PI} or newer is needed"


async def examine() -> list[Finding]:
    """Look at everything the command and the library need."""
    supported = sys.platform != "win32"
    return [
        Finding("pi-trio", True, f"{__version__}, trio {metadata.version('trio')}"),
        Finding("Python", True, f"{platform.python_version()} at {sys.executable}"),
        Finding("system", supported, f"{platform.system()} {platform.release()} {platform.machine()}"),
        Finding("processes", supported, guarantee()),
        await _check("Node.js", _node),
        await _check("npm", _npm),
        await _check("Pi", _pi),
        Finding("set up", True, f"{installed_pi(data_home()) or 'nothing'} under {data_home()}"),
    ]


async def doctor_command(*, as_json: bool) -> int:
    """The whole command: 0 when nothing is missing."""
    with trio.move_on_after(60):
        findings = await examine()
    if as_json:
        print(json.dumps([attrs.asdict(finding) for finding in findings], indent=2))
    else:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column()
        table.add_column()
        table.add_column(overflow="fold")
        for finding in findings:
            mark = "[green]ok[/]" if finding.ok else "[red]missing[/]"
            mend = f"\n[bold]mend it with:[/] {finding.mend}" if finding.mend else ""
            table.add_row(mark, finding.what, finding.found.replace("[", r"\[") + mend.replace("[pi]", r"\[pi]"))
        Console(highlight=False).print(table)
    return OK if all(finding.ok for finding in findings) else SETUP
