"""A program with a runtime and one Pi, to be run by a tool of another Pi. Its one argument is the spec, as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import trio

from pi_trio import InstanceSpec, open_runtime


async def main() -> None:
    fields = json.loads(sys.argv[1])
    done = fields.pop("done")
    async with open_runtime() as runtime:
        instance = await runtime.spawn(InstanceSpec(**fields))
        Path(done).write_text(f"{instance.pid}\n")
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main)
