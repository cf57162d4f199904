"""What the helper and the keepers ask of the kernel, in small."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable, Container

TYPE_CHECKING = False
if TYPE_CHECKING:  # not imported: each module costs every keeper memory
    from typing import Any

__all__ = [
    "STAMP_LIMIT",
    "Wakeups",
    "children",
    "is_subreaper",
    "kill_descendants",
    "name_this_process",
    "set_death_signal",
    "set_subreaper",
    "started",
]

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37

STAMP_LIMIT = 10
"""RLIMIT_LOCKS, a resource limit without effect since Linux 2.4.25. See :mod:`pi_trio.process.stamp`."""


@functools.cache
def _ctypes() -> tuple[Any, Any]:
    """The module and the C library. Importing it takes a while: only who calls ``prctl`` pays."""
    import ctypes

    return ctypes, ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: object) -> None:
    ctypes, libc = _ctypes()
    zero = ctypes.c_ulong(0)
    if libc.prctl(ctypes.c_int(option), argument, zero, zero, zero) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def set_subreaper(on: bool) -> None:
    """Whether processes whose parent dies become children of this one, instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, _ctypes()[0].c_ulong(int(on)))


def is_subreaper() -> bool:
    """Whether they do."""
    ctypes = _ctypes()[0]
    value = ctypes.c_int(0)
    _prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(value))
    return bool(value.value)


def set_death_signal(number: int) -> None:
    """Have the kernel send this signal when the *thread* that forked this process ends."""
    _prctl(_PR_SET_PDEATHSIG, _ctypes()[0].c_ulong(number))


def name_this_process(name: str) -> None:
    """The name that ``ps`` and ``top`` show; 15 bytes at most."""
    _prctl(_PR_SET_NAME, name.encode())


def _read(path: str) -> bytes:
    """A file of ``/proc``."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def _stat(pid: int) -> list[bytes]:
    """The fields of ``/proc/pid/stat`` behind the command, which may contain anything. Empty: no such process."""
    try:
        stat = _read(f"/proc/{pid}/stat")
    except OSError:
        return []
    return stat[stat.rindex(b")") + 2 :].split()


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def started(pid: int) -> int:
    """When this process started, in clock ticks since boot."""
    return int(_stat(pid)[19])


def children(pid: int) -> list[int]:
    """The children of a process, zombies included.

    The kernel may leave some out when another of them is reaped meanwhile: look again until all is quiet.
    """
    return _look()(pid)


def _look() -> Callable[[int], list[int]]:
    """Who is whose child: read where it is asked for, or, without CONFIG_PROC_CHILDREN, all of ``/proc`` once."""
    if _has_children_files():
        return _read_children
    table: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            table.setdefault(_parent(int(name)), []).append(int(name))
    return lambda pid: table.get(pid, [])


@functools.cache
def _has_children_files() -> bool:
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def _read_children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    except OSError:
        pass  # the process, or one of its threads, is gone: what it had is somebody else's now
    return found


def kill_descendants(spare: Container[int] = ()) -> None:
    """SIGKILL to every process that descends from this one, once, as far as it can be seen now.

    This process must be a subreaper: then whoever descends from it does so for ever, and repeating this
    until there are no children left finds everybody, whatever they fork meanwhile. Nothing is stopped
    first: the kernel sends SIGHUP to an orphaned group with a stopped member.

    Args:
        spare: children of this process that are left alone, with all that descends from them.
    """
    me = os.getpid()
    family = {me}
    frontier = [me]
    children_of = _look()
    while frontier:
        for pid in children_of(frontier.pop()):
            if pid not in family and pid not in spare:
                family.add(pid)
                frontier.append(pid)
    for pid in family - {me}:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            # Pinned now. It may be a stranger that was given the number since: then its parent is none of us.
            if _parent(pid) in family:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except OSError:
            pass  # gone, or not ours to kill: a setuid program
        finally:
            os.close(pidfd)


class Wakeups:
    """Makes SIGCHLD readable: a descriptor for ``poll``."""

    def __init__(self) -> None:
        self.fd, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def drain(self) -> None:
        """Take note: from here on, the next SIGCHLD makes it readable again."""
        try:
            while os.read(self.fd, 4096):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Give the descriptors back. The one that replaces it must be there already."""
        os.close(self.fd)
        os.close(self._writer)
