"""A program with a runtime full of Pis under attack; run by the tests as ``python -m tests.process.attacks.victim``.

It reads its plan (JSON, one line) on stdin, starts one instance for every cell, lets each start its tools, hurts
each Pi as its cell says, writes a line with the pids that the test needs, and then ends as it is told on stdin:
``leave``, ``cancel`` or ``raise``. If it is killed instead, so much the better.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from pi_trio import ClientError, Instance, InstanceSpec, RestartType, Runtime, open_runtime
from tests.process.attacks.cells import IGNORE_SIGTERM, TOOLS, Cell, token_of
from tests.support import until, written


async def run_on(instance: Instance, line: str) -> None:
    with suppress(ClientError):
        await instance.client.request("bash", {"command": line}, timeout=None)


async def start(
    runtime: Runtime, plan: dict[str, Any], cell: Cell, into: dict[Cell, Instance], tools: trio.Nursery
) -> None:
    folder = Path(plan["folder"], cell.name)
    folder.mkdir()
    extra: tuple[str, ...] = ()
    if cell.pi == "ignores SIGTERM":
        extension = folder / "ignore.js"
        extension.write_text(IGNORE_SIGTERM)
        extra = ("-e", str(extension))
    spec = InstanceSpec(
        pi=plan["pi"],
        provider="scripted",
        model="scripted-1",
        cwd=folder,
        env=plan["env"],
        ephemeral=True,
        restart=RestartType.TEMPORARY,
        health=None,
        drain_timeout=0.3,
        grace_timeout=0.5,
        start_timeout=60.0,
        extra_args=extra,
    )
    into[cell] = instance = await runtime.spawn(spec, id=cell.name)
    command, waits = TOOLS[cell.tool]
    if command is None:
        return
    line = command.format(token=token_of(plan["token"], cell))
    if waits:  # it goes on; the answer comes when Pi dies, or never
        tools.start_soon(run_on, instance, line)
    else:
        await instance.client.bash(line)
    await until(lambda: written(folder / "tool"))


def hurt(cell: Cell, instance: Instance, stopping: trio.Nursery) -> None:
    pid = instance.pid
    assert pid is not None
    if cell.pi == "SIGKILL":
        os.kill(pid, signal.SIGKILL)
    elif cell.pi in ("SIGSTOP", "SIGSTOP, then stop"):
        os.kill(pid, signal.SIGSTOP)
        if cell.pi == "SIGSTOP, then stop":
            stopping.start_soon(instance.stop)
    elif cell.pi == "plain exit":
        stopping.start_soon(instance.stop)


async def main() -> None:
    plan = json.loads(await trio.to_thread.run_sync(sys.stdin.readline))
    cells = [Cell(*each) for each in plan["cells"]]
    with trio.CancelScope() as scope:
        async with open_runtime(max_instances=len(cells)) as runtime:
            instances: dict[Cell, Instance] = {}
            async with trio.open_nursery() as stopping:
                async with trio.open_nursery() as nursery:
                    for cell in cells:
                        nursery.start_soon(start, runtime, plan, cell, instances, stopping)
                agents = {cell.name: instance.pid for cell, instance in instances.items()}
                for cell, instance in instances.items():
                    hurt(cell, instance, stopping)
                print(json.dumps({"agents": agents, "run": runtime.run_id}), flush=True)
                order = (await trio.to_thread.run_sync(sys.stdin.readline)).strip()
                stopping.cancel_scope.cancel()  # the stops go on; nobody waits for them here
            if order == "cancel":
                scope.cancel()
                await trio.sleep_forever()
            if order == "raise":
                raise ZeroDivisionError
            assert order == "leave", order
    print("over", flush=True)


if __name__ == "__main__":
    try:
        trio.run(main)
    except ZeroDivisionError:
        print("over", flush=True)
