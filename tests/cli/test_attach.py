"""``pitrio attach``: programs that drive a Pi drive one that runs already."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
import trio

from pi_trio import Instance
from pi_trio.launch import PiInstall, find_node
from pi_trio.process import free_port
from pi_trio.testing import ModelRequest, Turn
from tests.client.memory import WebSocketPi
from tests.support import run, scripted, served

HERE = Path(__file__).parent
Reach: TypeAlias = Callable[[PiInstall, Path], AbstractAsyncContextManager[tuple[Instance, str, str]]]
ATTACH = (sys.executable, "-m", "pi_trio", "attach")


def hello(request: ModelRequest) -> Turn:
    return Turn(["hello ", "yourself"])


@asynccontextmanager
async def running(pi: PiInstall, folder: Path) -> AsyncIterator[tuple[Instance, str]]:
    """A supervised Pi, and where it serves by itself."""
    async with scripted(served(pi), folder, hello) as world:
        port = free_port()
        yield await world.spawn(port=port), f"ws://127.0.0.1:{port}"


@asynccontextmanager
async def at_endpoint(pi: PiInstall, folder: Path) -> AsyncIterator[tuple[Instance, str, str]]:
    """A supervised Pi, where its endpoint is, and the token for it."""
    async with scripted(pi, folder, hello) as world:
        instance = await world.runtime.spawn(world.spec(), endpoint=True)
        assert instance.endpoint is not None
        yield instance, instance.endpoint.url, world.runtime.endpoints.token


@asynccontextmanager
async def by_itself(pi: PiInstall, folder: Path) -> AsyncIterator[tuple[Instance, str, str]]:
    """As :func:`running`, where no token is asked for."""
    async with running(pi, folder) as (instance, url):
        yield instance, url, "none is asked for"


async def attach(*args: str, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    return await trio.run_process(
        [*ATTACH, *args],
        stdin=stdin,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent), **env},
    )


def package_of(pi: PiInstall) -> Path:
    """The folder of Pi's package."""
    return next(folder for folder in pi.path.parents if (folder / "package.json").is_file())


@pytest.mark.parametrize("reach", [by_itself, at_endpoint])
def test_pis_own_client_drives_it_unchanged(pi: PiInstall, tmp_path: Path, reach: Reach) -> None:
    async def main() -> None:
        node = await find_node()
        async with reach(pi, tmp_path) as (instance, url, token):
            done = await trio.run_process(
                [str(node.path), str(HERE / "rpc_client.mjs"), str(package_of(pi)), str(HERE / "attach.cjs")],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env={
                    **os.environ,
                    "PATH": f"{node.path.parent}{os.pathsep}{os.environ['PATH']}",
                    "PYTHONPATH": str(HERE.parent.parent),
                    "ATTACH_PYTHON": sys.executable,
                    "ATTACH_URL": url,
                    "PI_TRIO_TOKEN": token,
                },
            )
            assert done.returncode == 0, done.stderr.decode()
            said = json.loads(done.stdout.splitlines()[-1])
            assert said["session"] == (await instance.client.get_state()).session_id
            assert (said["text"], said["bash"], said["stats"]) == ("hello yourself", "42", True)
            assert said["types"]["message_update"] >= 2
            assert said["events"] > 4
            assert "nobody" in said["refused"]
            assert "--no-session" in done.stderr.decode()
            # What was said through it is in the session of the Pi that goes on.
            assert await instance.client.get_last_assistant_text() == "hello yourself"

    run(main)


