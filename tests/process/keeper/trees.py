"""Process trees of many shapes, and how to look for what is left of them."""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Callable, Collection

from pi_trio.abc import ProcessCommand
from pi_trio.process.procfs import ProcessInfo, list_processes, read_process

PATIENCE = 30.0
"""Seconds after which a test has hung. Nothing is measured with it."""

SHAPES = {
    "alone": "",
    "child": "{sleep} &",
    "setsid": "setsid {sleep} &",
    "nohup": "nohup {sleep} >{null} 2>&1 &",
    "double fork": "( (setsid {sleep} &) & )",
    "wiped": "env -i {setsid} {sleep} &",
    "stopped below": "sh -c 'kill -STOP $$; exec {sleep}' {token} &",
    "deaf below": "( trap '' TERM HUP INT; exec {sleep} ) &",
}
"""What an agent starts before it settles down: shell, by name. All but the first are one more process."""

MANNERS = {
    "lives": "exec {sleep}",
    "deaf": "trap '' TERM; exec {sleep}",
    "stopped": "kill -STOP $$; exec {sleep}",
    "exits": "read line; exit 7",
}
"""What the agent itself does then. The last exits when something is written to its stdin."""


_TOKEN = re.compile(r"(?<![0-9])[0-9]{12}(?![0-9])")


def new_token() -> str:
    """Stands in the command line of each process of one tree, and nowhere else."""
    return str(random.SystemRandom().randrange(10**11, 10**12))


def tree_command(
    token: str, shape: str, manner: str, *, grace: float = 0.2, marker: dict[str, str] | None = None
) -> ProcessCommand:
    """An agent of this shape and manner. It writes a line to stdout when it has started everything."""
    script = "\n".join([SHAPES[shape], "echo ready", MANNERS[manner]]).format(
        sleep=f"{shutil.which('sleep')} 3600.{token}", setsid=shutil.which("setsid"), null=os.devnull, token=token
    )
    return ProcessCommand(
        argv=("sh", "-c", script, token),
        cwd="/",
        env=dict(os.environ),
        marker=marker or {},
        grace_timeout=grace,
    )


def size_of(shape: str, manner: str) -> int:
    """How many processes of such a tree settle down; see :func:`settled`."""
    return (shape != "alone") + (manner != "exits")


def command_line(process: ProcessInfo) -> bytes:
    """The arguments of a process, with NUL between them; empty when it is gone."""
    try:
        with open(f"/proc/{process.pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def with_tokens(tokens: Collection[str]) -> dict[str, list[ProcessInfo]]:
    """The living processes with such a token in their command line, by token."""
    found: dict[str, list[ProcessInfo]] = {token: [] for token in tokens}
    for process in list_processes():
        for token in _TOKEN.findall(command_line(process).decode("utf-8", "replace")) if process.alive else ():
            if token in found and process not in found[token]:
                found[token].append(process)
    return found


def with_token(token: str) -> list[ProcessInfo]:
    """The living processes with this token in their command line."""
    return with_tokens([token])[token]


def settled(processes: Collection[ProcessInfo]) -> int:
    """How many of them have become what they are going to be: a sleep, or stopped.

    Before that, a shell may not be deaf yet, and a process in the middle of an exec has no command line.
    """
    return sum(it.state == "T" or os.path.basename(command_line(it).split(b"\0")[0]) == b"sleep" for it in processes)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    process = read_process(pid)
    return process is not None and process.alive


def wait_for(condition: Callable[[], object]) -> None:
    """Wait, without Trio, for what only other processes do and nothing announces. Fails in the end."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def descriptors() -> set[str]:
    """The descriptors that this process has open."""
    # The last one is that of the listing itself.
    return {fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")}


def threads() -> int:
    """How many threads this process has."""
    return len(os.listdir("/proc/self/task"))


def child_pids() -> set[int]:
    """The children of this process, zombies included."""
    return {process.pid for process in list_processes() if process.ppid == os.getpid()}
