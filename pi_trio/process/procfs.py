"""Which processes there are, read from ``/proc``. Linux only; elsewhere the lists are empty."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Mapping

import attrs

__all__ = [
    "ProcessInfo",
    "descendants",
    "kill_exactly",
    "list_processes",
    "marked",
    "open_exactly",
    "read_environ",
    "read_process",
    "signal_exactly",
]


_PF_EXITING = 0x4


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
    exiting: bool = False
    """Whether its first thread is on its way out. It closes its descriptors before its children get a new parent."""

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
        pid=pid,
        ppid=int(fields[1]),
        session=int(fields[3]),
        state=fields[0].decode(),
        started=int(fields[19]),
        exiting=bool(int(fields[6]) & _PF_EXITING),
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


def read_environ(pid: int) -> frozenset[bytes]:
    """The ``NAME=value`` pairs a process was started with, as the kernel keeps them.

    Empty where it cannot be looked into: a zombie, a process of another user.
    """
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return frozenset(file.read().split(b"\0"))
    except OSError:
        return frozenset()


def marked(marker: Mapping[str, str], processes: Iterable[ProcessInfo] | None = None) -> list[ProcessInfo]:
    """The living processes that were started with all of ``marker`` in their environment (:func:`read_environ`)."""
    wanted = {f"{name}={value}".encode() for name, value in marker.items()}
    return [
        process
        for process in (list_processes() if processes is None else processes)
        if process.alive and wanted <= read_environ(process.pid)
    ]


def open_exactly(pid: int, started: int) -> int | None:
    """A pidfd of the process that has this pid and this start time; ``None`` when it is gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return None
    now = read_process(pid)  # the pidfd pins the pid: what it is now, it stays
    if now is None or now.started != started:
        os.close(pidfd)
        return None
    return pidfd


def signal_exactly(pid: int, started: int, number: int) -> bool:
    """Send a signal to that very process, not to one that was given its pid since. Whether it could be sent."""
    pidfd = open_exactly(pid, started)
    if pidfd is None:
        return False
    try:
        signal.pidfd_send_signal(pidfd, number)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def kill_exactly(process: ProcessInfo) -> bool:
    """SIGKILL to that very process; see :func:`signal_exactly`."""
    return signal_exactly(process.pid, process.started, signal.SIGKILL)
