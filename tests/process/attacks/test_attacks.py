"""Nothing survives: every cell of attacks, against every end, on the real Pi.

Each test is one end. Its victim is a program of its own with one instance for every cell; afterwards no
process may be left that carries the victim's marker, or its token as an argument (what was started with a
wiped environment carries nothing else).
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from pi_trio.launch import PiInstall
from pi_trio.process import list_processes, marked, sweep_dead_runs
from pi_trio.process.procfs import read_process
from pi_trio.testing import open_model_server
from tests.process.attacks.cells import ALL
from tests.support import run

ROOT = Path(__file__).parents[3]

# From the end to the last process gone: the victim's own grace periods, on a machine that is busy. Not a
# measure: it is what the test waits before it says that something is left.
PATIENCE = 20.0


def with_token(token: int) -> list[int]:
    found = []
    for process in list_processes():
        if process.alive:
            try:
                command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            except OSError:
                continue
            if f"{token}.1".encode() in command and process.pid != os.getpid():
                found.append(process.pid)
    return found


@attrs.define
class Victim:
    process: trio.Process
    run_id: str
    token: int
    agents: dict[str, int]

    def left(self) -> list[int]:
        """The pids of what is left of it."""
        return sorted({each.pid for each in marked({"PI_TRIO_RUN": self.run_id})} | set(with_token(self.token)))

    async def assert_nothing_is_left(self) -> None:
        with trio.move_on_after(PATIENCE):
            while self.left():
                await trio.sleep(0.02)
        assert [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in self.left()] == []

    def keepers(self) -> list[int]:
        """The keepers of the agents that are alive."""
        infos = [read_process(pid) for pid in self.agents.values()]
        return [info.ppid for info in infos if info is not None and info.alive]

    def helper(self) -> int:
        """The one process that all keepers descend from."""
        helpers = {info.ppid for keeper in self.keepers() if (info := read_process(keeper)) is not None}
        (helper,) = helpers - {self.process.pid}
        return helper

    async def tell(self, order: str) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(order.encode() + b"\n")

    async def over(self) -> None:
        """It says that it has come to its own end."""
        assert self.process.stdout is not None
        assert (await self.process.stdout.receive_some()).strip() == b"over"


@asynccontextmanager
async def victim(pi: PiInstall, folder: Path) -> AsyncIterator[Victim]:
    token = random.randrange(10**6, 10**7)
    async with open_model_server([]) as model:
        plan = {
            "folder": str(folder),
            "pi": str(pi.path),
            "env": model.configure(folder / "agent"),
            "token": token,
            "cells": [attrs.astuple(cell) for cell in ALL],
        }
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "tests.process.attacks.victim"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            await process.stdin.send_all(json.dumps(plan).encode() + b"\n")
            line = b""
            while not line.endswith(b"\n"):
                data = await process.stdout.receive_some()
                assert data, "the victim died of its own"
                line += data
            started = json.loads(line)
            hurt = Victim(process, started["run"], token, started["agents"])
            assert len(hurt.agents) == len(ALL)
            yield hurt
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


@pytest.mark.parametrize("end", ["leave", "cancel", "raise"])
def test_the_scope_ends(one_pi: PiInstall, tmp_path: Path, end: str) -> None:
    async def main() -> None:
        async with victim(one_pi, tmp_path) as hurt:
            assert hurt.left() != []
            await hurt.tell(end)
            await hurt.over()
            # not "soon": when the scope is over, it is over
            assert hurt.left() == []

    run(main, patience=180)


def test_the_runtime_is_killed(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with victim(pi, tmp_path) as hurt:
            hurt.process.kill()
            await hurt.assert_nothing_is_left()

    run(main, patience=180)


def test_the_keepers_are_killed(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with victim(one_pi, tmp_path) as hurt:
            for keeper in hurt.keepers():
                os.kill(keeper, signal.SIGKILL)
            await hurt.assert_nothing_is_left()
            await hurt.tell("leave")
            await hurt.over()

    run(main, patience=180)


def test_the_runtime_and_the_keepers_are_killed(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with victim(one_pi, tmp_path) as hurt:
            keepers = hurt.keepers()
            hurt.process.kill()
            for keeper in keepers:
                os.kill(keeper, signal.SIGKILL)
            await hurt.assert_nothing_is_left()

    run(main, patience=180)


def test_the_helper_is_killed(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with victim(one_pi, tmp_path) as hurt:
            os.kill(hurt.helper(), signal.SIGKILL)
            await hurt.tell("leave")
            await hurt.over()
            assert hurt.left() == []

    run(main, patience=180)


def test_everybody_is_killed_at_once(one_pi: PiInstall, tmp_path: Path) -> None:
    """Runtime, helper and keepers: nobody is left to clean up, until the next start sweeps."""

    async def main() -> None:
        async with victim(one_pi, tmp_path) as hurt:
            dying = [hurt.process.pid, hurt.helper(), *hurt.keepers()]
            for pid in dying:
                os.kill(pid, signal.SIGKILL)
            await hurt.process.wait()
            await trio.to_thread.run_sync(sweep_dead_runs)
            await hurt.assert_nothing_is_left()

    run(main, patience=180)
