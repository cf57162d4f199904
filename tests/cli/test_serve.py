"""``pitrio serve`` as a person runs it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from pathlib import Path

import pytest
import trio

from pi_trio.launch import PiInstall
from pi_trio.process import marked
from pi_trio.testing import Turn
from tests.cli.test_cli import MODEL, PITRIO, terminal
from tests.endpoint.world import connect
from tests.support import run


async def line_of(process: trio.Process) -> bytes:
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        line += await process.stdout.receive_some(4096)
    return line


def test_two_instances_until_an_interrupt(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with terminal(one_pi, tmp_path, lambda _: Turn("Hello")) as here, trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                lambda task_status: trio.run_process(
                    [*PITRIO, "serve", "-n", "2", "--json", *MODEL],
                    stdout=subprocess.PIPE,
                    stdin=b"",
                    check=False,
                    env=here.env,
                    cwd=here.cwd,
                    task_status=task_status,
                )
            )
            told = json.loads(await line_of(process))
            token_file = Path(told["token_file"])
            token = token_file.read_text().strip()
            assert len({each["url"] for each in told["instances"]}) == 2
            for each in told["instances"]:
                async with connect(each["url"], token) as peer:
                    await peer.send({"id": 1, "type": "prompt", "message": "hi"})
                    kinds = []
                    while "agent_settled" not in kinds:
                        kinds.append((await peer.receive())["type"])
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
            assert not token_file.exists()
            assert marked(here.mark) == []

    run(main)


def test_the_table_where_there_is_no_terminal(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with terminal(one_pi, tmp_path, []) as here, trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                lambda task_status: trio.run_process(
                    [*PITRIO, "serve", *MODEL],
                    stdout=subprocess.PIPE,
                    stdin=b"",
                    check=False,
                    env={**here.env, "COLUMNS": "200"},
                    cwd=here.cwd,
                    task_status=task_status,
                )
            )
            assert process.stdout is not None
            printed = b""
            while b"scripted-1" not in printed:
                printed += await process.stdout.receive_some(4096)
            assert b"ws://127.0.0.1:" in printed
            assert b"running" in printed
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 143

    run(main)


def test_the_table_on_a_terminal_lives(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        ours, theirs = pty.openpty()
        try:
            async with terminal(one_pi, tmp_path, []) as here, trio.open_nursery() as nursery:
                token_file = tmp_path / "token"
                process: trio.Process = await nursery.start(
                    lambda task_status: trio.run_process(
                        [*PITRIO, "serve", "--token-file", str(token_file), *MODEL],
                        stdin=theirs,
                        stdout=theirs,
                        stderr=theirs,
                        check=False,
                        env={**here.env, "COLUMNS": "200", "TERM": "xterm"},
                        cwd=here.cwd,
                        task_status=task_status,
                    )
                )

                async def shown_until(pattern: str) -> re.Match[str]:
                    """Read what is drawn from now on, without its colours, until this is in it."""
                    drawn = b""
                    while True:
                        await trio.lowlevel.wait_readable(ours)
                        drawn += os.read(ours, 65536)
                        found = re.search(
                            pattern, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode("utf-8", "ignore"))
                        )
                        if found is not None:
                            return found

                url = (await shown_until(r"(ws://127\.0\.0\.1:\d+)\s+running .*scripted-1\s+\d+\s+0\s"))[1]
                await shown_until("Ctrl-C ends it")
                async with connect(url, token_file.read_text().strip()):
                    await shown_until(r"scripted-1\s+\d+\s+1\s")  # the peer is there
                await shown_until(r"scripted-1\s+\d+\s+0\s")  # and gone
                process.send_signal(signal.SIGINT)
                assert await process.wait() == 130
                assert not token_file.exists()
                assert marked(here.mark) == []
        finally:
            os.close(ours)
            os.close(theirs)

    run(main)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--max-port", "9000"), "--max-port needs --base-port"),
        (("--base-port", "9000", "--max-port", "8000"), "below"),
        (("--allow-origin", "null"), "an origin looks like"),
        (("-n", "0"), "is not in the range"),
    ],
)
def test_a_mistake_gets_a_clear_line(one_pi: PiInstall, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    async def main() -> None:
        async with terminal(one_pi, tmp_path, []) as here:
            done = await here.pitrio("serve", *arguments)
            assert done.returncode == 2
            assert said in done.stderr.decode()

    run(main)
