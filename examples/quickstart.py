"""One Pi, one run, one more question.

With a key in the environment (ANTHROPIC_API_KEY): python examples/quickstart.py
Without any account:                               python -m pi_trio.testing examples/quickstart.py
"""

import trio

from pi_trio import InstanceSpec, open_runtime


async def main() -> None:
    async with open_runtime() as runtime:
        pi = await runtime.spawn(InstanceSpec(provider="anthropic", model="claude-sonnet-4-5", cwd="."))
        async with pi.client.run("Which files are here?") as run:
            async for event in run:
                print(event)
        reply = await pi.client.send("And in one sentence?")
        print(reply.text, reply.usage.cost)


trio.run(main)
