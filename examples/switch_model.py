"""One conversation, several models: the second answers what the first was told.

With ANTHROPIC_API_KEY and OPENAI_API_KEY in the environment: python examples/switch_model.py
Without any account:                                          python -m pi_trio.testing examples/switch_model.py
"""

import trio

from pi_trio import InstanceSpec, PiClient, ProviderUnavailable, open_runtime


async def ask(client: PiClient, question: str) -> None:
    reply = await client.send(question)
    status = await client.status()
    assert status.model is not None
    print(f"{status.model.provider}/{status.model.id}: {reply.text}")
    print(f"  {status.tokens} tokens, ${status.cost:.4f} so far")


async def main() -> None:
    spec = InstanceSpec(provider="anthropic", model="claude-sonnet-4-5", ephemeral=True, tools=())
    async with open_runtime() as runtime:
        client = (await runtime.spawn(spec)).client
        await ask(client, "Think of a number.")
        await client.set_model("anthropic", "claude-haiku-4-5")
        await ask(client, "Double it.")
        await client.switch_provider("openai", "gpt-5.1")
        await ask(client, "Which number was it?")
        try:
            await client.switch_provider("nobody")
        except ProviderUnavailable as error:
            print(f"as expected: {type(error).__name__}: {error}"[:100])


trio.run(main)
