"""A history that has become long is replaced by a summary, and the conversation goes on.

With a key in the environment (ANTHROPIC_API_KEY): python examples/compaction.py
Without any account:                               python -m pi_trio.testing examples/compaction.py
"""

import trio

from pi_trio import InstanceSpec, open_runtime

SPEC = InstanceSpec(provider="anthropic", model="claude-sonnet-4-5", ephemeral=True, tools=())

A_LONG_TEXT = "All work and no play makes Jack a dull boy. " * 1200


async def main() -> None:
    async with open_runtime() as runtime:
        client = (await runtime.spawn(SPEC)).client
        for chapter in (1, 2, 3):
            await client.send(f"Chapter {chapter}. {A_LONG_TEXT} Just say: read.")
        result = await client.compact("Keep what is said about Jack.")
        print(f"{result.tokens_before} tokens before, about {result.estimated_tokens_after} after")
        print((await client.send("Who was it about?")).text)


trio.run(main)
