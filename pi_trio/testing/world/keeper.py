"""The keeper of one tree, as the keeper host has them: see ``pi_trio/process/keeper/helper/keep.py``."""

from __future__ import annotations

import random

import trio

from ...abc import ExitStatus
from ..clock import sleep
from ..trace import TreeEmptied
from .kernel import Kernel
from .moments import moment
from .process import Process, Tag

__all__ = ["Keeper"]

# What it takes until a keeper has noticed something, and until the runtime has read what it says of it.
_NOTICE_SECONDS = (0.0001, 0.02)


class Keeper:
    """The parent of a tree's root, and a subreaper: whatever loses its parent becomes its child.

    It has no pid of its own here. When it is killed (:meth:`die`), its root goes with it, and what else there is of the
    tree is killed by the helper that stands in for it: see ``docs/process-death.md``. One that does not ``sweep`` stands
    for the direct host: it kills nothing until the runtime says so, and there is nothing of it to be killed.
    """

    def __init__(
        self, kernel: Kernel, tag: Tag, grace_timeout: float, rng: random.Random, *, sweeps: bool = True
    ) -> None:
        self.children: dict[int, Process] = {}
        self.exited = trio.Event()
        self.empty = trio.Event()
        self.status: ExitStatus | None = None
        """How the root ended, once :attr:`exited`."""
        self._kernel = kernel
        self._tag = tag
        self._grace = grace_timeout
        self._random = rng
        self._sweeps = sweeps
        self._root: Process | None = None
        self._kill = False
        self._alone = False
        self._dead = False
        self._news = trio.Event()

    def __repr__(self) -> str:
        state = "empty" if self.empty.is_set() else "ended" if self.exited.is_set() else "alive"
        return f"<Keeper of {self._tag.instance} {state}>"

    def child_ended(self) -> None:
        """See :class:`pi_trio.testing.world.process.Parent`."""
        self._news.set()

    def ask_kill(self) -> None:
        """The runtime wants the whole tree killed."""
        self._kill = True
        self._news.set()

    def die(self) -> None:
        """Somebody kills the keeper. The root is told by the kernel, in this instant."""
        if not self._sweeps or self.empty.is_set():
            return
        self._dead = True
        if self._root is not None and not self._root.reaped:
            self._kernel.send(self._root, "SIGKILL", "keeper")
        self._news.set()

    def hang_up(self) -> None:
        """The runtime has closed the tree: what is left of it is ended politely, then killed; or left alone."""
        self._alone = self._sweeps
        self._news.set()

    async def keep(self, root: Process) -> None:
        """Returns when nothing is left."""
        self._root = root
        await self._watch(root)
        while self._reap() and not self._sweeps and not self._kill:
            await self._wait(None)
        await self._sweep()
        await self._notice()
        self._kernel.record(TreeEmptied(trio.current_time(), self._tag.instance, self._tag.incarnation))
        self.empty.set()

    async def _watch(self, root: Process) -> None:
        """Until the root has ended, or has to be killed."""
        deadline: float | None = None
        while self._reap() and not self.exited.is_set() and not (self._kill or self._dead):
            if self._alone and deadline is None:
                deadline = trio.current_time() + self._grace
                self._kernel.send(root, "SIGTERM", "keeper")
                self._kernel.send(root, "SIGCONT", "keeper")
            if await self._wait(deadline):
                return

    async def _sweep(self) -> None:
        """Kill whatever is left until there is nothing to wait for."""
        told: set[int] = set()  # those that end already are told, too: who looks at a trace sees when
        while self._reap():
            for process in self._kernel.descendants(self):
                if process.serial not in told:
                    told.add(process.serial)
                    self._kernel.send(process, "SIGKILL", "runtime" if self._kill else "keeper")
            await self._wait(None)

    async def _wait(self, deadline: float | None) -> bool:
        """Wait for anything to happen; whether the deadline came first."""
        if not self._news.is_set():
            with trio.CancelScope(deadline=float("inf") if deadline is None else deadline) as scope:
                await self._news.wait()
            if scope.cancelled_caught:
                return True
        await self._notice()
        self._news = trio.Event()
        return False

    async def _notice(self) -> None:
        if self._random.random() < 0.5:
            await sleep(moment(self._random, _NOTICE_SECONDS))

    def _reap(self) -> bool:
        """Take leave of every child that has ended. Whether there are others."""
        for child in [child for child in self.children.values() if child.zombie]:
            status = self._kernel.reap(child)
            if child is self._root:
                self.status = status
                self.exited.set()
        return bool(self.children)
