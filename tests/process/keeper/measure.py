"""What the keeper host costs, and how fast it is: ``python -m tests.process.keeper.measure``.

Prints the figures of ``docs/process-death.md``. The agents are shells and ``sleep``, so that the time is ours.
"""

from __future__ import annotations

import os
import re
import select
import signal
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from pi_trio.abc import ProcessCommand, ProcessHost
from pi_trio.process import DirectHost
from pi_trio.process.keeper import open_keeper_host
from pi_trio.process.keeper.tree import KeeperTree
from tests.process.keeper.runtime import running
from tests.process.keeper.trees import new_token, wait_for, with_tokens

ROUNDS = 20
SHAPES = ("child", "setsid", "nohup", "double fork", "wiped")
SPAWNS = 100


def wait_for_ends(pids: Sequence[int], pidfds: dict[int, int]) -> float:
    """When the last of them ended."""
    left = {pidfds[pid] for pid in pids}
    poll = select.poll()
    for pidfd in left:
        poll.register(pidfd, select.POLLIN)
    while left:
        for pidfd, _ in poll.poll():
            poll.unregister(pidfd)
            left.discard(pidfd)
    return time.monotonic()


def one_death() -> tuple[float, float]:
    """Seconds from SIGKILL of a runtime to the end of the last process of its trees, and of the last keeper."""
    trees = [(new_token(), shape, "lives") for shape in SHAPES for _ in range(2)]
    tokens = [token for token, _, _ in trees]
    with running(trees) as runtime:
        wait_for(lambda: sum(map(len, with_tokens(tokens).values())) == 2 * len(trees))
        family = [process.pid for processes in with_tokens(tokens).values() for process in processes]
        guardians = [*runtime.keepers, runtime.helper]
        pidfds = {pid: os.pidfd_open(pid) for pid in (*family, *guardians)}
        began = time.monotonic()
        os.kill(runtime.process.pid, signal.SIGKILL)
        ended = wait_for_ends(family, pidfds) - began
        gone = wait_for_ends(guardians, pidfds) - began
        for pidfd in pidfds.values():
            os.close(pidfd)
    return ended, gone


def private_bytes(pid: int) -> int:
    """The memory that would be free if this process were gone."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) * 1024 for size in re.findall(r"^Private_\w+: +(\d+) kB", rollup, re.MULTILINE))


async def spawn_time(host: ProcessHost) -> tuple[float, int]:
    """Seconds to start one agent, and the private memory of its keeper."""
    began = time.perf_counter()
    tree = await host.spawn(ProcessCommand(argv=("/bin/sleep", "3600"), cwd="/", env=dict(os.environ)))
    took = time.perf_counter() - began
    memory = private_bytes(tree._keeper.pid) if isinstance(tree, KeeperTree) else 0
    tree.kill_tree()
    await tree.wait_empty()
    tree.close()
    return took, memory


def show(what: str, values: Sequence[float], unit: str) -> None:
    print(f"{what}: median {statistics.median(values):.1f} {unit}, worst {max(values):.1f} {unit} of {len(values)}")


async def costs() -> None:
    direct, kept, memory = [], [], []
    async with open_keeper_host() as host:
        for _ in range(SPAWNS):  # in turn, so that whatever else the machine does hits both
            direct.append(1000 * (await spawn_time(DirectHost()))[0])
            took, size = await spawn_time(host)
            kept.append(1000 * took)
            memory.append(size / 1e6)
    show("starting sleep, direct host", direct, "ms")
    show("starting sleep, keeper host", kept, "ms")
    show("private memory of a keeper", memory, "MB")


def main() -> None:
    deaths = [one_death() for _ in range(ROUNDS)]
    count = 2 * len(SHAPES)
    show(f"SIGKILL of the runtime to the last process of {count} trees", [1000 * ended for ended, _ in deaths], "ms")
    show("SIGKILL of the runtime to the last keeper, and the helper", [1000 * gone for _, gone in deaths], "ms")
    trio.run(costs)


if __name__ == "__main__":
    main()
