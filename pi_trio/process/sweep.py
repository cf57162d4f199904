"""Ends what dead runtimes left behind. Linux only; elsewhere there is nothing to find.

A runtime's keepers see to it that nothing survives the runtime. This is for when runtime, helper and keepers
were all killed: the next runtime to start on this machine finds what is left by its marks.
"""

from __future__ import annotations

import os
import select
import signal
import time

from .procfs import ProcessInfo, descendants, list_processes, open_exactly, read_environ
from .run_id import RUN_VARIABLE, owner_of
from .stamp import read_stamp, stamped_by_the_dead

__all__ = ["proc_is_ours", "sweep_dead_runs"]

# SIGKILL works at once, but for a process in an uninterruptible system call.
_TIMEOUT = 5.0


def sweep_dead_runs() -> tuple[ProcessInfo, ...]:
    """Kill every process of runs whose runtime is dead, and wait (at most 5 s) until they are gone.

    Such a process has the run's name in its environment (``PI_TRIO_RUN``), or the run's stamp
    (:mod:`pi_trio.process.stamp`), or descends from one that has. Left alone are: whatever carries a mark of a
    living runtime, of another pid namespace, or one that cannot be read; what descends from such a process;
    and this process with its ancestors and descendants, whatever marks it carries itself.

    Blocks: call it in a thread where that matters. It is safe to call at any time, by several processes too.

    Returns:
        What was killed, in no particular order.
    """
    if not proc_is_ours():
        return ()
    deadline = time.monotonic() + _TIMEOUT
    killed: list[ProcessInfo] = []
    # Again until nothing is found: what forked meanwhile, and what only now belongs to a dead runtime,
    # because its runtime, nested in the tree of a dead one, was killed a moment ago.
    while time.monotonic() < deadline:
        round_ = _kill(_left_behind(), deadline)
        if not round_:
            break
        killed += round_
    return tuple(killed)


def proc_is_ours() -> bool:
    """Whether ``/proc`` shows the pids that this process's system calls take."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def _left_behind() -> list[ProcessInfo]:
    processes = {process.pid: process for process in list_processes() if process.alive}
    here = os.getpid()
    spared = descendants(here, processes.values()) | {here}
    parent = processes.get(here)
    while parent is not None:
        spared.add(parent.pid)
        parent = processes.get(parent.ppid)
    verdicts = {pid: None if pid in spared else _is_left_behind(pid) for pid in processes}
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.ppid, []).append(process.pid)
    found: set[int] = set()
    frontier = [pid for pid, verdict in verdicts.items() if verdict]
    while frontier:
        pid = frontier.pop()
        if pid not in found and pid not in spared and verdicts[pid] is not False:
            found.add(pid)
            frontier += children.get(pid, ())
    return [processes[pid] for pid in found]


def _is_left_behind(pid: int) -> bool | None:
    """By a dead runtime; ``False``: it is somebody's who may be alive; ``None``: it carries no mark."""
    verdicts = set()
    prefix = f"{RUN_VARIABLE}=".encode()
    for pair in read_environ(pid):
        if pair.startswith(prefix):
            owner = owner_of(pair[len(prefix) :].decode("utf-8", "replace"))
            verdicts.add(owner is not None and owner.is_dead())
    if (stamp := read_stamp(pid)) is not None:
        verdicts.add(stamped_by_the_dead(stamp))
    return all(verdicts) if verdicts else None


def _kill(processes: list[ProcessInfo], deadline: float) -> list[ProcessInfo]:
    """Those of them that could be killed. Waits until they are dead."""
    killed: list[ProcessInfo] = []
    poll = select.poll()
    pidfds: set[int] = set()
    try:
        for process in processes:
            pidfd = open_exactly(process.pid, process.started)
            if pidfd is None:
                continue
            pidfds.add(pidfd)
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            except OSError:  # gone meanwhile, or another user's
                continue
            poll.register(pidfd, select.POLLIN)
            killed.append(process)
        waiting = len(killed)
        while waiting and (left := deadline - time.monotonic()) > 0:
            for pidfd, _ in poll.poll(left * 1000):
                poll.unregister(pidfd)
                waiting -= 1
    finally:
        for pidfd in pidfds:
            os.close(pidfd)
    return killed
