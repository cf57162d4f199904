"""Endpoints of real Pis."""

from __future__ import annotations

import stat
from pathlib import Path

from pi_trio.launch import PiInstall
from pi_trio.testing import Turn
from tests.endpoint.world import connect
from tests.support import run, scripted


def test_a_prompt_over_the_endpoint(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [Turn(["Hel", "lo"])]) as world:
            instance = await world.runtime.spawn(world.spec(), endpoint=True)
            assert instance.endpoint is not None
            token_file = world.runtime.endpoints.token_file
            assert token_file is not None
            assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
            token = token_file.read_text().strip()
            async with connect(instance.endpoint.url, token) as peer:
                await peer.send({"id": "1", "type": "prompt", "message": "hi"})
                text, kinds = "", []
                while "agent_settled" not in kinds:
                    record = await peer.receive()
                    kinds.append(record["type"])
                    if record["type"] == "message_update":
                        text += record["assistantMessageEvent"].get("delta", "")
                assert text == "Hello"
                assert kinds.count("response") == 1
                port = instance.endpoint.port
                await instance.stop()
                assert (await peer.closed())[0] == 1001
            again = await world.runtime.spawn(world.spec(), endpoint=port)
            assert again.endpoint is not None
            assert again.endpoint.port == port
        assert not token_file.exists()

    run(main)
