"""What happens to instances, as it happens: one that lives, one that is killed, one that never gets ready.

With a key in the environment (ANTHROPIC_API_KEY): python examples/watch.py
Without any account:                               python -m pi_trio.testing examples/watch.py
"""

import trio

from pi_trio import InstanceSpec, ProcessExited, Runtime, SpawnError, open_runtime

SPEC = InstanceSpec(provider="anthropic", model="claude-sonnet-4-5", ephemeral=True)


async def watch(runtime: Runtime, *, task_status: trio.TaskStatus[None]) -> None:
    with runtime.events() as events:
        task_status.started()
        async for event in events:
            print(event)


async def main() -> None:
    async with trio.open_nursery() as nursery, open_runtime() as runtime:
        await nursery.start(watch, runtime)
        await runtime.spawn(SPEC, id="lives")
        unlucky = await runtime.spawn(SPEC, id="unlucky")
        await runtime.kill("unlucky", force=True)
        print(unlucky, unlucky.exit_status)
        try:
            await runtime.spawn(InstanceSpec(provider="nobody", model="none"), id="wrong")
        except SpawnError as error:
            print(f"as expected: {error}")
        try:
            await runtime.exec("lives", "kill -9 $PPID")
        except ProcessExited as error:
            print(f"as expected: {error}")


trio.run(main)
