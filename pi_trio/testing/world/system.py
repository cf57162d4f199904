"""What a simulated program sees of its system: the system calls."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from ...abc import ExitStatus
from ..clock import sleep
from .moments import moment
from .output import Output, Stream
from .pipe import End, Pipe
from .process import Process
from .signals import IGNORE, Handler

if TYPE_CHECKING:
    from .kernel import Kernel, Program

__all__ = ["System"]


class System:
    """The system calls of one process. Each returns only while it runs: a stopped process does nothing.

    A program awaits nothing but these, and does nothing any more once it was cancelled: then it is dead.
    """

    def __init__(self, kernel: Kernel, process: Process) -> None:
        self._kernel = kernel
        self._process = process
        self.threads: trio.Nursery
        """Where :meth:`start_soon` starts. Set by the kernel."""
        self.stdout: Stream = Output(self, 1)
        self.read_stdin: Callable[[], Awaitable[bytes]] = self._read_stdin
        """Reads what there is on stdin, ``b""`` at its end."""

    # --- what it is -----------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def group(self) -> int:
        """Its process group, which here is its session, too: nobody calls setpgid(2)."""
        return self._process.group

    @property
    def argv(self) -> tuple[str, ...]:
        """Its command line."""
        return self._process.argv

    @property
    def env(self) -> Mapping[str, str]:
        """Its environment."""
        return self._process.env

    @property
    def cwd(self) -> str:
        """The folder it is in."""
        return self._process.cwd

    @property
    def random(self) -> random.Random:
        """Its own randomness, which comes from the world's seed."""
        return self._process.random

    @property
    def process(self) -> Process:
        """What the kernel knows of it."""
        return self._process

    # --- time and threads -----------------------------------------------------------------------------------

    async def sleep(self, seconds: float) -> None:
        """Sleep; longer if it is stopped meanwhile."""
        await sleep(seconds)
        await self.wait_running()

    async def take(self, seconds: tuple[float, float]) -> None:
        """Take a moment somewhere in this range; see :func:`~pi_trio.testing.world.moments.moment`."""
        await self.sleep(moment(self.random, seconds))

    async def linger(self, seconds: tuple[float, float]) -> None:
        """The same, but every other time none, which is no checkpoint either."""
        if self.random.random() < 0.5:
            await self.take(seconds)

    async def wait_for(self, event: trio.Event) -> None:
        """Wait for something that another thread of this process does."""
        await event.wait()
        await self.wait_running()

    async def wait_running(self) -> None:
        """Return when the process is not stopped."""
        await self._process.wait_running()

    async def wait_at_most(self, event: trio.Event, seconds: float) -> bool:
        """Wait for another thread of this process, but not for ever; whether it came in time."""
        with trio.move_on_after(seconds) as scope:
            await event.wait()
        await self.wait_running()
        return not scope.cancelled_caught

    def start_soon(self, thread: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a thread. It ends with the process at the latest."""
        if self._process.ending is None:
            self.threads.start_soon(self._run_thread, thread, args)

    def start_awaited(self, thread: Callable[[], Awaitable[object]]) -> trio.Event:
        """Start a thread; the event is set when it is over."""
        done = trio.Event()

        async def run() -> None:
            await thread()
            done.set()

        self.start_soon(run)
        return done

    async def _run_thread(self, thread: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        try:
            await self.wait_running()
            await thread(*args)
        except OSError as error:
            self.crash(error)

    def crash(self, error: OSError) -> None:
        """End, with a word on stderr: what the system refused, the program did not expect."""
        with suppress(BrokenPipeError):
            self.write_nowait(2, f"uncaught: {error}\n".encode())
        self.exit(1)

    # --- for faults: what comes from outside of the process, and knows neither SIGSTOP nor its program -------

    def start_outside(self, task: Callable[[], Awaitable[object]]) -> None:
        """Start something that is not of this process, but ends with it. It may await what it likes."""

        async def run() -> None:
            try:
                await task()
            except OSError as error:  # it did something in the process's name
                self.crash(error)

        self.threads.start_soon(run)

    def signal_from_outside(self, name: str) -> None:
        """Send this process a signal, as somebody at a terminal would."""
        self._kernel.send(self._process, name, "fault")

    # --- files ----------------------------------------------------------------------------------------------

    async def _read_stdin(self) -> bytes:
        return await self.read(0)

    async def read(self, fd: int) -> bytes:
        """Wait for bytes; ``b""`` at the end of the file, or when ``fd`` is not open."""
        end = self._process.fds.get(fd)
        if end is None or end.pipe is None or end.pipe.readable:
            await trio.lowlevel.checkpoint()
        while True:
            await self.wait_running()
            end = self._process.fds.get(fd)
            if end is None or end.pipe is None:
                return b""
            data = end.pipe.read(self._process.serial)
            if data is not None:
                return data
            await end.pipe.wait_readable()

    def write_nowait(self, fd: int, data: bytes) -> int:
        """Write what fits; return how much that was. Into a pipe that nobody reads: SIGPIPE.

        Raises:
            BrokenPipeError: nobody reads it, and SIGPIPE is ignored.
        """
        end = self._process.fds.get(fd)
        if self._process.ending is not None or end is None or end.pipe is None:
            return len(data)
        try:
            return end.pipe.write(data, self._process.serial)
        except BrokenPipeError:
            if self._kernel.send(self._process, "SIGPIPE", "process") == "ignored":
                raise
            return len(data)

    async def wait_writable(self, fd: int) -> None:
        """Wait until :meth:`write_nowait` may take something."""
        await trio.lowlevel.checkpoint()
        await self.wait_running()
        while (end := self._process.fds.get(fd)) is not None and end.pipe is not None and not end.pipe.writable:
            await end.pipe.wait_writable()
            await self.wait_running()

    async def write(self, fd: int, data: bytes) -> None:
        """Write all of it."""
        while data := data[self.write_nowait(fd, data) :]:
            await self.wait_writable(fd)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        end = self._process.fds.pop(fd, None)
        if end is not None:
            end.close()

    def open_pipe(self) -> tuple[End, End]:
        """Both ends of a new pipe, to be given to children or to :meth:`adopt`."""
        pipe = Pipe()
        return End(pipe, writing=False), End(pipe, writing=True)

    def adopt(self, fd: int, end: End) -> None:
        """dup2(2): have this end as descriptor ``fd``, which is closed first."""
        self.close(fd)
        self._process.fds[fd] = end

    def descriptor(self, fd: int) -> End:
        """A copy of one of its descriptors, for a child; ``/dev/null`` when it has none."""
        end = self._process.fds.get(fd)
        return End(None, writing=fd != 0) if end is None else end.clone()

    # --- processes ------------------------------------------------------------------------------------------

    def spawn(
        self,
        program: Program,
        *argv: str,
        fds: Mapping[int, End] | None = None,
        new_session: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Process:
        """fork(2) and exec(2): start a child. It shares the descriptors that ``fds`` does not name.

        Raises:
            OSError: there are too many processes.
        """
        mine = self._process
        theirs = {fd: end.clone() for fd, end in mine.fds.items() if fds is None or fd not in fds}
        theirs.update(fds or {})
        try:
            return self._kernel.start(
                program,
                parent=mine,
                parent_process=mine,
                tag=mine.tag,
                argv=argv,
                env=mine.env if env is None else env,
                cwd=mine.cwd,
                fds=theirs,
                new_session=new_session,
            )
        except OSError:
            for end in theirs.values():
                end.close()
            raise

    def find_program(self, name: str) -> Program:
        """The program of that name. Raises :class:`FileNotFoundError`."""
        return self._kernel.find_program(name, self._process.env)

    async def exec(self, program: Program, *argv: str) -> int:
        """Become another program, and return the exit code, which the caller has to return at once."""
        self._process.replace_program(argv)
        return await program(self)

    async def wait(self, child: Process) -> ExitStatus:
        """Wait for the end of a child, and reap it."""
        await trio.lowlevel.checkpoint()
        await self.wait_running()
        while not child.zombie:
            await self._process.news.wait()
            await self.wait_running()
        return self._kernel.reap(child)

    def exit(self, code: int) -> None:
        """End, now."""
        self._process.end(ExitStatus(code=code))

    def new_session(self) -> None:
        """Leave the session: what setsid(2) does."""
        self._process.group = self._process.pid

    def kill(self, process: Process, signal: str) -> None:
        """Send a signal to a process."""
        self._kernel.send(process, signal, "process")

    def kill_pid(self, pid: int, signal: str) -> bool:
        """Send a signal to whatever process has this pid; whether there is one."""
        process = self._kernel.table.get(pid)
        if process is not None:
            self._kernel.send(process, signal, "process")
        return process is not None

    def kill_group(self, group: int, signal: str) -> None:
        """Send a signal to a whole group."""
        self._kernel.send_to_group(group, signal, "process")

    def on_signal(self, name: str, handler: Handler | None) -> None:
        """Handle a signal; ``None`` for its default action."""
        self._process.set_disposition(name, handler)

    def ignore_signal(self, name: str) -> None:
        """Ignore a signal."""
        self._process.set_disposition(name, IGNORE)
