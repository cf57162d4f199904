"""A process tree of the simulated world, as the runtime sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...abc import ExitStatus, ProcessTree, ReceivePipe, SendPipe, Signal
from ..trace import PipeName
from .host_pipes import SimReceivePipe, SimSendPipe
from .keeper import Keeper
from .pipe import Pipe, PipeLog
from .process import Process

if TYPE_CHECKING:
    from .host import SimWorld

__all__ = ["SimTree"]


class SimTree(ProcessTree):
    """A process tree of the world; see :class:`pi_trio.abc.ProcessTree`."""

    def __init__(self, world: SimWorld, root: Process, keeper: Keeper, pipes: Mapping[PipeName, Pipe]) -> None:
        self._world = world
        self._root = root
        self._keeper = keeper
        self._closed = False

        def log(name: PipeName) -> PipeLog:
            found = pipes[name].log
            assert found is not None
            return found

        self._stdin = SimSendPipe(pipes["stdin"], log("stdin"), writing=True)
        self._stdout = SimReceivePipe(pipes["stdout"], log("stdout"), world.random)
        self._stderr = SimReceivePipe(pipes["stderr"], log("stderr"), world.random)

    def __repr__(self) -> str:
        return f"<SimTree pid={self._root.pid} {self._keeper!r}>"

    @property
    def pid(self) -> int:
        """The process id of the root."""
        return self._root.pid

    @property
    def stdin(self) -> SendPipe:
        """What the process reads from."""
        return self._stdin

    @property
    def stdout(self) -> ReceivePipe:
        """What the process writes to."""
        return self._stdout

    @property
    def stderr(self) -> ReceivePipe:
        """What the process complains to."""
        return self._stderr

    @property
    def root(self) -> Process:
        """The root process."""
        return self._root

    def kill_keeper(self) -> None:
        """Somebody kills whoever keeps it."""
        self._keeper.die()

    def hand_over(self) -> SimTree:
        """The spawn returns it: from here on it is the runtime's."""
        for pipe in (self._stdin, self._stdout, self._stderr):
            pipe.hand_over()
        return self

    @property
    def open_ends(self) -> int:
        """How many ends of pipes the runtime has not closed."""
        return self._stdin.is_open + self._stdout.is_open + self._stderr.is_open

    @property
    def closed(self) -> bool:
        """Whether the runtime has closed it."""
        return self._closed

    def send_signal(self, signal: Signal) -> None:
        """Send a signal to the root, unless it was reaped."""
        if not self._root.reaped:
            self._world.kernel.send(self._root, signal.value, "runtime")

    def kill_tree(self) -> None:
        """SIGKILL to everything, a moment later; its keeper does not rest until that is done."""
        self._keeper.ask_kill()

    async def wait_exit(self) -> ExitStatus:
        """Wait for the root to end."""
        await self._keeper.exited.wait()
        assert self._keeper.status is not None
        return self._keeper.status

    async def wait_empty(self) -> None:
        """Wait until nothing is left."""
        await self._keeper.empty.wait()

    def close(self) -> None:
        """Close the pipes; what is left of the tree, its keeper ends."""
        if self._closed:
            return
        self._closed = True
        for pipe in (self._stdin, self._stdout, self._stderr):
            pipe.close()
        if not self._keeper.empty.is_set():
            self._world.misused(self._root.tag, "the tree was closed before it was empty")
            self._keeper.hang_up()
        self._world.forget(self)
