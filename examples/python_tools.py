"""Three functions of this program as tools of a Pi: one draws, one fails, one takes for ever and is cancelled.

With a key in the environment (ANTHROPIC_API_KEY): python examples/python_tools.py
Without any account:                               python -m pi_trio.testing examples/python_tools.py
"""

import struct
import zlib
from typing import Literal

import trio

from pi_trio import InstanceSpec, ToolContext, ToolError, ToolImage, open_runtime, tool
from pi_trio.protocol import ToolExecutionEnd, ToolExecutionUpdate

COLOURS = {"red": b"\xff\0\0", "green": b"\0\xff\0", "blue": b"\0\0\xff"}


@tool
async def draw(colour: Literal["red", "green", "blue"], width: int = 8, height: int = 8) -> ToolImage:
    """Draw a rectangle.

    Args:
        colour: what to fill it with.
        width: in pixels.
        height: in pixels.
    """

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    await trio.lowlevel.checkpoint()  # a tool may await whatever it likes
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + COLOURS[colour] * width) * height)
    return ToolImage(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


@tool(timeout=10)
async def weather(city: str, days: int = 1) -> dict[str, str]:
    """The weather of the next days in a city."""
    if city == "Atlantis":
        raise ToolError("There is no weather station in Atlantis: ask for a city above the sea.")
    return {"city": city, "forecast": ", ".join(["sunny"] * days)}


@tool
async def search(query: str, context: ToolContext) -> None:
    """Search an archive that is very large."""
    await context.progress(f"searching for {query!r}")
    try:
        await trio.sleep_forever()
    finally:
        print("search: cancelled, as Pi was told to abort")


async def main() -> None:
    spec = InstanceSpec(
        provider="anthropic",
        model="claude-sonnet-4-5",
        ephemeral=True,
        tools=(),
        python_tools=(draw, weather, search),
    )
    async with open_runtime() as runtime:
        pi = await runtime.spawn(spec)
        async with pi.client.run("Call draw(colour='red', width=4) and weather(city='Atlantis').") as run:
            async for event in run:
                if isinstance(event, ToolExecutionEnd):
                    kinds = [block["type"] for block in event.raw["result"]["content"]]
                    print(f"{event.tool_name}: {'failed' if event.is_error else 'done'}, {', '.join(kinds)}")
        print(run.reply.text)
        async with pi.client.run("Call search(query='nurseries').") as run:
            async for event in run:
                if isinstance(event, ToolExecutionUpdate):
                    print(f"{event.tool_name}: {event.raw['partialResult']['content'][0]['text']}")
                    break  # leaving the run aborts it


trio.run(main)
