"""A program that owns Pis which ignore SIGTERM; run by the interrupt tests. The arguments are a JSON plan."""

from __future__ import annotations

import json
import sys
from typing import Any

import trio

import pi_trio
from pi_trio import InstanceSpec, open_runtime
from tests.process.attacks.cells import IGNORE_SIGTERM


async def main(plan: dict[str, Any]) -> None:
    extension = f"{plan['folder']}/ignore.js"
    await trio.Path(extension).write_text(IGNORE_SIGTERM)
    spec = InstanceSpec(
        pi=plan["pi"],
        provider="scripted",
        model="scripted-1",
        cwd=plan["folder"],
        env=plan["env"],
        ephemeral=True,
        extra_args=("-e", extension),
        grace_timeout=plan["grace"],
    )
    async with open_runtime() as runtime:
        await runtime.spawn(spec)
        print(runtime.run_id, flush=True)
        try:
            await trio.sleep_forever()
        finally:
            print("cancelled", flush=True)


if __name__ == "__main__":
    (trio.run if sys.argv[2:] == ["plain"] else pi_trio.run)(main, json.loads(sys.argv[1]))
