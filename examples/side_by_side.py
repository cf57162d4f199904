"""Three Pis at once, each with a question of its own; their words come out as they are spoken.

With a key in the environment (ANTHROPIC_API_KEY): python examples/side_by_side.py
Without any account:                               python -m pi_trio.testing examples/side_by_side.py
"""

import trio

from pi_trio import InstanceSpec, Runtime, open_runtime

QUESTIONS = ("What is a nursery?", "What is a cancel scope?", "What is a memory channel?")


async def ask(runtime: Runtime, question: str) -> None:
    spec = InstanceSpec(provider="anthropic", model="claude-sonnet-4-5", ephemeral=True, tools=())
    pi = await runtime.spawn(spec)
    async with pi.client.run(question) as run:
        async for text in run.text():
            print(f"{pi.id}: {text!r}")
    print(f"{pi.id}: {run.reply.usage.total_tokens} tokens, ${run.reply.usage.cost.total:.4f}")


async def main() -> None:
    async with open_runtime(max_instances=3) as runtime:
        async with trio.open_nursery() as nursery:
            for question in QUESTIONS:
                nursery.start_soon(ask, runtime, question)
        print(runtime.statistics())


trio.run(main)
