"""What a tree leaves behind when neither its keeper nor the helper is there to end it.

This process is a subreaper while a keeper host is open, so what they leave are its children. But it has other
children, the program's own: only what carries a mark of ours may be touched.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import attrs

from ..procfs import ProcessInfo, descendants, list_processes, marked, open_exactly
from ..stamp import SERIALS, read_stamp
from .control import Identity
from .helper.kernel import is_subreaper, set_subreaper

__all__ = ["Marks", "find_orphans", "reap_exactly", "reaping_orphans"]


@attrs.frozen
class Marks:
    """By what the processes of a tree are recognized when nobody knows them by descent."""

    stamp: int | None
    """What the host stamped its agents with."""
    marker: Mapping[str, str] = attrs.field(factory=dict)
    """Variables in the environment of one instance's processes."""
    agent: Identity | None = None
    """The root of the tree; dead, but perhaps not reaped."""


def find_orphans(marks: Marks, kept: Collection[int]) -> list[ProcessInfo]:
    """The processes with these marks, what descends from them, and those of them that wait for us to reap them."""
    here = os.getpid()
    processes = list(list_processes())
    spared = {here, *kept}
    for pid in kept:
        spared |= descendants(pid, processes)
    processes = [each for each in processes if each.pid not in spared and (each.alive or each.ppid == here)]
    found = {process.pid for process in marked(marks.marker, processes)} if marks.marker else set()
    for process in processes:
        is_agent = Identity(process.pid, process.started) == marks.agent
        if is_agent or (marks.stamp is not None and read_stamp(process.pid) == marks.stamp):
            found.add(process.pid)
    for pid in tuple(found):
        found |= descendants(pid, processes)
    return [process for process in processes if process.pid in found]


def reap_exactly(pid: int, started: int) -> int | None:
    """How that very process ended (negative: by this signal), if it is our child and has. Then it is no more."""
    pidfd = open_exactly(pid, started)
    if pidfd is None:
        return None
    try:
        ended = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
    finally:
        os.close(pidfd)
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


class _OpenHosts:
    """The keeper hosts that are open in this process. They may be in different threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.serials: list[int | None] = []
        self.was_subreaper = False


_open_hosts = _OpenHosts()


@contextmanager
def reaping_orphans() -> Iterator[int | None]:
    """Makes this process a subreaper for as long as one such scope is open; afterwards it is what it was before.

    Yields:
        A number that no other open scope of this process has; ``None`` when all are taken.
    """
    with _open_hosts.lock:
        if not _open_hosts.serials:
            _open_hosts.was_subreaper = is_subreaper()
            set_subreaper(True)
        free = (number for number in range(SERIALS) if number not in _open_hosts.serials)
        serial = next(free, None)
        _open_hosts.serials.append(serial)
    try:
        yield serial
    finally:
        with _open_hosts.lock:
            _open_hosts.serials.remove(serial)
            if not _open_hosts.serials:
                set_subreaper(_open_hosts.was_subreaper)
