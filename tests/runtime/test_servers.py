"""A Pi that serves WebSocket by itself, supervised: the real one behind a stand-in."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from pi_trio import (
    InstanceSpec,
    InstanceState,
    PortAllocationError,
    ProcessExited,
    RestartPolicy,
    RestartType,
    SpawnError,
    SpecError,
    open_runtime,
)
from pi_trio.launch import PiInstall
from pi_trio.protocol import State, structure
from pi_trio.supervisor.supervisor import Surroundings
from pi_trio.testing import ModelRequest, Turn
from tests.client.memory import STATE, WebSocketPi
from tests.support import run, scripted, served


def hello(_: ModelRequest) -> Turn:
    return Turn("hello yourself")


def test_its_command_lines() -> None:
    fresh = InstanceSpec(launch="server", port=4000, model="m")
    assert fresh.arguments() == ("--server", "--port", "4000", "--model", "m")
    going_on = InstanceSpec(launch="server", port=4000, model="m", session_id="s", cwd="/w")
    assert going_on.arguments() == ("--model", "m", "--session", "s", "--workdir", "/w", "--port", "4000")
    last = structure({**STATE, "sessionId": "s"}, State)
    assert fresh.continued(last).arguments()[2:4] == ("--session", "s")
    with pytest.raises(SpecError, match="told its model"):
        InstanceSpec(launch="server")
    with pytest.raises(SpecError, match="has a port"):
        InstanceSpec(port=4000)
    with pytest.raises(SpecError, match="from 1 to 65535"):
        InstanceSpec(launch="server", port=65536, model="m")
    with pytest.raises(SpecError, match="use the port field"):
        InstanceSpec(extra_args=("--port", "1"))


def test_a_server_is_spawned_prompted_and_gone(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(served(pi), tmp_path, hello) as world:
            instance = await world.spawn()
            reply = await instance.client.send("hello")
            assert reply.text == "hello yourself"
            lines = [line async for line in instance.logs()]
            assert any("standin: --server --port" in str(line) for line in lines)
            await instance.stop()
            assert instance.state is InstanceState.STOPPED

    run(main)


def test_a_server_that_dies_is_started_again_with_its_session(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(served(one_pi), tmp_path, hello) as world:
            instance = await world.spawn(
                restart=RestartPolicy(type=RestartType.PERMANENT), ephemeral=False, session_id="kept"
            )
            await instance.client.send("one")
            with pytest.raises(ProcessExited):
                await instance.client.bash("kill -9 $PPID")
            assert instance.client.session_id == "kept"
            messages = await instance.client.get_messages()
            assert len(messages) >= 2
            assert instance.status().incarnation == 2

    run(main)


def test_a_server_that_never_answers(tmp_path: Path) -> None:
    async def main() -> None:
        silent = tmp_path / "silent"
        silent.write_text("#!/bin/sh\nexec sleep 1000\n")
        silent.chmod(0o755)
        spec = InstanceSpec(pi=silent, launch="server", model="m", cwd=tmp_path, start_timeout=0.3, grace_timeout=1)
        async with open_runtime() as runtime:
            with pytest.raises(SpawnError, match="did not answer within"):
                await runtime.spawn(spec)

    run(main)


def test_a_connection_that_is_lost_ends_the_process(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(served(one_pi), tmp_path, hello) as world:
            instance = await world.spawn(max_record_bytes=3000)
            with pytest.raises(ProcessExited):
                await instance.client.bash("head -c 10000 /dev/zero | tr '\\0' x")
            assert instance.status().incarnation == 1
            await instance.wait_stopped()

    run(main)


def silent(folder: Path) -> InstanceSpec:
    """A server that never answers."""
    path = folder / "silent"
    path.write_text("#!/bin/sh\nexec sleep 1000\n")
    path.chmod(0o755)
    return InstanceSpec(pi=path, launch="server", model="m", cwd=folder, start_timeout=20, grace_timeout=1)


@asynccontextmanager
async def stranger() -> AsyncIterator[int]:
    """A port at which somebody else answers, with whatever a Pi would."""
    pi = WebSocketPi(subprotocol="pi-rpc.v1")
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, pi._serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        assert pi.sent == []
        nursery.cancel_scope.cancel()


def test_a_port_that_is_taken_is_refused_before_anything_starts(tmp_path: Path) -> None:
    async def main() -> None:
        async with stranger() as port, open_runtime() as runtime:
            with pytest.raises(PortAllocationError, match=str(port)) as caught:
                await runtime.spawn(attrs.evolve(silent(tmp_path), port=port))
            assert caught.value.tried == ((f"127.0.0.1:{port}", "in use"),)
            assert runtime.list() == ()

    run(main)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it cannot be told who listens")
def test_whoever_else_answers_at_its_port_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Somebody took the port between the choice and the start; after a restart, just so.
    async def main() -> None:
        async with stranger() as port, open_runtime() as runtime:
            surroundings = partial(Surroundings, free_port=lambda: port)
            monkeypatch.setattr("pi_trio.runtime.runtime.Surroundings", surroundings)
            with pytest.raises(SpawnError, match=f"port {port} is another program's"):
                await runtime.spawn(silent(tmp_path))

    run(main)
