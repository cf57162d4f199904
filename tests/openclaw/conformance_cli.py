"""``pitrio discover`` and ``pitrio select`` at a real gateway, as a person has them at a terminal.

At the stand-in they are tested in ``tests/cli``: each is a process, and takes its time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import trio

from pi_trio.process import free_port

from .conformance import Lab, check_real

PITRIO = (sys.executable, "-m", "pi_trio")


def _environment(token: str | None) -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if key != "OPENCLAW_GATEWAY_TOKEN"}
    return env if token is None else {**env, "OPENCLAW_GATEWAY_TOKEN": token}


async def pitrio(*arguments: str, token: str | None) -> subprocess.CompletedProcess[bytes]:
    # One that is busy with the runs of other checks takes its time.
    command = [*PITRIO, *arguments, "--timeout", "60"]
    return await trio.run_process(
        command, env=_environment(token), capture_stdout=True, capture_stderr=True, check=False
    )


@check_real
async def a_terminal_shows_its_sessions(lab: Lab) -> None:
    name = f"openclaw:{lab.url.removeprefix('ws://')}"
    async with lab.session() as key:
        done = await pitrio("discover", "--openclaw", lab.url, "--json", token=lab.token)
        (told,) = [each for each in json.loads(done.stdout)["instances"] if each["id"] == f"{name}/{key}"]
        assert (told["source"], told["health"], told["provider"], told["model"]) == (
            name,
            "healthy",
            "local",
            "scripted-1",
        )
        done = await pitrio(
            "select", "--openclaw", lab.url, "--model", "scripted-1", "--tag", "openclaw", token=lab.token
        )
        assert done.returncode == 0
        assert done.stdout.startswith(f"{name}/agent:main:".encode())
        assert b"least loaded: 0 of 1 in use" in done.stdout
        done = await pitrio("select", "--openclaw", lab.url, "--model", "no-such", "--json", token=lab.token)
        assert (done.returncode, json.loads(done.stdout)["criterion"]) == (5, "model")


@check_real
async def a_terminal_says_why_it_is_not_let_in(lab: Lab) -> None:
    async def ask(command: str, url: str, token: str | None, why: str) -> None:
        done = await pitrio(command, "--openclaw", url, token=token)
        said = done.stderr.decode()
        assert done.returncode == 1
        assert said.startswith(f"pitrio: openclaw:{url.removeprefix('ws://')}: no connection to {url}: ")
        assert why in said
        assert "Traceback" not in said
        assert "hush" not in said

    await ask("discover", lab.url, "hush", "the token is not the gateway's")
    await ask("select", lab.url, None, "the gateway asks for a token")
    nobody = f"ws://127.0.0.1:{free_port()}"
    await ask("discover", nobody, "hush", "all attempts to connect to 127.0.0.1")


@check_real
async def a_terminal_watches_its_sessions(lab: Lab) -> None:
    name = f"openclaw:{lab.url.removeprefix('ws://')}"
    async with _watching(lab) as process, aclosing(_lines(process)) as lines:
        await anext(lines)
        key = await lab.create()
        await _until(lines, f"{name}/{key}", present=True)
        await lab.delete(key)
        await _until(lines, f"{name}/{key}", present=False)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130


@asynccontextmanager
async def _watching(lab: Lab) -> AsyncIterator[trio.Process]:
    command = [*PITRIO, "discover", "--openclaw", lab.url, "--watch", "--json"]
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            lambda task_status: trio.run_process(
                command,
                env=_environment(lab.token),
                stdout=subprocess.PIPE,
                check=False,
                task_status=task_status,
            )
        )
        yield process
        nursery.cancel_scope.cancel()


async def _lines(process: trio.Process) -> AsyncGenerator[Any, None]:
    assert process.stdout is not None
    buffer = b""
    while data := await process.stdout.receive_some():
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            yield json.loads(line)


async def _until(lines: AsyncIterator[Any], name: str, *, present: bool) -> None:
    async for told in lines:
        if (name in {each["id"] for each in told["instances"]}) is present:
            return
    raise AssertionError("it has ended")
