"""Two ways through one conversation: go back, try something else, and return to the first.

With a key in the environment (ANTHROPIC_API_KEY): python examples/branches.py
Without any account:                               python -m pi_trio.testing examples/branches.py
"""

import trio

from pi_trio import InstanceSpec, open_runtime

SPEC = InstanceSpec(provider="anthropic", model="claude-sonnet-4-5", ephemeral=True, tools=(), branching=True)


async def main() -> None:
    async with open_runtime() as runtime:
        client = (await runtime.spawn(SPEC)).client
        await client.send("Name a colour.")
        fork = (await client.get_entries()).leaf_id
        print((await client.send("Say it in French.")).text)
        await client.branches.rename("french")

        await client.branches.create(fork, name="latin")
        print((await client.send("Say it in Latin.")).text)

        await client.branches.switch("french")
        print((await client.send("And what did I ask you last?")).text)
        for branch in await client.branches.list():
            print(branch.name, len(branch.entries), "entries", "<- here" if branch.active else "")


trio.run(main)
