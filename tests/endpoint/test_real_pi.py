"""Endpoints of real Pis."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
from pathlib import Path

import pytest
import trio
import trio.testing
from trio_websocket import open_websocket_url, wrap_client_stream

from pi_trio import (
    Backoff,
    EndpointConfig,
    InstanceSpec,
    InstanceState,
    PortAllocationError,
    RestartPolicy,
    RestartType,
    open_runtime,
)
from pi_trio.launch import PiInstall
from pi_trio.lifecycle import StateChanged
from pi_trio.process import Ports
from pi_trio.testing import Turn
from tests.endpoint.world import Client, bearer, connect
from tests.support import run, scripted, until


async def read_until(peer: Client, kind: str) -> list[str]:
    """The types of what comes, until this one has."""
    kinds: list[str] = []
    while kind not in kinds:
        kinds.append((await peer.receive())["type"])
    return kinds


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


def test_two_different_clients_see_one_run_each_in_its_own_words(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, lambda _: Turn(["Hel", "lo"])) as world:
            instance = await world.runtime.spawn(world.spec(), endpoint=True)
            assert instance.endpoint is not None
            url, token = instance.endpoint.url, world.runtime.endpoints.token
            async with connect(url, token) as records, connect(url, token, subprotocols=()) as dialect:
                await dialect.send({"id": 1, "method": "session.status"})
                assert (await dialect.receive())["result"]["state"] == "idle"
                await records.send({"id": 1, "type": "prompt", "message": "hi"})
                await read_until(records, "agent_settled")
                told = [await dialect.receive()]
                while told[-1].get("data") is None or told[-1]["data"].get("state") != "idle":
                    told.append(await dialect.receive())
                completed = [each["data"] for each in told if each["event"] == "message.completed"]
                assert [each["content"] for each in completed if each["role"] == "assistant"] == ["Hello"]
                await dialect.send({"id": 2, "method": "session.send", "params": {"content": "again"}})
                kinds = await read_until(records, "agent_settled")
                assert "response" not in kinds  # that was another's
                # And the host beside them, on its pipe.
                assert (await instance.client.send("and again")).text == "Hello"
                await read_until(records, "agent_settled")

    run(main)


def test_a_restart_in_the_middle_of_a_run_keeps_peers_and_what_they_asked(pi: PiInstall, tmp_path: Path) -> None:
    endless = Turn(text=[f"word{n} " for n in range(100_000)], chunk_delay=0.005)
    policy = RestartPolicy(type=RestartType.PERMANENT, backoff=Backoff(base=0.01))

    async def main() -> None:
        async with scripted(pi, tmp_path, lambda _: endless) as world:
            instance = await world.runtime.spawn(world.spec(restart=policy), endpoint=True)
            assert instance.endpoint is not None
            async with connect(instance.endpoint.url, world.runtime.endpoints.token) as peer:
                await peer.send({"id": 1, "type": "prompt", "message": "talk"})
                await read_until(peer, "message_update")
                assert instance.pid is not None
                os.kill(instance.pid, signal.SIGKILL)
                await until(lambda: instance.state is not InstanceState.RUNNING)
                await peer.send({"id": 2, "type": "get_state"})
                while (answer := await peer.receive())["type"] != "response":
                    pass
                assert (answer["id"], answer["success"], answer["data"]["isStreaming"]) == (2, True, False)
                assert instance.status().incarnation == 2

    run(main)


def test_the_port_is_back_when_it_is_said_that_the_instance_is_over(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            instance = await world.runtime.spawn(world.spec(), endpoint=True)
            assert instance.endpoint is not None
            port = instance.endpoint.port
            with pytest.raises(PortAllocationError):
                await world.runtime.spawn(world.spec(), endpoint=port)
            freed = trio.Event()

            async def watch() -> None:
                with world.runtime.events() as events:
                    async for item in events:
                        event = getattr(item, "event", None)
                        if isinstance(event, StateChanged) and event.state is InstanceState.STOPPED:
                            Ports().listen(port).close()
                            freed.set()
                            return

            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                await trio.testing.wait_all_tasks_blocked()
                await instance.stop()
                await freed.wait()

    run(main)


def test_many_connections_to_one_pi_and_one_of_them_never_reads(one_pi: PiInstall, tmp_path: Path) -> None:
    count = 40
    chatty = Turn([f"{n:06d} " + "x" * 500 for n in range(200)])

    async def main() -> None:
        # No ping is what ends it; and once it has to go, it need not have long to say goodbye.
        config = EndpointConfig(
            outbox_bytes=1024 * 1024, ping_period=1000.0, ping_timeout=0.5, token_file=tmp_path / "token"
        )
        async with scripted(one_pi, tmp_path, lambda _: chatty) as world, open_runtime(endpoints=config) as runtime:
            instance = await runtime.spawn(world.spec())
            assert instance.endpoint is not None
            url, token, statistics = instance.endpoint.url, runtime.endpoints.token, instance.endpoint.statistics
            settled = 0

            async def follow(*, task_status: trio.TaskStatus[None]) -> None:
                nonlocal settled
                async with connect(url, token) as peer:
                    await peer.send({"id": 1, "type": "get_state"})
                    assert (await peer.receive())["id"] == 1
                    task_status.started()
                    while True:
                        await read_until(peer, "agent_settled")
                        settled += 1

            # A plain socket whose kernel takes little: what is sent there is not read by anybody.
            with socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                deaf.connect(("127.0.0.1", instance.endpoint.port))
                deaf.sendall(
                    f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{instance.endpoint.port}\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                    f"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
                )
                await until(lambda: statistics().peers == 1)
                async with trio.open_nursery() as nursery:
                    for _ in range(count):
                        await nursery.start(follow)
                    assert statistics().peers == count + 1
                    runs = 0
                    while statistics().dropped == 0:  # until the one that does not read has had to go
                        assert (await instance.client.send("talk")).text.endswith("x")
                        runs += 1
                        await until(lambda: settled == runs * count)  # nobody else has missed anything  # noqa: B023
                    assert (statistics().dropped, statistics().peers) == (1, count)
                    nursery.cancel_scope.cancel()
            await until(lambda: statistics().peers == 0)

    run(main)


def test_a_unix_socket(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            path = tmp_path / "pi.sock"
            instance = await world.runtime.spawn(world.spec(), endpoint=path)
            assert instance.endpoint is not None
            assert instance.endpoint.url == f"ws+unix://{path}"
            async with await trio.open_unix_socket(path) as stream, trio.open_nursery() as nursery:
                shown = [bearer(world.runtime.endpoints.token)]
                socket = await wrap_client_stream(nursery, stream, "pi", "/", extra_headers=shown)
                peer = Client(socket)
                await peer.send({"id": 1, "type": "get_state"})
                assert (await peer.receive())["success"] is True
                await socket.aclose()
            await instance.stop()
            assert not path.exists()

    run(main)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_tls(one_pi: PiInstall, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ["-subj", "/CN=pi.example", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)

    async def main() -> None:
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(certificate))
        server.load_cert_chain(certificate, key)
        config = EndpointConfig(ssl_context=server, token_file=tmp_path / "token")
        async with open_runtime(endpoints=config) as runtime:
            instance = await runtime.spawn(InstanceSpec(pi=one_pi.path, cwd=tmp_path, ephemeral=True))
            assert instance.endpoint is not None
            assert instance.endpoint.url.startswith("wss://127.0.0.1:")
            shown = [bearer(runtime.endpoints.token)]
            async with open_websocket_url(instance.endpoint.url, client, extra_headers=shown) as socket:
                peer = Client(socket)
                await peer.send({"id": 1, "type": "get_state"})
                assert (await peer.receive())["success"] is True
            async with await trio.open_tcp_stream("127.0.0.1", instance.endpoint.port) as plain:
                await plain.send_all(b"GET / HTTP/1.1\r\n\r\n")
                await plain.receive_some()  # whatever it is, it ends nothing but this
            async with open_websocket_url(instance.endpoint.url, client, extra_headers=shown):
                pass

    run(main)
