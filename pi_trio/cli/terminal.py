"""The person at the terminal."""

from __future__ import annotations

import os
import sys

import trio
from rich.console import Console

__all__ = ["read_line", "somebody_there", "wide_console"]

# Where nobody looks at it, a table has no reason to be narrow.
_WIDE = 10_000


def somebody_there() -> bool:
    """Whether stdin is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def wide_console() -> Console:
    """Where tables go: as wide as the terminal, or as they are."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


async def read_line(question: str) -> str | None:
    """Ask on stderr, and read a line from stdin; ``None`` when that is over.

    Cancelled, it leaves what was typed so far to the next reader. (A thread would not give it up.)
    """
    sys.stdout.flush()
    sys.stderr.write(f"\n{question}" if question else "")
    sys.stderr.flush()
    stdin = sys.stdin.fileno()
    line = b""
    while not line.endswith(b"\n"):
        await trio.lowlevel.wait_readable(stdin)
        data = os.read(stdin, 4096)  # a terminal gives one line at most
        if not data:
            return line.decode("utf-8", "replace") or None
        line += data
    return line.decode("utf-8", "replace").removesuffix("\n")
