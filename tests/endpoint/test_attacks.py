"""What hit comparable tools, tried on this one: one test each. Raw sockets, for a client library would be too polite."""

from __future__ import annotations

import json
import logging
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from pi_trio import ConnectFailed, ConnectionLost, EndpointConfig, Scope, open_client
from pi_trio.endpoint import Endpoints
from tests.client.memory import STATE
from tests.endpoint.world import World, served

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3: the answer to this key


async def request(
    world: World,
    *,
    token: str | None = None,
    host: str | None = None,
    target: str = "/",
    method: str = "GET",
    headers: tuple[str, ...] = (),
    upgrade: bool = True,
) -> tuple[int, bytes]:
    """Send one request; return the status and everything that was answered at once."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host or f'127.0.0.1:{world.port}'}"]
    if upgrade:
        lines += ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return await say(world, "\r\n".join([*lines, *headers, "", ""]).encode("latin-1"))


async def say(world: World, data: bytes) -> tuple[int, bytes]:
    stream = await trio.open_tcp_stream("127.0.0.1", world.port)
    async with stream:
        await stream.send_all(data)
        answer = b""
        while b"\r\n\r\n" not in answer:
            received = await stream.receive_some()
            if not received:
                return 0, answer
            answer += received
        if b" 101 " not in answer:
            async for more in stream:
                answer += more
        return int(answer.split(b" ", 2)[1]), answer


def attack(config: EndpointConfig | None = None) -> Callable[[Callable[[World], Awaitable[None]]], Callable[[], None]]:
    def decorate(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
        def run() -> None:
            served(test, config)

        run.__name__ = test.__name__
        run.__module__ = test.__module__
        return run

    return decorate


def forget_failures(world: World) -> None:
    """Let the next attempt be judged as the first: not for their number are these refused."""
    world.endpoints._limit._left = 10.0


@attack()
async def test_a_good_token_opens_the_door(world: World) -> None:
    status, answer = await request(world, token=world.endpoints.token)
    assert status == 101
    assert ACCEPT in answer


@attack()
async def test_without_a_token_it_stays_shut(world: World) -> None:
    # OpenCode, CVE-2026-22812; Claude Code's IDE extension, CVE-2025-52882: an unauthenticated local server.
    for wrong in (None, "", "x", world.endpoints.token[:-1], world.endpoints.token + "x", "\u00fc" * 43):
        status, answer = await request(world, token=wrong)
        assert status == 401
        assert b"101" not in answer.split(b"\r\n")[0]
    for header in ("Authorization: Basic eDp5", f"Authorization: {world.endpoints.token}", "Authorization: Bearer"):
        assert (await request(world, headers=(header,)))[0] in (401, 429)
    assert world.endpoint.statistics().admitted == 0


@attack()
async def test_two_authorizations_are_none(world: World) -> None:
    good = f"Authorization: Bearer {world.endpoints.token}"
    assert (await request(world, headers=(good, "Authorization: Bearer x")))[0] == 401


@attack()
async def test_a_name_that_was_rebound_to_this_machine(world: World) -> None:
    # MCP SDK, CVE-2025-66414; Ollama, CVE-2024-28224: no check of Host.
    port = world.port
    for host in (
        "evil.example",
        f"evil.example:{port}",
        f"127.0.0.1.evil.example:{port}",
        f"127.0.0.1:{port}.evil.example",
        f"localhost.evil.example:{port}",
        "127.0.0.1",
        f"127.0.0.1:{port + 1}",
        f"0.0.0.0:{port}",
        f"user@127.0.0.1:{port}",
        f"[::ffff:127.0.0.1]:{port}",
    ):
        forget_failures(world)
        assert (await request(world, token=world.endpoints.token, host=host))[0] == 403, host
    for host in (f"127.0.0.1:{port}", f"LOCALHOST:{port}", f"[::1]:{port}"):
        assert (await request(world, token=world.endpoints.token, host=host))[0] == 101, host


@attack()
async def test_no_host_or_two(world: World) -> None:
    token, ours = world.endpoints.token, f"Host: 127.0.0.1:{world.port}"
    rest = (
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    )
    for head in (
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        f"GET / HTTP/1.1\r\n{ours}\r\nHost: evil.example\r\n",
        f"GET http://evil.example/ HTTP/1.1\r\n{ours}\r\n",
    ):
        assert (await say(world, (head + rest).encode()))[0] in (400, 403, 404), head


@attack(EndpointConfig(allowed_origins=("http://127.0.0.1:8080",)))
async def test_a_page_from_elsewhere(world: World) -> None:
    token = world.endpoints.token
    for origin in (
        "null",
        "",
        "https://evil.example",
        "http://127.0.0.1:8080.evil.example",
        "http://127.0.0.1:80801",
        "http://127.0.0.1:808",
        "http://127.0.0.1",
        "https://127.0.0.1:8080",
        "http://127.0.0.1:8080/",
        "http://127.0.0.1:8080 ",
        f"http://127.0.0.1:{world.port}",
        "HTTP://127.0.0.1:8080",
        "file://",
    ):
        forget_failures(world)
        status, _ = await request(world, token=token, headers=(f"Origin: {origin}",))
        assert status == (101 if origin.strip() == "http://127.0.0.1:8080" else 403), origin
    forget_failures(world)
    both = ("Origin: http://127.0.0.1:8080", "Origin: https://evil.example")
    assert (await request(world, token=token, headers=both))[0] == 403
    assert (await request(world, token=token, headers=both[:1]))[0] == 101


@attack()
async def test_by_default_no_page_at_all(world: World) -> None:
    for origin in (f"http://127.0.0.1:{world.port}", "http://localhost"):
        assert (await request(world, token=world.endpoints.token, headers=(f"Origin: {origin}",)))[0] == 403


@attack()
async def test_a_token_in_the_url(world: World) -> None:
    for name in ("token", "access_token", "ticket", "auth"):
        assert (await request(world, target=f"/?{name}={world.endpoints.token}"))[0] in (400, 401)


@attack()
async def test_a_ticket_is_good_once(world: World) -> None:
    ticket = world.endpoints.issue_ticket(Scope.OBSERVE)
    # Something else that is wrong does not use it up.
    assert (await request(world, target=f"/?ticket={ticket}", host="evil.example"))[0] == 403
    assert (await request(world, target=f"/?ticket={ticket}"))[0] == 101
    assert (await request(world, target=f"/?ticket={ticket}"))[0] == 401


@attack()
async def test_a_ticket_is_had_for_a_token_only_and_worth_no_more(world: World) -> None:
    assert (await request(world, method="POST", target="/ticket", upgrade=False))[0] == 401
    observer = world.endpoints.issue_token(Scope.OBSERVE)
    status, answer = await request(world, method="POST", target="/ticket", upgrade=False, token=observer)
    assert status == 200
    ticket = json.loads(answer.partition(b"\r\n\r\n")[2])["ticket"]
    async with world.connect(scope=None, resource=f"/?ticket={ticket}") as peer:
        await peer.send({"id": 1, "type": "bash", "command": "id"})
        assert "needs the scope admin" in (await peer.receive())["error"]
    page = ("Origin: https://evil.example",)
    assert (await request(world, method="POST", target="/ticket", upgrade=False, token=observer, headers=page))[
        0
    ] == 403


@attack()
async def test_a_scope_is_what_the_token_says(world: World) -> None:
    # Scopes declared by the client, and believed.
    claims = ((b"X-Scope", b"admin"), (b"Sec-WebSocket-Protocol", b"admin"))
    async with world.connect(scope=Scope.PROMPT, resource="/?scope=admin", headers=claims[:1]) as peer:
        for record in (
            {"id": 1, "type": "bash", "command": "id", "scope": "admin"},
            {"id": 2, "type": "export_html", "outputPath": "/tmp/x"},
            {"id": 3, "type": "switch_session", "sessionPath": "/etc/passwd"},
            {"id": 4, "type": "set_model", "provider": "p", "modelId": "m"},
            {"id": 5, "type": "a command of tomorrow"},
            {"id": 6, "type": ["bash"]},
            {"id": 7},
        ):
            await peer.send(record)
            answer = await peer.receive()
            assert (answer["id"], answer["success"]) == (record["id"], False)
            assert "needs the scope" in answer["error"]
        await peer.send({"id": 8, "type": "get_state"})
        (sent,) = await world.asked(1)
        assert sent["type"] == "get_state"
        world.pi.answers("get_state", STATE)
        assert (await peer.receive())["success"] is True


@attack()
async def test_two_keys_for_one_field_do_not_smuggle_a_command(world: World) -> None:
    async with world.connect(scope=Scope.OBSERVE) as peer:
        await peer.socket.send_message('{"id":1,"type":"get_state","type":"bash","command":"id"}')
        assert (await peer.receive())["success"] is False
        await peer.socket.send_message('{"id":1,"type":"bash","type":"get_state","command":"id"}')
        (sent,) = await world.asked(1)  # encoded anew: Pi sees one type, the one that was judged
        assert sent["type"] == "get_state"


@attack()
async def test_a_line_end_in_a_message_does_not_smuggle_a_command(world: World) -> None:
    async with world.connect(scope=Scope.OBSERVE) as peer:
        await peer.socket.send_message('{"id":1,"type":"get_state"}\n{"type":"bash","command":"id"}')
        assert (await peer.receive())["command"] == "parse"
    async with world.connect(scope=Scope.OBSERVE, subprotocols=("pi-rpc.v1.batch",)) as peer:
        await peer.socket.send_message('{"id":1,"type":"get_state"}\n{"id":2,"type":"bash","command":"id"}\n')
        assert (await peer.receive())["error"].startswith("bash needs the scope admin")
    assert [record["type"] for record in world.pi.sent] == ["get_state"]


@pytest.mark.parametrize("wrong", [{"host": "evil.example"}, {"headers": ("Origin: null",)}, {"target": "/?token=x"}])
def test_every_attempt_that_fails_is_counted(wrong: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    async def test(world: World) -> None:
        token = world.endpoints.token
        world.endpoints._limit._rate = 0.0  # however long this takes
        for _ in range(10):
            assert (await request(world, token=token, **wrong))[0] in (400, 403)
        caplog.set_level(logging.INFO)
        caplog.clear()
        assert (await request(world, token=token, **wrong))[0] == 429
        assert "refused" not in caplog.text  # nor does each fill a line of a log
        assert (await request(world, token="wrong"))[0] == 429
        assert (await request(world, token=token))[0] == 101

    served(test)


@attack()
async def test_guessing_is_limited_and_a_good_token_is_not(world: World) -> None:
    # Loopback exempt from rate limits; or a limit that locks the owner out.
    statuses = [(await request(world, token="wrong"))[0] for _ in range(10)]
    assert statuses == [401] * 10
    refused: list[int] = []

    async def guess() -> None:
        refused.append((await request(world, token="wrong"))[0])

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(guess)
        for _ in range(5):
            assert (await request(world, token=world.endpoints.token))[0] == 101
    assert 429 in refused
    assert set(refused) <= {401, 429}


@attack(EndpointConfig(max_handshakes=8, handshake_timeout=600.0))
async def test_connections_that_say_nothing_do_not_keep_others_out(world: World) -> None:
    silent = [await trio.open_tcp_stream("127.0.0.1", world.port) for _ in range(40)]
    try:
        for stream in silent:
            await stream.send_all(b"GET / HTTP/1.1\r\n")
        assert (await request(world, token=world.endpoints.token))[0] == 101
        assert await silent[0].receive_some() == b""  # the oldest had to go
    finally:
        for stream in silent:
            await trio.aclose_forcefully(stream)


@attack(EndpointConfig(handshake_timeout=0.2))
async def test_a_request_that_never_ends(world: World) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", world.port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nX: ")
        assert await stream.receive_some() == b""
    status, _ = await say(world, b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)
    assert status in (0, 400)


@attack()
async def test_what_is_no_request(world: World) -> None:
    good = f"Host: 127.0.0.1:{world.port}\r\nAuthorization: Bearer {world.endpoints.token}\r\n"
    handshake = f"Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
    for data, statuses in (
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 60 + b"\r\n\r\n", {400}),
        (b"GET /\r\n\r\n", {400}),
        (f"GET / HTTP/1.1\r\n{good}\r\n".encode(), {426}),
        (f"GET / HTTP/1.1\r\n{good}Upgrade: h2c\r\n{handshake}\r\n".encode(), {426}),
        (f"POST / HTTP/1.1\r\n{good}Upgrade: websocket\r\n{handshake}\r\n".encode(), {405}),
        (f"GET /etc/passwd HTTP/1.1\r\n{good}Upgrade: websocket\r\n{handshake}\r\n".encode(), {404}),
        (f"GET / HTTP/1.1\r\n{good}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n".encode(), {426}),
        (
            f"GET / HTTP/1.1\r\n{good}Upgrade: websocket\r\n{handshake}".encode()
            + b"Sec-WebSocket-Protocol: \xff\xfe\r\n\r\n",
            {400},
        ),
        (
            f"GET / HTTP/1.1\r\n{good}Upgrade: websocket\r\n{handshake.replace(KEY, 'short')}\r\n".encode(),
            {400},
        ),
    ):
        status, _ = await say(world, data)
        assert status in statuses, data
    assert (await request(world, token=world.endpoints.token))[0] == 101  # and it still serves


@attack(EndpointConfig(max_message_bytes=10_000))
async def test_a_message_that_is_too_long(world: World) -> None:
    async with world.connect() as peer:
        await peer.socket.send_message("x" * 10_001)
        assert (await peer.closed())[0] == 1009
    async with world.connect() as peer:
        await peer.socket.send_message(b"\x00\x01")
        assert (await peer.closed())[0] == 1003


@attack(EndpointConfig(max_in_flight=3, max_connections=2))
async def test_too_many_requests_and_too_many_connections(world: World) -> None:
    async with world.connect() as one, world.connect():
        for number in range(4):
            await one.send({"id": number, "type": "get_state"})
        answer = await one.receive()
        assert (answer["id"], answer["success"]) == (3, False)
        assert (await request(world, token=world.endpoints.token))[0] == 503


@attack()
async def test_frames_that_break_the_rules_end_their_connection_only(world: World) -> None:
    async with world.connect() as bystander:
        for frame in (
            b"\x81\x05hello",  # not masked
            b"\xc1\x80\x00\x00\x00\x00",  # a reserved bit
            b"\x83\x80\x00\x00\x00\x00",  # a reserved opcode
            b"\x80\x80\x00\x00\x00\x00",  # a continuation of nothing
            b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",  # a length of 2**64 - 1
            b"\x81\x82\x00\x00\x00\x00\xff\xfe",  # not UTF-8
            b"\x89\xfe\x00\x80\x00\x00\x00\x00" + b"x" * 128,  # a ping that is too long
        ):
            async with world.connect() as peer:
                await peer.socket._stream.send_all(frame)
                assert (await peer.closed())[0] in (1002, 1006, 1007, 1009), frame
        await bystander.send({"id": 1, "type": "get_state"})
        await world.asked(1)
        world.pi.answers("get_state", STATE)
        assert (await bystander.receive())["success"] is True


def test_addresses_that_others_reach_take_tls_a_name_and_a_token() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        with pytest.raises(ValueError, match="other machines"):
            EndpointConfig(host=host)
    for name in ("localhost", "example.com", ""):
        with pytest.raises(ValueError, match="address"):
            EndpointConfig(host=name)
    for origin in ("null", "*", "example.com", "https://example.com/"):
        with pytest.raises(ValueError, match="origin"):
            EndpointConfig(allowed_origins=(origin,))
    assert EndpointConfig(host="::1").loopback


def test_the_token_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "made" / "token"
    endpoints = Endpoints(EndpointConfig(token_file=path), "run")

    async def main() -> None:
        endpoints.listen(0).close()

    trio.run(main)
    assert path.read_text() == f"{endpoints.token}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    endpoints.close()
    assert not path.exists()
    assert Endpoints(EndpointConfig(), "other").token != endpoints.token


def test_no_secret_is_logged_or_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    async def test(world: World) -> None:
        observer, ticket = world.endpoints.issue_token(Scope.OBSERVE), world.endpoints.issue_ticket(Scope.OBSERVE)
        secrets = (world.endpoints.token, observer, ticket)
        assert (await request(world, token=observer, host="evil.example"))[0] == 403
        assert (await request(world, target=f"/?token={observer}"))[0] == 400
        assert (await request(world, target=f"/?ticket={ticket}"))[0] == 101
        assert (await request(world, token=observer))[0] == 101
        shown.extend([repr(world.endpoints), repr(world.endpoint), repr(world.endpoints.config), *caplog.messages])
        assert shown
        assert not [text for text in shown for secret in secrets if secret in text]

    served(test)


def test_a_client_shows_no_ticket_and_no_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def answer(world: World) -> None:
        await world.asked(1)
        world.pi.answers("get_state", STATE)

    async def test(world: World) -> None:
        place, ticket = f"127.0.0.1:{world.port}", world.endpoints.issue_ticket(Scope.OBSERVE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, world)
            async with open_client(f"ws://user:pass@{place}/?ticket={ticket}") as client:
                for peer in tuple(world.endpoint._peers):
                    peer._scope.cancel()  # to connect again takes another ticket
                with pytest.raises(ConnectFailed, match="HTTP 401") as refused:
                    while True:
                        with suppress(ConnectionLost):
                            await client.get_state()
        shown = [repr(client), str(refused.value), refused.value.url, *caplog.messages]
        assert refused.value.url == f"ws://{place}/"
        assert not [text for text in shown for secret in (ticket, "pass@") if secret in text]

    served(test)
