"""The simulated world: a ``ProcessHost`` whose processes are coroutines on virtual time."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from ...abc import ProcessCommand, ProcessTree
from ...concurrency import open_service_nursery
from ..clock import sleep
from ..trace import FaultActed, PipeName, Record, SpawnFailed
from .fault import Fault, FaultsFor
from .keeper import Keeper
from .kernel import Kernel, Program
from .moments import moment
from .pipe import End, Pipe, PipeLog
from .process import Process, Tag
from .programs import PROGRAMS
from .system import System
from .tree import SimTree
from .world import World

__all__ = ["SimWorld", "open_world"]

# What a fork and an exec take, in seconds.
_SPAWN_SECONDS = (0.001, 0.05)

_INSTANCE_VARIABLE = "PI_TRIO_INSTANCE"


class SimWorld(World):
    """A small operating system on virtual time. Made by :func:`open_world`.

    ``folders`` are the folders there are, ``None`` for any.
    ``faults`` says what goes wrong; change it at any time, for the incarnations that are started from then on.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        seed: int,
        record: Record,
        programs: Mapping[str, Program],
        faults: FaultsFor,
        sweeps: bool,
        folders: frozenset[str] | None,
        max_processes: int,
    ) -> None:
        self.kernel = Kernel(nursery, record, seed=seed, max_processes=max_processes, programs={**PROGRAMS, **programs})
        self.faults = faults
        self.folders = folders
        self.sweeps = sweeps
        self.random = random.Random(seed)
        self._nursery = nursery
        self._spawns: dict[str, int] = {}
        self._trees: dict[int, SimTree] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<SimWorld {len(self.kernel.table)} processes, {len(self._trees)} trees>"

    @property
    def open_ends(self) -> int:
        """How many ends of pipes the runtime has open."""
        return sum(tree.open_ends for tree in self._trees.values())

    def has_folder(self, path: str) -> bool:
        """See :meth:`pi_trio.abc.ProcessHost.has_folder`."""
        return self.folders is None or path in self.folders

    def root_of(self, instance: str) -> Process | None:
        """The root of an instance's youngest tree that has not been closed."""
        for tree in reversed(self._trees.values()):
            if tree.root.tag.instance == instance:
                return tree.root
        return None

    def signal_root(self, instance: str, name: str) -> None:
        """See :meth:`World.signal_root`."""
        root = self.root_of(instance)
        if root is not None and not root.reaped:
            self.kernel.send(root, name, "fault")

    def kill_keeper(self, instance: str) -> None:
        """See :meth:`World.kill_keeper`."""
        for tree in reversed(self._trees.values()):
            if tree.root.tag.instance == instance:
                tree.kill_keeper()
                return

    def misused(self, tag: Tag, what: str) -> None:
        """The runtime did what a real system would not forgive."""
        self.kernel.misused(tag, what)

    def forget(self, tree: SimTree) -> None:
        """The runtime has closed it."""
        del self._trees[tree.root.serial]

    # --- starting ---------------------------------------------------------------------------------------------

    async def spawn(self, command: ProcessCommand) -> ProcessTree:
        """See :meth:`pi_trio.abc.ProcessHost.spawn`.

        Cancelled, it does one of the three things that hosts do: it raises, and nothing was started; it ends what
        was started, and raises; or it returns a tree all the same.
        """
        instance = command.marker.get(_INSTANCE_VARIABLE, "")
        number = self._spawns[instance] = self._spawns.get(instance, 0) + 1
        try:
            _check_text(command)
            return await self._spawn(command, Tag(instance, number))
        except BaseException as error:
            name = "cancelled" if isinstance(error, trio.Cancelled) else str(error)
            self.kernel.record(SpawnFailed(trio.current_time(), instance, number, name))
            raise

    async def _spawn(self, command: ProcessCommand, tag: Tag) -> SimTree:
        if self._closed:
            self.misused(tag, "a process was asked for when the world was closed")
            raise trio.ClosedResourceError("this world was closed")
        faults = self.faults(tag.instance, tag.incarnation)
        seconds = moment(self.random, _SPAWN_SECONDS) + sum(fault.delay_spawn() for fault in faults)
        cancelled = self.random.choice(("before", "behind", "ended"))
        if cancelled == "before":
            await sleep(seconds)
            return self._start(command, tag, faults).hand_over()
        await trio.lowlevel.checkpoint()
        tree = self._start(command, tag, faults)
        try:
            with trio.CancelScope(shield=cancelled == "behind"):
                await sleep(seconds)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                tree.kill_tree()
                await tree.wait_empty()
                tree.close()
            raise
        return tree.hand_over()

    def _start(self, command: ProcessCommand, tag: Tag, faults: Sequence[Fault]) -> SimTree:
        """Start the root, and its keeper. No checkpoint."""
        if not self.has_folder(command.cwd):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command.cwd)
        program = self.kernel.find_program(command.argv[0], command.env)
        for fault in faults:
            try:
                fault.check_spawn()
            except OSError:
                self._acted(fault, tag)
                raise
            program = self._spoilt(program, fault, tag)
        pipes: dict[PipeName, Pipe] = {}
        for name in ("stdin", "stdout", "stderr"):
            pipes[name] = Pipe(PipeLog(self.kernel.record, tag.instance, tag.incarnation, name))
        fds = {
            0: End(pipes["stdin"], writing=False),
            1: End(pipes["stdout"], writing=True),
            2: End(pipes["stderr"], writing=True),
        }
        keeper = Keeper(self.kernel, tag, command.grace_timeout, self.random, sweeps=self.sweeps)
        root = self.kernel.start(
            program,
            parent=keeper,
            parent_process=None,
            tag=tag,
            argv=command.argv,
            env={**command.env, **command.marker},
            cwd=command.cwd,
            fds=fds,
            new_session=True,
        )
        tree = self._trees[root.serial] = SimTree(self, root, keeper, pipes)
        self._nursery.start_soon(keeper.keep, root, name=f"keeper of {tag.instance}")
        return tree

    def _spoilt(self, program: Program, fault: Fault, tag: Tag) -> Program:
        async def run(system: System) -> int:
            return await fault.run(system, program, lambda: self._acted(fault, tag))

        return run

    def _acted(self, fault: Fault, tag: Tag) -> None:
        self.kernel.record(FaultActed(trio.current_time(), tag.instance, tag.incarnation, repr(fault)))

    def close(self) -> None:
        """The end: whatever the runtime has left is told."""
        self._closed = True
        for tree in list(self._trees.values()):
            self.misused(tree.root.tag, "the tree was never closed")
        for process in self.kernel.table.values():
            self.misused(process.tag, f"pid {process.pid} was left behind")


