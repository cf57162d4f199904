"""Which processes there are, read from ``/proc``. Linux only; elsewhere the lists are empty."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Mapping

import attrs

__all__ = ["ProcessInfo", "descendants", "kill_exactly", "list_processes", "marked", "read_process"]


@attrs.frozen
class ProcessInfo:
    """One process, at one moment."""

    pid: int
    ppid: int
    session: int
    state: str
    """One letter, as in ``ps``: ``Z`` is a zombie."""
    started: int
    """Its start time in clock ticks since boot. With the pid it names one process for ever: pids are reused."""

    @property
    def alive(self) -> bool:
        """Whether it can still do anything: zombies cannot."""
        return self.state not in "ZX"


def read_process(pid: int) -> ProcessInfo | None:
    """The process with this pid, or ``None``."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return None
    # The second field is the command in parentheses, which may itself contain anything.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return ProcessInfo(
        pid=pid, ppid=int(fields[1]), session=int(fields[3]), state=fields[0].decode(), started=int(fields[19])
    )


def list_processes() -> Iterator[ProcessInfo]:
    """Every process that can be seen, zombies included."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    for name in names:
        if name.isdigit():
            info = read_process(int(name))
            if info is not None:
                yield info


def descendants(root: int, processes: Iterable[ProcessInfo]) -> set[int]:
    """The pids that descend from ``root`` (itself not among them), by who is whose parent now."""
    children: dict[int, list[int]] = {}
    for process in processes:
        children.setdefault(process.ppid, []).append(process.pid)
    found: set[int] = set()
    frontier = [root]
    while frontier:
        for child in children.get(frontier.pop(), ()):
            if child not in found:
                found.add(child)
                frontier.append(child)
    return found


def marked(marker: Mapping[str, str], processes: Iterable[ProcessInfo] | None = None) -> list[ProcessInfo]:
    """The living processes that were started with all of ``marker`` in their environment.

    The environment is the one a process was started with, as the kernel keeps it. Processes of other users
    cannot be looked into, and are left out.
    """
    wanted = {f"{name}={value}".encode() for name, value in marker.items()}
    found = []
    for process in list_processes() if processes is None else processes:
        if not process.alive:
            continue
        try:
            with open(f"/proc/{process.pid}/environ", "rb") as file:
                environ = file.read()
        except OSError:
            continue
        if wanted <= set(environ.split(b"\0")):
            found.append(process)
    return found


def kill_exactly(process: ProcessInfo) -> bool:
    """SIGKILL that very process, not one that was given its pid since. Whether there was one to kill."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        now = read_process(process.pid)  # the pidfd pins the pid: what it is now, it stays
        if now is None or now.started != process.started:
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True
