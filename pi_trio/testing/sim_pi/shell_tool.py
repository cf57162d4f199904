"""Shell commands as Pi runs them: each in a session of its own, its output read as it comes."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from ..world import End, Process, Program, System

__all__ = ["ShellCommands", "ShellOutcome"]

# Pi does not wait for the end of the output for ever: a process in the background may hold it.
_LINGER_SECONDS = 0.1


@attrs.frozen
class ShellOutcome:
    """How a command ended."""

    output: str
    exit_code: int | None
    """``None`` when a signal ended it."""
    cancelled: bool


class ShellCommands:
    """The shell commands that a Pi has running."""

    def __init__(self, system: System, shell: Program) -> None:
        self._system = system
        self._shell = shell
        self._running: dict[Process, str] = {}
        self._cancelled: dict[Process, None] = {}

    def kill(self, owner: str | None = None) -> None:
        """Kill the process groups of an owner's commands, or of all. What has left its group stays."""
        for process, whose in list(self._running.items()):
            if owner is None or whose == owner:
                self._cancelled[process] = None
                self._system.kill_group(process.pid, "SIGKILL")

    async def run(self, owner: str, command: str, heard: Callable[[str], None]) -> ShellOutcome:
        """Run a command to its end; ``heard`` is called with each piece of its output."""
        system = self._system
        reading, writing = system.open_pipe()
        fds = {0: End(None, writing=False), 1: writing, 2: writing.clone()}
        try:
            child = system.spawn(self._shell, "/bin/bash", "-c", command, fds=fds, new_session=True)
        except OSError as error:
            reading.close()
            return ShellOutcome(f"spawn /bin/bash: {error.strerror}", 1, cancelled=False)
        self._running[child] = owner
        fd = 10 + child.serial
        system.adopt(fd, reading)
        pieces: list[str] = []

        async def listen() -> None:
            while data := await system.read(fd):
                text = data.decode("utf-8", "replace")
                pieces.append(text)
                heard(text)

        done = system.start_awaited(listen)
        status = await system.wait(child)
        del self._running[child]
        await system.wait_at_most(done, _LINGER_SECONDS)
        system.close(fd)
        return ShellOutcome("".join(pieces), status.code, child in self._cancelled)
