"""The name of a run of the runtime, which says whose it is.

Every process of an agent's tree has it in its environment (``PI_TRIO_RUN``). Should a runtime and all its
keepers be killed, whoever finds such a process can tell from the name alone whether its runtime is gone: the
name holds the runtime's pid and start time, which together name a process for ever, and the pid namespace
that this pid belongs to.
"""

from __future__ import annotations

import os
import re
import secrets

import attrs

from .procfs import read_process

__all__ = ["RUN_VARIABLE", "RunOwner", "new_run_id", "owner_of", "pid_namespace"]

RUN_VARIABLE = "PI_TRIO_RUN"
"""The environment variable that carries it."""

# random-pid-ticks-namespace
_RUN_ID = re.compile(r"[0-9a-f]{16}-([1-9][0-9]{0,9})-([0-9]{1,19})-([0-9]{1,19})")


def pid_namespace() -> int:
    """The number of this process's pid namespace; 0 where the system has none."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


@attrs.frozen
class RunOwner:
    """The process whose run it is."""

    pid: int
    started: int
    """In clock ticks since boot; 0 where ``/proc`` does not tell."""
    namespace: int
    """See :func:`pid_namespace`."""

    @staticmethod
    def this_process() -> RunOwner:
        """The calling process."""
        pid = os.getpid()
        info = read_process(pid)
        return RunOwner(pid=pid, started=info.started if info else 0, namespace=pid_namespace())

    def is_dead(self) -> bool:
        """Whether it certainly cannot do anything any more. Of other namespaces nothing is certain."""
        if not self.started or not self.namespace or self.namespace != pid_namespace():
            return False
        started = start_of_living(self.pid)
        return started is None or started != self.started


def start_of_living(pid: int) -> int | None:
    """When the process with this pid started; ``None`` when there is none, or a zombie."""
    info = read_process(pid)
    if info is None:
        return None
    try:
        # A process whose first thread has ended looks like a zombie as long as others run.
        dead = not info.alive and len(os.listdir(f"/proc/{pid}/task")) <= 1
    except FileNotFoundError:
        return None
    return None if dead else info.started


def new_run_id() -> str:
    """A name for a run of this process, such as ``5d41402abc4b2a76-412-83123-4026531836``."""
    owner = RunOwner.this_process()
    return f"{secrets.token_hex(8)}-{owner.pid}-{owner.started}-{owner.namespace}"


def owner_of(run_id: str) -> RunOwner | None:
    """Whose run it is; ``None`` when this is no name made by :func:`new_run_id`."""
    match = _RUN_ID.fullmatch(run_id)
    if match is None:
        return None
    pid, started, namespace = map(int, match.groups())
    return RunOwner(pid=pid, started=started, namespace=namespace)
