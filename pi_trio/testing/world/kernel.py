"""The kernel of the simulated system: the table of processes, pids, parents, and the end of processes."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import trio

from ...abc import ExitStatus
from ..clock import sleep
from ..trace import (
    Misuse,
    ProcessExited,
    ProcessReaped,
    ProcessSignalled,
    ProcessSpawned,
    Record,
    SignalFate,
    SignalSender,
)
from .moments import moment
from .pipe import End
from .process import Parent, Process, Tag
from .system import System

__all__ = ["Kernel", "Program"]

Program: TypeAlias = Callable[[System], Awaitable[int]]
"""What a process runs: given its system calls, it returns its exit code."""

# So few that a pid comes back soon, and whoever still holds it meets a stranger.
_FIRST_PID = 100

_DEFAULT_PATH = "/bin:/usr/bin"

# What the kernel needs to take a killed process apart, in seconds: never nothing, so that nobody can count on it.
_EXIT_SECONDS = (0.0001, 0.02)


class Kernel:
    """Everything that processes share.

    Args:
        nursery: where they run.
        record: told everything that happens.
        seed: where each process's own randomness comes from.
        max_processes: how many there may be at the same time; beyond it a fork fails.
        programs: what can be executed, by path.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        record: Record,
        *,
        seed: int,
        max_processes: int,
        programs: Mapping[str, Program],
    ) -> None:
        self.record = record
        self.table: dict[int, Process] = {}
        """By pid; zombies included."""
        self.programs = dict(programs)
        self._nursery = nursery
        self._seed = seed
        self._max_processes = max_processes
        self._last_serial = 0
        self._free: list[int] = []

    def random_for(self, serial: int) -> random.Random:
        """Randomness that depends on nothing but the seed and a number."""
        return random.Random(self._seed * 1_000_003 + serial)

    def find_program(self, name: str, env: Mapping[str, str]) -> Program:
        """The program of that name, looked for in ``PATH`` when it is no path.

        Raises:
            FileNotFoundError: there is none.
        """
        folders = env.get("PATH", _DEFAULT_PATH).split(":")
        paths = [name] if "/" in name else [f"{folder}/{name}" for folder in folders]
        for path in paths:
            if path in self.programs:
                return self.programs[path]
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)

    # --- the life of a process ------------------------------------------------------------------------

    def start(
        self,
        program: Program,
        *,
        parent: Parent,
        parent_process: Process | None,
        tag: Tag,
        argv: tuple[str, ...],
        env: Mapping[str, str],
        cwd: str,
        fds: dict[int, End],
        new_session: bool,
    ) -> Process:
        """Start a process. It owns ``fds`` from here on.

        Raises:
            OSError: EAGAIN, there are too many.
        """
        pid = self._take_pid()
        self._last_serial += 1
        process = Process(
            serial=self._last_serial,
            pid=pid,
            parent=parent,
            parent_serial=None if parent_process is None else parent_process.serial,
            group=None if new_session or parent_process is None else parent_process.group,
            tag=tag,
            argv=argv,
            env=env,
            cwd=cwd,
            fds=fds,
            random=self.random_for(self._last_serial),
        )
        self.table[pid] = process
        parent.children[process.serial] = process
        self.record(
            ProcessSpawned(
                trio.current_time(), tag.instance, tag.incarnation, process.serial, pid, process.parent_serial
            )
        )
        self._nursery.start_soon(self._live, process, System(self, process), program, name=argv[0])
        return process

    def _take_pid(self) -> int:
        if len(self.table) >= self._max_processes:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        # The one that was given back last: a pid is reused as soon as it can be.
        return self._free.pop() if self._free else _FIRST_PID + len(self.table)

    async def _live(self, process: Process, system: System, program: Program) -> None:
        with process.scope:
            async with trio.open_nursery() as system.threads:
                await process.wait_running()
                if process.ending is None:
                    await self._run(process, system, program)
        assert process.ending is not None
        killed = process.ending.signal is not None
        seconds = process.exit_seconds + (moment(process.random, _EXIT_SECONDS) if killed else 0.0)
        if seconds:
            await sleep(seconds)
        self._bury(process)

    async def _run(self, process: Process, system: System, program: Program) -> None:
        try:
            process.end(ExitStatus(code=await program(system)))
        except OSError as error:
            system.crash(error)

    def _bury(self, process: Process) -> None:
        """Make it a zombie: what it had open is closed, its children are their keeper's."""
        assert process.ending is not None
        for end in process.fds.values():
            end.close()
        process.fds.clear()
        heir = self._heir(process)
        for serial, child in process.children.items():
            child.parent = heir
            heir.children[serial] = child
        orphaned_zombies = any(child.zombie for child in process.children.values())
        process.children.clear()
        process.zombie = True
        tag = process.tag
        self.record(
            ProcessExited(
                trio.current_time(), tag.instance, tag.incarnation, process.serial, process.pid, process.ending
            )
        )
        if orphaned_zombies:
            heir.child_ended()
        process.parent.child_ended()

    def _heir(self, process: Process) -> Parent:
        """Who inherits its children: the nearest subreaper above it. That is the keeper of its tree."""
        parent = process.parent
        while isinstance(parent, Process):
            parent = parent.parent
        return parent

    def reap(self, process: Process) -> ExitStatus:
        """Take leave of a zombie; its pid may be another's now."""
        assert process.ending is not None
        tag = process.tag
        if process.reaped or not process.zombie:
            self.misused(tag, f"pid {process.pid} was reaped, and is {'gone' if process.reaped else 'alive'}")
            return process.ending
        process.reaped = True
        del process.parent.children[process.serial]
        del self.table[process.pid]
        self._free.append(process.pid)
        self.record(ProcessReaped(trio.current_time(), tag.instance, tag.incarnation, process.serial, process.pid))
        return process.ending

    # --- signals ------------------------------------------------------------------------------------------

    def send(self, process: Process, name: str, sender: SignalSender) -> SignalFate:
        """Send a signal to one process."""
        tag = process.tag
        if process.reaped:
            self.misused(tag, f"{name} was sent to pid {process.pid}, which was reaped")
            return "gone"
        now = trio.current_time()
        fate = process.post(name)
        self.record(
            ProcessSignalled(now, tag.instance, tag.incarnation, process.serial, process.pid, name, sender, fate)
        )
        return fate

    def send_to_group(self, group: int, name: str, sender: SignalSender) -> None:
        """killpg(2): to every process of the group."""
        for process in [each for each in self.table.values() if each.group == group and not each.zombie]:
            self.send(process, name, sender)

    def descendants(self, parent: Parent) -> list[Process]:
        """Everything below it that lives, parents before their children."""
        found: list[Process] = []
        queue = list(parent.children.values())
        while queue:
            process = queue.pop(0)
            queue.extend(process.children.values())
            if process.alive:
                found.append(process)
        return found

    def misused(self, tag: Tag, what: str) -> None:
        """Somebody did what a real system would not forgive."""
        self.record(Misuse(trio.current_time(), tag.instance, tag.incarnation, what))
