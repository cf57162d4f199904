"""Attacks on one real Pi each."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import attrs
import trio

from pi_trio import ClientError, InstanceState, open_runtime
from pi_trio.launch import PiInstall
from pi_trio.process import marked
from pi_trio.testing import open_model_server
from tests.process.attacks.test_attacks import ROOT, with_token
from tests.support import left_of, run, scripted, until, written

# Forks until 200 of it are there, each with a session of its own, and none of them ever ends.
FORK_BOMB = """
import os, time
for _ in range(200):
    if os.fork() == 0:
        os.setsid()
        time.sleep(1000)
open("tool", "w").write("here\\n")
time.sleep(1000)
"""


async def in_background(command: str, request: object) -> None:
    """Run a shell command that goes on until its Pi is gone."""
    try:
        await request("bash", {"command": command}, timeout=None)  # type: ignore[operator]
    except ClientError:
        pass


def test_a_fork_bomb(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            instance = await world.spawn()
            bomb = world.folder / "bomb.py"
            bomb.write_text(FORK_BOMB)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(in_background, f"env -i {sys.executable} {bomb}", instance.client.request)
                await until(lambda: written(world.folder / "tool"))
                bombs = [process for process in list_commands() if str(bomb) in process]
                assert len(bombs) > 200
                await instance.stop(force=True)
            assert [process for process in list_commands() if str(bomb) in process] == []

    run(main)


def list_commands() -> list[str]:
    """The command lines of all processes."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
            except OSError:
                continue
    return found


def test_a_runtime_nested_in_a_tool_of_a_pi(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            instance = await world.spawn()
            inner = {
                **{name: world.base.env[name] for name in ("PI_CODING_AGENT_DIR",)},
                "PYTHONPATH": str(ROOT),
            }
            spec = {
                "pi": str(one_pi.path),
                "provider": "scripted",
                "model": "scripted-1",
                "ephemeral": True,
                "grace_timeout": 0.5,
                "done": str(world.folder / "inner"),
            }
            variables = " ".join(f"{name}={shlex.quote(str(value))}" for name, value in inner.items())
            command = f"{variables} {sys.executable} -m tests.process.attacks.nested {shlex.quote(json.dumps(spec))}"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(in_background, command, instance.client.request)
                await until(lambda: written(world.folder / "inner"))
                nested_pi = int((world.folder / "inner").read_text())
                nested_run = dict(
                    pair.split("=", 1)
                    for pair in Path(f"/proc/{nested_pi}/environ").read_text().split("\0")
                    if pair.startswith("PI_TRIO_RUN=")
                )["PI_TRIO_RUN"]
                assert nested_run != world.runtime.run_id
                await instance.stop()
            assert marked({"PI_TRIO_RUN": nested_run}) == []

    run(main)


HOLDER = """
import os, signal, sys, json
import trio
from pi_trio import InstanceSpec, open_runtime

async def main():
    fields = json.loads(sys.argv[1])
    async with open_runtime() as runtime:
        instance = await runtime.spawn(InstanceSpec(**fields))
        holder = os.fork()  # inherits every descriptor: pipes, control sockets, the helper's socket
        if holder == 0:
            signal.pause()
        print(json.dumps({"run": runtime.run_id, "holder": holder}), flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def test_a_forked_child_of_the_program_that_holds_every_descriptor(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_model_server([]) as model:
            spec = {
                "pi": str(one_pi.path),
                "provider": "scripted",
                "model": "scripted-1",
                "ephemeral": True,
                "cwd": str(tmp_path),
                "env": model.configure(tmp_path / "agent"),
            }
            process = await trio.lowlevel.open_process(
                [sys.executable, "-c", HOLDER, json.dumps(spec)], stdout=subprocess.PIPE, cwd=ROOT
            )
            assert process.stdout is not None
            started = json.loads(await process.stdout.receive_some())
            try:
                assert len(marked({"PI_TRIO_RUN": started["run"]})) == 1
                process.kill()
                await process.wait()
                await until(lambda: marked({"PI_TRIO_RUN": started["run"]}) == [])
                assert Path(f"/proc/{started['holder']}").exists()  # it still holds them all
            finally:
                os.kill(started["holder"], signal.SIGKILL)

    run(main)


def test_fifty_cancellations_while_it_starts(one_pi: PiInstall, tmp_path: Path) -> None:
    moments = random.Random(50)

    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            cancelled = 0

            async def start(after: float) -> None:
                nonlocal cancelled
                with trio.move_on_after(after) as scope:
                    await world.spawn()
                cancelled += scope.cancelled_caught

            for _ in range(10):
                async with trio.open_nursery() as nursery:
                    for _ in range(5):
                        nursery.start_soon(start, moments.random() * 0.6)
                alive = [each for each in world.runtime.list() if each.state is InstanceState.RUNNING]
                assert len(left_of(world.runtime)) == len(alive)
                for instance in alive:
                    await instance.stop(force=True)
            assert cancelled > 10

    run(main, patience=180)


def test_descriptors_threads_and_children_are_back_at_their_baseline(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_model_server([]) as model:
            env = model.configure(tmp_path / "agent")

            async def life() -> None:
                async with scripted(one_pi, tmp_path, []) as world, open_runtime() as runtime:
                    spec = attrs.evolve(world.base, env=env)
                    async with trio.open_nursery() as nursery:
                        for _ in range(4):
                            nursery.start_soon(runtime.spawn, spec)
                    first, second, *_ = runtime.list()
                    assert first.pid is not None
                    os.kill(first.pid, signal.SIGKILL)
                    await second.stop()

            await life()  # what is made once, and stays: Trio's own descriptors, its thread cache
            before = baseline()
            for _ in range(3):
                await life()
            after = baseline()
            assert (after.descriptors, after.children) == (before.descriptors, before.children)
            assert after.threads <= before.threads  # Trio lets idle ones go after ten seconds

    run(main)


@attrs.frozen
class Baseline:
    descriptors: int
    children: int
    threads: int


def baseline() -> Baseline:
    children = sum(len((task / "children").read_text().split()) for task in Path("/proc/self/task").iterdir())
    return Baseline(len(os.listdir("/proc/self/fd")), children, threading.active_count())


def test_that_the_suite_can_fail(one_pi: PiInstall, tmp_path: Path) -> None:
    """A process with the token, and nothing of ours around it, is found."""
    sleeper = subprocess.Popen(["sleep", "7654321.1000"])
    try:
        assert with_token(7654321) == [sleeper.pid]
    finally:
        sleeper.kill()
        sleeper.wait()
    assert with_token(7654321) == []
