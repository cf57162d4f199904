"""Whose turn it is with one Pi."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from ..errors import RunBusy

__all__ = ["Turn"]

# Pi takes a prompt within milliseconds, unless an extension asks a person first.
_PATIENCE = 5.0


class Turn:
    """Runs, and moves between branches, go one at a time; and none while Pi is about something in which a prompt is lost.

    That is to go to another session, or to compact: Pi takes a prompt then, but for the session that it leaves. It goes
    on with it also when whoever asked for it has given up.
    """

    def __init__(self) -> None:
        self._lock = trio.Lock()
        self._under_way: set[str] = set()
        self.waits = False
        """Whether there is something to be told of by :meth:`over`. (No property: it is looked at with each response.)"""
        self._free = trio.Event()
        self._prompted = trio.Event()
        self._prompted.set()
        self.inside_call: Callable[[], bool] = lambda: False
        """Whether the calling task belongs to a tool call for which this Pi waits."""

    def __repr__(self) -> str:
        return f"<Turn {'taken' if self.taken else 'free'} {len(self._under_way)} under way>"

    @property
    def taken(self) -> bool:
        """Whether somebody has it."""
        return self._lock.locked()

    def check_not_inside(self) -> None:
        """Raise :class:`RunBusy` when the calling task would wait for itself."""
        if self._lock.statistics().owner is trio.lowlevel.current_task():
            raise RunBusy("this task has a run going on already, and would wait for itself: leave that first")
        if self.taken and self.inside_call():
            raise RunBusy(
                "the run that is going on waits for this tool call: use steer or follow_up, or another instance"
            )

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Have it while the body runs.

        Raises:
            RunBusy: the task that calls has it already, or belongs to what has it.
        """
        self.check_not_inside()
        async with self._lock:
            while self._under_way:
                await self._free.wait()
            yield

    @contextmanager
    def prompting(self) -> Iterator[None]:
        """While the body runs, a prompt is on its way to Pi: see :meth:`let_arrive`."""
        self._prompted = trio.Event()
        try:
            yield
        finally:
            self._prompted.set()

    async def let_arrive(self) -> None:
        """Before Pi is told to leave its session: wait until it has taken the prompt that is on its way, or for a while.

        No checkpoint when there is none: no prompt may come between this and what Pi is told.
        """
        with trio.move_on_after(_PATIENCE):
            while not self._prompted.is_set():
                await self._prompted.wait()

    # --- what Pi is about ----------------------------------------------------------------------------------

    def began(self, id: str) -> None:
        """Pi has been asked for something of that kind."""
        self._under_way.add(id)
        self.waits = True

    def over(self, id: object) -> None:
        """It has answered. Nothing happens when it was something else."""
        if id in self._under_way:
            self._under_way.remove(str(id))
            self._let_go()

    def clear(self) -> None:
        """That Pi is gone."""
        self._under_way.clear()
        self._let_go()

    def _let_go(self) -> None:
        if not self._under_way:
            self.waits = False
            self._free.set()
            self._free = trio.Event()