def test_commands_on_stdin_are_answered_before_it_ends(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with running(pi, tmp_path) as (_, url):
            asked = b'{"type":"get_state","id":"a"}\n\nno record\n{"type":"get_messages","id":"b"}'
            done = await attach(url, "--mode", "rpc", "-e", "x.js", stdin=asked)
            assert done.returncode == 0, done.stderr.decode()
            records = [json.loads(line) for line in done.stdout.splitlines()]
            responses = [record for record in records if record["type"] == "response"]
            assert {record.get("id") for record in responses} >= {"a", "b"}
            assert any(record["command"] == "parse" for record in responses)
            assert done.stderr.decode().splitlines() == ["pitrio: a Pi that runs already cannot be told: -e x.js"]
            file = tmp_path / "asked"
            file.write_text('{"type":"get_state","id":"c"}\n')
            with file.open("rb") as stdin:
                again = await trio.run_process([*ATTACH, url], stdin=stdin, capture_stdout=True)
            assert '"id":"c"' in again.stdout.decode()

    run(main)


def test_a_model_that_it_is_started_with(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with running(one_pi, tmp_path) as (_, url):
            asked = b'{"type":"get_state","id":"a"}\n'
            done = await attach(url, "--provider", "scripted", "--model", "scripted-1", stdin=asked)
            assert done.returncode == 0, done.stderr.decode()
            assert b"pitrio-attach" not in done.stdout
            refused = await attach(url, "--provider", "scripted", "--model", "none", stdin=asked)
            assert refused.returncode == 1
            assert refused.stderr.startswith(b"pitrio: Pi refused the model: ")

    run(main)


def test_a_pi_that_goes_and_a_pi_that_is_not_there(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with running(one_pi, tmp_path) as (instance, url):
            process = await trio.lowlevel.open_process(
                [*ATTACH, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            await process.stdin.send_all(b'{"type":"get_state","id":"a"}\n')
            assert b'"id":"a"' in await process.stdout.receive_some()
            await instance.stop()
            assert await process.wait() == 1
            assert b"pitrio: the connection was lost" in await process.stderr.receive_some()
            await process.stdin.aclose()
            await process.stdout.aclose()
            await process.stderr.aclose()
        nobody = await attach(url)
        assert (nobody.returncode, nobody.stdout) == (1, b"")
        assert b"no connection to ws://127.0.0.1" in nobody.stderr
        nonsense = await attach("http://127.0.0.1")
        assert nonsense.returncode == 2
        assert b"not a WebSocket URL" in nonsense.stderr

    run(main)


def test_a_person_at_a_terminal_talks_to_it(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        ours, theirs = pty.openpty()
        try:
            async with running(one_pi, tmp_path) as (instance, url):
                process = await trio.lowlevel.open_process(
                    [*ATTACH, url], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE
                )
                assert process.stderr is not None
                shown, typed = bytearray(), 0
                async for data in process.stderr:
                    shown += data
                    if shown.count(b"\n> ") > typed:
                        os.write(ours, (b"hi\n", b"\n", b"\x04")[typed])
                        typed += 1
                assert await process.wait() == 0
                written = os.read(ours, 4096).decode()
                assert "hello yourself" in written
                assert f"{url}: scripted/scripted-1, session ".encode() in shown
                assert typed == 3
                assert await instance.client.get_last_assistant_text() == "hello yourself"
        finally:
            os.close(ours)
            os.close(theirs)

    run(main)


@pytest.mark.parametrize("way", ["file", "environment"])
def test_the_token_comes_from_a_file_or_the_environment(tmp_path: Path, way: str) -> None:
    async def main() -> None:
        pi = WebSocketPi()
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        (tmp_path / "token").write_text("s3cret\n")
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, pi._serve, listeners)
            if way == "file":
                done = await attach(url, "--token-file", str(tmp_path / "token"))
            else:
                done = await attach(url, PI_TRIO_TOKEN="s3cret")
            assert (done.returncode, done.stderr) == (0, b"")
            assert pi.headers[b"authorization"] == b"Bearer s3cret"
            pi.refusal = 401
            refused = await attach(url, PI_TRIO_TOKEN="wrong")
            assert refused.returncode == 1
            assert b"HTTP 401" in refused.stderr
            assert b"wrong" not in refused.stderr
            nursery.cancel_scope.cancel()

    run(main)