def _check_text(command: ProcessCommand) -> None:
    env = {**command.env, **command.marker}
    if not command.argv:
        raise ValueError("there is no program to start: argv is empty")
    if any("\0" in text for text in (*command.argv, command.cwd, *env, *env.values())):
        raise ValueError("embedded null byte")
    if any("=" in name or not name for name in env):
        raise ValueError("illegal environment variable name")


def _no_faults(_instance: str, _incarnation: int) -> Sequence[Fault]:
    return ()


def _unrecorded(_event: object) -> None:
    pass


@asynccontextmanager
async def open_world(
    *,
    seed: int = 0,
    record: Record = _unrecorded,
    programs: Mapping[str, Program],
    faults: FaultsFor = _no_faults,
    sweeps: bool = True,
    folders: frozenset[str] | None = None,
    max_processes: int = 1024,
) -> AsyncIterator[SimWorld]:
    """A world for the body. Run it on virtual time: ``trio.run(..., clock=MockClock(autojump_threshold=0))``.

    Args:
        seed: where every latency in it comes from.
        record: told everything that happens, event by event.
        programs: what can be started, by path, beside a shell and a few small ones.
        faults: what goes wrong with which incarnation.
        sweeps: whether what is left of a tree is killed as soon as its root has ended, as by the keeper host, or
            when the runtime says so, as by the direct host.
        folders: the folders that exist; ``None`` for any.
        max_processes: how many there may be at the same time; beyond it a spawn fails.

    Behind the body nothing runs any more. What the runtime had left is recorded as :class:`Misuse` first.
    """
    world: SimWorld | None = None
    running = trio.CancelScope()
    nurseries: list[trio.Nursery] = []
    ready = trio.Event()

    async def run_system() -> None:
        with running:
            async with trio.open_nursery() as nursery:
                nurseries.append(nursery)
                ready.set()
                await trio.sleep_forever()

    async def stop(_: BaseException | None) -> None:
        if world is not None:
            world.close()
        running.cancel()

    # A system does not end because somebody in it was cancelled: what the runtime does then needs it.
    async with open_service_nursery(stop) as service:
        service.start_soon(run_system, name="simulated system")
        await ready.wait()
        world = SimWorld(
            nurseries[0],
            seed=seed,
            record=record,
            programs=programs,
            faults=faults,
            sweeps=sweeps,
            folders=folders,
            max_processes=max_processes,
        )
        yield world
