"""A program that uses the keeper host, to be killed: ``python -m tests.process.keeper.runtime``.

Reads what to start from stdin, as JSON: ``{"trees": [[token, shape, manner], ...], "fork": false, "leave":
false}``. Writes the pids of its helper and its keepers, and of a child that it forked (if asked to), to stdout
when all of it runs. Then it lives on, or leaves the host's scope at once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from pi_trio.process.keeper import open_keeper_host
from pi_trio.process.keeper.tree import KeeperTree
from pi_trio.process.run_id import new_run_id
from tests.process.keeper.trees import tree_command

ROOT = Path(__file__).parents[3]


@attrs.frozen
class Running:
    """The program, running."""

    process: subprocess.Popen[bytes]
    helper: int
    keepers: tuple[int, ...]
    forked: int | None


@contextmanager
def running(trees: Sequence[tuple[str, str, str]], *, fork: bool = False, leave: bool = False) -> Iterator[Running]:
    """Run it with these trees. Behind it, it is dead; of its trees that is not said."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False
    )
    assert process.stdin is not None
    assert process.stdout is not None
    forked = None
    try:
        process.stdin.write(json.dumps({"trees": trees, "fork": fork, "leave": leave}).encode())
        process.stdin.close()
        said = json.loads(process.stdout.readline())
        forked = said["forked"]
        yield Running(process, said["helper"], tuple(said["keepers"]), forked)
    finally:
        process.kill()
        process.wait()
        if forked is not None:
            os.kill(forked, signal.SIGKILL)  # it never exits by itself, so this is its number
        process.stdout.close()


async def main(wanted: dict[str, Any]) -> None:
    """Start everything, say so, and live on."""
    run_id = new_run_id()
    trees = []
    async with open_keeper_host() as host:
        for token, shape, manner in wanted["trees"]:
            marker = {"PI_TRIO_RUN": run_id, "PI_TRIO_INSTANCE": token}
            tree = await host.spawn(tree_command(token, shape, manner, marker=marker))
            assert isinstance(tree, KeeperTree)
            assert await tree.stdout.receive_some() == b"ready\n"
            trees.append(tree)
        forked = os.fork() if wanted["fork"] else None
        if forked == 0:  # holds every descriptor of this program, for ever
            while True:
                signal.pause()
        assert host._helper is not None
        said = {"helper": host._helper.pid, "keepers": [tree._keeper.pid for tree in trees], "forked": forked}
        os.write(1, json.dumps(said).encode() + b"\n")
        if not wanted["leave"]:
            await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, json.load(sys.stdin))
