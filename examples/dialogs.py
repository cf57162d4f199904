"""An extension of Pi asks, and this program answers: some questions by itself, the rest not at all.

With a key in the environment (ANTHROPIC_API_KEY): python examples/dialogs.py
Without any account:                               python -m pi_trio.testing examples/dialogs.py
"""

import tempfile
from pathlib import Path

import trio

from pi_trio import InstanceSpec, open_runtime
from pi_trio.client.dialogs import chain, choose, deny
from pi_trio.protocol import Dialog, DialogAnswer, Input, Notify

EXTENSION = """
export default (pi) => pi.registerCommand("release", {
    description: "Asks before it releases",
    handler: async (_args, ctx) => {
        const where = await ctx.ui.select("Where to?", ["staging", "production"]);
        const version = await ctx.ui.input("Which version?", "1.0.0");
        const sure = await ctx.ui.confirm("Sure?", "There is no way back.");
        ctx.ui.notify(`${version} to ${where}: ${sure ? "released" : "not released"}`);
    },
});
"""


async def answer_version(dialog: Dialog) -> DialogAnswer | None:
    await trio.sleep(0.1)  # a dialog may take its time: nothing else waits for it
    return "2.0.0" if isinstance(dialog, Input) else None


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        extension = Path(folder, "release.js")
        extension.write_text(EXTENSION)
        spec = InstanceSpec(
            provider="anthropic",
            model="claude-sonnet-4-5",
            ephemeral=True,
            extra_args=("-e", str(extension)),
            dialogs=chain(answer_version, choose("staging"), deny),
        )
        async with open_runtime() as runtime:
            pi = await runtime.spawn(spec)
            with pi.client.subscribe() as events:
                await pi.client.prompt("/release")
                async for event in events:
                    print(event)
                    if isinstance(event, Notify):
                        break


trio.run(main)
