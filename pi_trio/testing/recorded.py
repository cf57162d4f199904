"""Plans on the real system: a real host whose doings are taken down as those of the simulated world are.

So the same predicates can be asked about both, and whether they agree. What a real system does not tell is not in the
trace: which processes a tool starts, what they do, and what an agent wrote that nobody read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs
import trio

from ..abc import ExitStatus, ProcessCommand, ProcessHost, ProcessTree, ReceivePipe, SendPipe, Signal
from ..launch import PiInstall
from ..process import marked, open_default_host
from .model import answer
from .model_server import open_model_server
from .plans import Plan
from .schedule import Checkpoints
from .simulation import drive
from .trace import (
    Misuse,
    PipeClosed,
    PipeName,
    PipeOpened,
    PipeRead,
    PipeWritten,
    ProcessExited,
    ProcessReaped,
    ProcessSignalled,
    ProcessSpawned,
    Record,
    Recorder,
    SignalSender,
    SpawnFailed,
    Trace,
    TreeEmptied,
)
from .world import Tag, World

__all__ = ["RecordedWorld", "run_plan_for_real"]

_INSTANCE_VARIABLE = "PI_TRIO_INSTANCE"

# Of a task on a machine that has much else to do, in seconds. Promises have bounds beside this one.
_LATENESS = 5.0


class RecordedWorld(World):
    """A real host, recorded. It has no faults but the signals that a plan sends.

    Args:
        host: what starts the processes. Owned by the caller.
        record: told what happens.
    """

    def __init__(self, host: ProcessHost, record: Record) -> None:
        self.faults = lambda *_: ()
        self.record = record
        self._host = host
        self._trees: list[_RecordedTree] = []
        self._spawns: dict[str, int] = {}
        self._serial = 0

    @property
    def open_ends(self) -> int:
        """See :class:`pi_trio.testing.world.World`, here and below."""
        return sum(tree.open_ends for tree in self._trees)

    def signal_root(self, instance: str, name: str) -> None:
        """Of the five signals that a host sends."""
        for tree in reversed(self._trees):
            if tree.tag.instance == instance:
                tree.send(Signal(name), "fault")
                return

    async def spawn(self, command: ProcessCommand) -> ProcessTree:
        """See :meth:`pi_trio.abc.ProcessHost.spawn`."""
        instance = command.marker.get(_INSTANCE_VARIABLE, "")
        number = self._spawns[instance] = self._spawns.get(instance, 0) + 1
        try:
            tree = await self._host.spawn(command)
        except BaseException as error:
            what = "cancelled" if isinstance(error, trio.Cancelled) else str(error)
            self.record(SpawnFailed(trio.current_time(), instance, number, what))
            raise
        self._serial += 1
        self._trees.append(_RecordedTree(self, tree, Tag(instance, number), self._serial, command.marker))
        return self._trees[-1]

    def close(self) -> None:
        """The end: whatever the runtime has left is told."""
        for tree in self._trees:
            tree.look_for_survivors("was left behind")


class _RecordedTree(ProcessTree):
    """A real tree. What is seen of its end is taken down before anybody else learns of it."""

    def __init__(
        self, world: RecordedWorld, tree: ProcessTree, tag: Tag, serial: int, marker: Mapping[str, str]
    ) -> None:
        self.tag = tag
        self._world = world
        self._tree = tree
        self._serial = serial
        self._marker = dict(marker)
        self._exited = self._empty = False
        world.record(ProcessSpawned(*self._when(), serial, tree.pid, None))
        self._stdin = _RecordedSendPipe(self, tree.stdin, "stdin")
        self._stdout = _RecordedReceivePipe(self, tree.stdout, "stdout")
        self._stderr = _RecordedReceivePipe(self, tree.stderr, "stderr")

    def __repr__(self) -> str:
        return f"<recorded {self._tree!r}>"

    def _when(self) -> tuple[float, str, int]:
        return trio.current_time(), self.tag.instance, self.tag.incarnation

    def record_read(self, pipe: PipeName, data: bytes) -> None:
        """Bytes were read: that they were written was not seen."""
        self._world.record(PipeWritten(*self._when(), pipe, self._serial, data))
        self._world.record(PipeRead(*self._when(), pipe, None, len(data)))

    def record_written(self, pipe: PipeName, data: bytes) -> None:
        """Bytes were written."""
        self._world.record(PipeWritten(*self._when(), pipe, None, data))

    def record_end(self, pipe: PipeName, *, opened: bool) -> None:
        """The runtime has an end of a pipe, or has it no more."""
        kind = PipeOpened if opened else PipeClosed
        self._world.record(kind(*self._when(), pipe))

    @property
    def open_ends(self) -> int:
        """How many ends of pipes have not been closed."""
        return self._stdin.is_open + self._stdout.is_open + self._stderr.is_open

    @property
    def pid(self) -> int:
        return self._tree.pid

    @property
    def stdin(self) -> SendPipe:
        return self._stdin

    @property
    def stdout(self) -> ReceivePipe:
        return self._stdout

    @property
    def stderr(self) -> ReceivePipe:
        return self._stderr

    def send_signal(self, signal: Signal) -> None:
        self.send(signal, "runtime")

    def send(self, signal: Signal, sender: SignalSender) -> None:
        """Send a signal to the root, and take down who did."""
        if not self._exited:
            self._world.record(ProcessSignalled(*self._when(), self._serial, self.pid, signal.value, sender, "acted"))
        self._tree.send_signal(signal)

    def kill_tree(self) -> None:
        if not self._exited:
            self._world.record(ProcessSignalled(*self._when(), self._serial, self.pid, "SIGKILL", "runtime", "acted"))
        self._tree.kill_tree()

    async def wait_exit(self) -> ExitStatus:
        status = await self._tree.wait_exit()
        if not self._exited:
            self._exited = True
            self._world.record(ProcessExited(*self._when(), self._serial, self.pid, status))
            self._world.record(ProcessReaped(*self._when(), self._serial, self.pid))
        return status

    async def wait_empty(self) -> None:
        await self._tree.wait_empty()
        if not self._empty:
            self._empty = True
            self.look_for_survivors("is alive, and its tree was said to be empty")
            self._world.record(TreeEmptied(*self._when()))

    def look_for_survivors(self, what: str) -> None:
        """Tell of every process that carries the tree's marker and lives."""
        for process in marked(self._marker):
            self._world.record(Misuse(*self._when(), f"pid {process.pid} {what}"))

    def close(self) -> None:
        for pipe in (self._stdin, self._stdout, self._stderr):
            pipe.close()
        self._tree.close()


