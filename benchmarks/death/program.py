"""A program with one Pi, whose tool runs a long sleep; each way to start a Pi from Python that is compared.

Run as ``python -m benchmarks.death.program WAY PLAN``; prints the Pi's pid when the tool runs, then waits to be
killed.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from pi_trio import ClientError, Instance, InstanceSpec, RestartType, open_runtime
from pi_trio.process import DirectHost, open_keeper_host

READ_TOGETHER = 1 << 16


def bash(command: str) -> bytes:
    """Pi's ``bash`` command, as it goes over the wire."""
    return json.dumps({"id": "1", "type": "bash", "command": command}).encode() + b"\n"


def running(plan: dict[str, Any], pid: int | None) -> None:
    """Say so when the tool runs."""
    while not Path(plan["tool"]).exists():
        time.sleep(0.01)
    print(pid, flush=True)


def with_popen(plan: dict[str, Any]) -> None:
    process = subprocess.Popen(
        plan["argv"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=plan["env"], start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(bash(plan["command"]))
    process.stdin.flush()
    running(plan, process.pid)
    while process.stdout.readline():
        pass
    time.sleep(1000)


async def with_asyncio(plan: dict[str, Any]) -> None:
    process = await asyncio.create_subprocess_exec(
        *plan["argv"], stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=plan["env"]
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(bash(plan["command"]))
    await process.stdin.drain()
    await asyncio.to_thread(running, plan, process.pid)
    while await process.stdout.read(READ_TOGETHER):
        pass
    await asyncio.sleep(1000)


async def with_trio(plan: dict[str, Any]) -> None:
    process = await trio.lowlevel.open_process(
        plan["argv"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=plan["env"]
    )
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.send_all(bash(plan["command"]))
    await trio.to_thread.run_sync(running, plan, process.pid)
    while await process.stdout.receive_some():
        pass
    await trio.sleep(1000)


async def use(instance: Instance, plan: dict[str, Any]) -> None:
    async def tool() -> None:
        with suppress(ClientError):
            await instance.client.bash(plan["command"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tool)
        await trio.to_thread.run_sync(running, plan, instance.pid)
        await trio.sleep(1000)


async def with_ours(plan: dict[str, Any], *, keeper: bool) -> None:
    spec = InstanceSpec(pi=plan["pi"], cwd=plan["cwd"], env=plan["env"], ephemeral=True, restart=RestartType.TEMPORARY)
    if not keeper:
        async with open_runtime(host=DirectHost()) as runtime:
            await use(await runtime.spawn(spec), plan)
    async with open_keeper_host() as host, open_runtime(host=host) as runtime:
        await use(await runtime.spawn(spec), plan)


def main() -> None:
    way, plan = sys.argv[1], json.loads(sys.argv[2])
    if way == "popen":
        with_popen(plan)
    elif way == "asyncio":
        asyncio.run(with_asyncio(plan))
    elif way == "trio":
        trio.run(with_trio, plan)
    else:
        trio.run(lambda: with_ours(plan, keeper=way == "keeper"))


if __name__ == "__main__":
    main()
