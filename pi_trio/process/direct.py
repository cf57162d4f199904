"""Processes started by this process itself: works wherever Trio does, and promises less than it could.

What the direct host guarantees: the process has its own session, so a terminal's Ctrl-C never reaches it;
ending the tree reaches the process group and, on Linux, every descendant and every process that still
carries the tree's marker in its environment. What it cannot: find a process that left all of these behind
(off Linux that is any that called ``setsid``), or do anything at all once this process was killed.
"""

from __future__ import annotations

import os
import signal as signals
import sys

import trio

from ..abc import ExitStatus, ProcessCommand, ProcessHost, ProcessTree, ReceivePipe, SendPipe, Signal
from .listeners import listens_at
from .pipes import FdReceivePipe, FdSendPipe
from .procfs import ProcessInfo, descendants, kill_exactly, list_processes, marked

__all__ = ["DirectHost", "exit_status"]

# wait_empty looks at /proc: soon at first, for most trees are gone by then, later less often.
_FIRST_LOOK = 0.002
_LAST_LOOK = 0.05


def exit_status(returncode: int) -> ExitStatus:
    """What ``subprocess`` and ``os.waitstatus_to_exitcode`` return, as an :class:`ExitStatus`."""
    if returncode >= 0:
        return ExitStatus(code=returncode)
    try:
        return ExitStatus(signal=signals.Signals(-returncode).name)
    except ValueError:  # a real-time signal has no name
        return ExitStatus(signal=f"signal {-returncode}")


class DirectTree(ProcessTree):
    """A process tree of the direct host."""

    def __init__(
        self, process: trio.Process, command: ProcessCommand, stdin: SendPipe, stdout: ReceivePipe, stderr: ReceivePipe
    ) -> None:
        self._process = process
        self._pid = process.pid
        self._marker = command.marker
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr
        self._status: ExitStatus | None = None

    def __repr__(self) -> str:
        return f"<DirectTree pid={self._pid} {self._status or 'alive'}>"

    @property
    def pid(self) -> int:
        """See :class:`pi_trio.abc.ProcessTree`, here and below."""
        return self._pid

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

    def send_signal(self, signal: Signal) -> None:
        """Send a signal to the root process, unless it was reaped."""
        if self._status is None:
            self._process.send_signal(getattr(signals, signal.value))

    def listens_at(self, port: int) -> bool:
        """Whether it is this tree that answers there."""
        return listens_at(port, self._pid, self._marker)

    def kill_tree(self) -> None:
        """SIGKILL to the root, and to whatever of its tree can be found."""
        survivors = self._survivors()
        if self._process.poll() is None:
            # Not reaped, and nothing runs between this line and the next: the number is still the group's.
            try:
                os.killpg(self._pid, signals.SIGKILL)
            except ProcessLookupError:
                pass
        for process in survivors:
            kill_exactly(process)

    def _survivors(self) -> list[ProcessInfo]:
        if sys.platform != "linux":
            return []
        processes = [process for process in list_processes() if process.alive]
        found = {process.pid: process for process in marked(self._marker, processes)} if self._marker else {}
        if self._process.poll() is None:
            family = descendants(self._pid, processes) | {self._pid}
            found |= {process.pid: process for process in processes if process.pid in family}
        return list(found.values())

    async def wait_exit(self) -> ExitStatus:
        """Wait for the root process to end."""
        returncode = await self._process.wait()
        self._status = exit_status(returncode)
        return self._status

    async def wait_empty(self) -> None:
        """Wait until none of the tree can be found any more."""
        await self.wait_exit()
        pause = _FIRST_LOOK
        while self._survivors():
            await trio.sleep(pause)
            pause = min(2 * pause, _LAST_LOOK)

    def close(self) -> None:
        """Close the pipes."""
        for pipe in (self._stdin, self._stdout, self._stderr):
            pipe.close()


class DirectHost(ProcessHost):
    """Starts process trees as children of this process."""

    async def spawn(self, command: ProcessCommand) -> ProcessTree:
        """See :meth:`pi_trio.abc.ProcessHost.spawn`."""
        pipes: list[int] = []
        try:
            for _ in range(3):
                pipes += os.pipe2(os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
            child_in, ours_in, ours_out, child_out, ours_err, child_err = pipes
            process = await trio.lowlevel.open_process(
                list(command.argv),
                stdin=child_in,
                stdout=child_out,
                stderr=child_err,
                cwd=command.cwd,
                env={**command.env, **command.marker},
                start_new_session=True,
            )
        except BaseException:
            for fd in pipes:
                os.close(fd)
            raise
        # No checkpoint from here on: a cancellation now would leave a process that nobody owns.
        for fd in (child_in, child_out, child_err):
            os.close(fd)
        return DirectTree(process, command, FdSendPipe(ours_in), FdReceivePipe(ours_out), FdReceivePipe(ours_err))
