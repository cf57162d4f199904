"""Which host is the best that this system can have, and what that host promises."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ..abc import ProcessHost
from .direct import DirectHost
from .keeper import keeper_available, open_keeper_host
from .sweep import sweep_dead_runs

__all__ = ["guarantee", "open_default_host"]

_log = logging.getLogger("pi_trio.process")


@asynccontextmanager
async def open_default_host() -> AsyncIterator[ProcessHost]:
    """The keeper host where there can be one, else the direct host; for the body.

    What runtimes that were killed together with all their keepers have left is killed first.
    """
    for process in await trio.to_thread.run_sync(sweep_dead_runs):
        _log.warning("killed pid %d, which a runtime that is dead had left behind", process.pid)
    if keeper_available():
        async with open_keeper_host() as host:
            yield host
    else:
        yield DirectHost()


def guarantee() -> str:
    """What is promised about the end of processes on this system, in a sentence or two."""
    available = keeper_available()
    if available:
        return "keeper host: nothing of an instance survives, not even when this program is killed"
    weaker = f"direct host, because {available.why_not}. Not guaranteed: that anything ends when this program is killed"
    if sys.platform != "linux":
        weaker += "; that a tool's process ends which has left its process group"
    return weaker
