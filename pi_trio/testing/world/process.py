"""One simulated process: its state, its descriptors, and what signals do to it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Protocol

import attrs
import trio

from ...abc import ExitStatus
from ..trace import SignalFate
from .pipe import End
from .signals import DEFAULT_ACTIONS, IGNORE, Handler, in_order

__all__ = ["Parent", "Process", "Tag"]


@attrs.frozen
class Tag:
    """Whose tree a process belongs to."""

    instance: str
    incarnation: int


class Parent(Protocol):
    """Whoever reaps: another process, or a keeper."""

    children: dict[int, Process]
    """By their serial numbers."""

    def child_ended(self) -> None:
        """One of the children is a zombie now."""


class Process:
    """A process, from its start until it is reaped. Only the kernel changes who its parent is.

    A process that is stopped runs no code: every system call returns only when it goes on. It *ends* when its
    program is told to run no further; it is a *zombie* a moment later, when the kernel has closed what it had open.
    """

    def __init__(
        self,
        *,
        serial: int,
        pid: int,
        parent: Parent,
        parent_serial: int | None,
        group: int | None,
        tag: Tag,
        argv: tuple[str, ...],
        env: Mapping[str, str],
        cwd: str,
        fds: dict[int, End],
        random: random.Random,
    ) -> None:
        self.serial = serial
        self.pid = pid
        self.parent = parent
        self.parent_serial = parent_serial
        self.group = pid if group is None else group
        self.tag = tag
        self.argv = argv
        self.env = env
        self.cwd = cwd
        self.fds = fds
        self.random = random
        self.children: dict[int, Process] = {}
        self.news = trio.Event()
        self.scope = trio.CancelScope()
        self.ending: ExitStatus | None = None
        """How it ends: from here on its program does nothing more."""
        self.exit_seconds = 0.0
        """How much longer than usual it takes to be gone once it ended: uninterruptible sleep."""
        self.zombie = False
        self.reaped = False
        self.stopped = False
        self._continued = trio.Event()
        self._dispositions: dict[str, Handler | str] = {}
        self._blocked: frozenset[str] = frozenset()
        self._pending: dict[str, None] = {}

    def __repr__(self) -> str:
        state = "reaped" if self.reaped else "zombie" if self.zombie else "stopped" if self.stopped else "running"
        return f"<Process {self.pid} {' '.join(self.argv)[:40]} {state}>"

    @property
    def alive(self) -> bool:
        """Whether it is there, and not a zombie."""
        return not self.zombie and not self.reaped

    def child_ended(self) -> None:
        """See :class:`Parent`."""
        self.news.set()
        self.news = trio.Event()

    def end(self, status: ExitStatus) -> None:
        """Run no further. The first status counts."""
        if self.ending is None:
            self.ending = status
            self.scope.cancel()

    def replace_program(self, argv: tuple[str, ...]) -> None:
        """What exec(2) does: handlers are gone, what is ignored stays ignored."""
        self.argv = argv
        self._dispositions = {name: what for name, what in self._dispositions.items() if what == IGNORE}

    async def wait_running(self) -> None:
        """Return when it is not stopped. No checkpoint when it is not."""
        while self.stopped:
            await self._continued.wait()

    # --- signals ------------------------------------------------------------------------------------------

    def set_disposition(self, name: str, what: Handler | str | None) -> None:
        """What a signal does: call a handler, nothing (:data:`IGNORE`), or its default action (``None``)."""
        if name in ("SIGKILL", "SIGSTOP"):
            raise ValueError(f"{name} cannot be handled or ignored")
        if what is None:
            self._dispositions.pop(name, None)
        else:
            self._dispositions[name] = what

    def block(self, *names: str) -> None:
        """Hold these back for ever: they stay pending, whatever the program does. Not SIGKILL and SIGSTOP."""
        self._blocked |= frozenset(names) - {"SIGKILL", "SIGSTOP"}

    def post(self, name: str) -> SignalFate:
        """Send it a signal; what comes of it."""
        if self.ending is not None or not self.alive:
            return "gone"
        if name == "SIGKILL":
            self.end(ExitStatus(signal=name))
            return "acted"
        action = DEFAULT_ACTIONS[name]
        if action == "continue":
            return self._go_on(name)
        if action == "stop":
            self._pending.pop("SIGCONT", None)
        if name == "SIGSTOP":
            self.stopped = True
            return "acted"
        if name in self._blocked or self.stopped:
            if self._dispositions.get(name) != IGNORE:
                self._pending[name] = None
            return "pending"
        return self._deliver(name)

    def _go_on(self, name: str) -> SignalFate:
        """SIGCONT: it works even where it is ignored, and what waited is delivered."""
        for stop in ("SIGSTOP", "SIGTSTP"):
            self._pending.pop(stop, None)
        if self.stopped:
            self.stopped = False
            self._continued.set()
            self._continued = trio.Event()
            for waiting in in_order(self._pending):
                if waiting not in self._blocked:
                    del self._pending[waiting]
                    self._deliver(waiting)
        handler = self._dispositions.get(name)
        if self.ending is None and callable(handler):
            handler(name)
            return "handled"
        return "acted"

    def _deliver(self, name: str) -> SignalFate:
        if self.ending is not None:
            return "gone"
        what = self._dispositions.get(name)
        if callable(what):
            what(name)
            return "handled"
        action = "ignore" if what == IGNORE else DEFAULT_ACTIONS[name]
        if action == "ignore":
            return "ignored"
        if action == "stop":
            self.stopped = True
        else:
            self.end(ExitStatus(signal=name))
        return "acted"
