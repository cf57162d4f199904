"""A run that is told something while it goes on, one that is aborted, and one that takes too long.

With a key in the environment (ANTHROPIC_API_KEY): python examples/steering.py
Without any account:                               python -m pi_trio.testing examples/steering.py
"""

import trio

from pi_trio import InstanceSpec, RunTimeout, open_runtime

SPEC = InstanceSpec(provider="anthropic", model="claude-sonnet-4-5", ephemeral=True, tools=())


async def main() -> None:
    async with open_runtime() as runtime:
        client = (await runtime.spawn(SPEC)).client
        async with client.run("Tell me a long story about the mountains.") as run:
            await run.steer("No: about the sea.")
            await run.follow_up("And give it a title.")
            async for text in run.text():
                print(text, end="", flush=True)
        print(f"\n{run.usage.total_tokens} tokens, ${run.usage.cost.total:.4f}")

        async with client.run("Tell me another one.") as run:
            async for _ in run.text():
                await run.abort()
                break
            print((await run.result()).stop_reason)

        try:
            await client.send("And one that never ends.", timeout=0.01)
        except RunTimeout as error:
            print(f"as expected: {error}")


trio.run(main)