class _RecordedSendPipe(SendPipe):
    def __init__(self, tree: _RecordedTree, pipe: SendPipe, name: PipeName) -> None:
        self._tree, self._pipe, self._name = tree, pipe, name
        self.is_open = True
        tree.record_end(name, opened=True)

    def write_nowait(self, data: bytes | memoryview) -> int:
        written = self._pipe.write_nowait(data)
        if written:
            self._tree.record_written(self._name, bytes(data[:written]))
        return written

    async def wait_writable(self) -> None:
        await self._pipe.wait_writable()

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._tree.record_end(self._name, opened=False)
        self._pipe.close()


class _RecordedReceivePipe(ReceivePipe):
    def __init__(self, tree: _RecordedTree, pipe: ReceivePipe, name: PipeName) -> None:
        self._tree, self._pipe, self._name = tree, pipe, name
        self.is_open = True
        tree.record_end(name, opened=True)

    async def receive_some(self) -> bytes | None:
        data = await self._pipe.receive_some()
        if data:
            self._tree.record_read(self._name, data)
        return data

    def interrupt(self) -> None:
        self._pipe.interrupt()

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._tree.record_end(self._name, opened=False)
        self._pipe.close()


def run_plan_for_real(plan: Plan, pi: PiInstall, folder: Path) -> Trace:
    """Run a plan on this machine: real processes, the real clock, a real Pi with a scripted model.

    The seed and the faults of the plan mean nothing here; its signals do.

    Args:
        plan: what is run.
        pi: the Pi that every spec of the plan gets.
        folder: for Pi's configuration, and what it works in.
    """
    recorder = Recorder()
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)

    async def main() -> None:
        async with open_model_server(answer) as model, open_default_host() as host:
            env = model.configure(folder / "agent")
            specs = [
                attrs.evolve(
                    spec,
                    pi=pi,
                    provider="scripted",
                    model="scripted-1",
                    cwd=work,
                    env={**env, **spec.env},
                    inherit_env=True,
                )
                for spec in plan.specs
            ]
            world = RecordedWorld(host, recorder.record)
            await drive(attrs.evolve(plan, specs=tuple(specs)), world, recorder.record, Checkpoints(), {})
            world.close()

    trio.run(main)
    return recorder.trace(lateness=_LATENESS)
