"""Records over WebSocket: real sockets where the handshake is meant, streams in memory where time is."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trio_websocket
from wsproto import WSConnection
from wsproto.connection import Connection, ConnectionType
from wsproto.events import AcceptConnection, TextMessage

from pi_trio import ConnectFailed, ConnectionClosed, RemoteOptions, connect_client, open_client
from pi_trio.abc import Closing
from pi_trio.transport import WebSocketTransport, check_url, open_websocket, wrap_websocket
from pi_trio.transport.stream import text_frame
from tests.client.memory import WebSocketPi, blocked
from tests.support import run

Peer = Callable[[trio_websocket.WebSocketConnection], Awaitable[None]]


@asynccontextmanager
async def linked(peer: Peer, *, subprotocol: str | None = None) -> AsyncIterator[WebSocketTransport]:
    """A transport whose other end is ``peer``."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, theirs)
            connection = await request.accept(subprotocol=subprotocol)
            with suppress(trio_websocket.ConnectionClosed):
                await peer(connection)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with wrap_websocket(
            ours, "ws://pi", deadline=trio.current_time() + 5, max_record_bytes=1000
        ) as transport:
            nursery.start_soon(transport.run_sender)
            yield transport
        nursery.cancel_scope.cancel()


def virtually(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_records_that_are_sent_together_share_a_message_where_both_know_how() -> None:
    messages: list[str | bytes] = []

    async def peer(connection: trio_websocket.WebSocketConnection) -> None:
        while True:
            messages.append(await connection.get_message())

    async def main(subprotocol: str) -> None:
        async with linked(peer, subprotocol=subprotocol) as transport:
            for n in range(3):
                transport.send_nowait(b'{"n":%d}\n' % n)
            await blocked()

    virtually(partial(main, "pi-rpc.v1.batch"))
    assert messages == ['{"n":0}\n{"n":1}\n{"n":2}\n']
    messages.clear()
    virtually(partial(main, "pi-rpc.v1"))
    assert messages == ['{"n":0}', '{"n":1}', '{"n":2}']


@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_what_comes_with_the_answer_to_the_handshake_is_not_lost(piece: int) -> None:
    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        server = WSConnection(ConnectionType.SERVER)

        async def serve() -> None:
            server.receive_data(bytes(await theirs.receive_some()))
            list(server.events())
            said = server.send(AcceptConnection(subprotocol="pi-rpc.v1"))
            for text in ('{"n":1}', "x" * 1000, '{"n":"ü"}'):
                said += server.send(TextMessage(text))
            for at in range(0, len(said), piece):
                await theirs.send_all(said[at : at + piece])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with wrap_websocket(
                ours, "ws://pi", deadline=trio.current_time() + 5, max_record_bytes=1000
            ) as transport:
                lines: list[bytes] = []
                while len(lines) < 3:
                    lines += await transport.receive()
                assert lines == [b'{"n":1}', b"x" * 1000, '{"n":"ü"}'.encode()]
                await trio.aclose_forcefully(theirs)

    virtually(main)


def test_it_reads_on_and_answers_pings_until_too_much_waits() -> None:
    async def main() -> None:
        answered = []

        async def peer(connection: trio_websocket.WebSocketConnection) -> None:
            for n in range(100):
                await connection.send_message("x" * 999)
                await connection.ping()
                answered.append(n)

        async with linked(peer) as transport:
            transport._max_inbox_bytes = 10_000
            await blocked()
            full = len(answered)
            assert full == 10  # what fits: the ping behind the next one is not read
            await trio.sleep(500)
            assert transport.closing is None  # that we do not read is not the peer's fault
            assert sum([len(await transport.receive()) for _ in range(2)]) > 10
            await blocked()
            assert len(answered) > full

    virtually(main)


def test_a_message_that_is_too_long_ends_the_connection() -> None:
    async def main() -> None:
        async def peer(connection: trio_websocket.WebSocketConnection) -> None:
            await connection.send_message("x" * 1001)
            await trio.sleep_forever()

        async with linked(peer) as transport:
            with pytest.raises(trio.EndOfChannel):
                await transport.receive()
            assert transport.closing is not None
            assert transport.closing.code == 1009
            with pytest.raises(trio.BrokenResourceError):
                transport.send_nowait(b"{}\n")

    virtually(main)


def test_what_came_before_the_end_is_read_first() -> None:
    async def main() -> None:
        async def peer(connection: trio_websocket.WebSocketConnection) -> None:
            await connection.send_message('{"n": 1}\n{"n": 2}\n')
            await connection.aclose(4000, "it died")

        async with linked(peer, subprotocol="pi-rpc.v1.batch") as transport:
            await blocked()
            assert [line for line in await transport.receive() if line] == [b'{"n": 1}', b'{"n": 2}']
            with pytest.raises(trio.EndOfChannel):
                await transport.receive()
            assert transport.closing == Closing(4000, "it died")

    virtually(main)


def test_a_cancelled_or_interrupted_reader_loses_nothing() -> None:
    async def main() -> None:
        go = trio.Event()

        async def peer(connection: trio_websocket.WebSocketConnection) -> None:
            await go.wait()
            await connection.send_message("{}")
            await trio.sleep_forever()

        async with linked(peer) as transport:
            with trio.move_on_after(1):
                await transport.receive()
            async with trio.open_nursery() as nursery:

                async def read() -> None:
                    assert await transport.receive() == ()

                nursery.start_soon(read)
                await blocked()
                transport.interrupt()
            transport.interrupt()  # nobody is there
            go.set()
            await blocked()
            with trio.CancelScope() as scope:
                scope.cancel()
                await transport.receive()
            assert await transport.receive() == [b"{}"]

    virtually(main)


def test_a_full_queue_says_so_and_keeps_order() -> None:
    async def main() -> None:
        async def peer(connection: trio_websocket.WebSocketConnection) -> None:
            await trio.sleep_forever()

        async with linked(peer) as transport:
            transport._max_outbox_bytes = 100
            transport.send_nowait(b"x" * 90)
            with pytest.raises(trio.WouldBlock):
                transport.send_nowait(b"x" * 20)
            transport.send_nowait(b"x" * 10)
            assert [len(record) for record in transport.unsent()] == [90, 10]
            await blocked()
            assert transport.unsent() == ()
            transport.close_sending()
            with pytest.raises(trio.ClosedResourceError):
                transport.send_nowait(b"{}")

    virtually(main)


def test_a_stop_of_the_other_side_in_the_handshake() -> None:
    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.aclose()
        with pytest.raises(ConnectFailed, match="hung up during the handshake"):
            async with wrap_websocket(ours, "ws://pi", deadline=trio.current_time() + 5):
                raise AssertionError("there is nobody")
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(b"SSH-2.0-OpenSSH_9.9\r\n")
        with pytest.raises(ConnectFailed):
            async with wrap_websocket(ours, "ws://pi", deadline=trio.current_time() + 5):
                raise AssertionError("that is no WebSocket")
        ours, theirs = trio.testing.memory_stream_pair()
        with pytest.raises(ConnectFailed, match="in time"):
            async with wrap_websocket(ours, "ws://pi", deadline=trio.current_time() + 5):
                raise AssertionError("it is silent")

    virtually(main)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ws://", "127.0.0.1:1", "", "ws://host:port"])
def test_what_is_no_such_url(url: str) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="URL|[Pp]ort"):
            async with open_websocket(url):
                raise AssertionError("where to?")

    run(main)


@pytest.mark.parametrize(
    "url", ["ws://example.com", "ws://192.0.2.1:4000", "ws://localhost.example.com", "ws://0.0.0.0:1"]
)
def test_a_token_is_not_sent_to_another_machine_in_the_clear(url: str) -> None:
    with pytest.raises(ValueError, match="in the clear"):
        check_url(url, "secret")
    check_url(url)


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:1", "ws://[::1]:1", "ws://localhost", "wss://example.com", "ws+unix:///s"]
)
def test_where_a_token_may_go(url: str) -> None:
    check_url(url, "secret")


@pytest.mark.parametrize(
    "wrong",
    [
        {"heartbeat": 0.0},
        {"queue_limit": -1},
        {"queue_timeout": -1.0},
        {"connect_timeout": 0.0},
        {"max_record_bytes": 0},
    ],
)
def test_options_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RemoteOptions(**wrong)


@asynccontextmanager
async def served(pi: WebSocketPi, listeners: list[trio.SocketListener]) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, pi._serve, listeners)
        yield
        nursery.cancel_scope.cancel()


def test_a_client_over_tcp_and_its_token() -> None:
    async def main() -> None:
        pi = WebSocketPi()
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with served(pi, listeners):
            async with open_client(url, token="secret") as client:
                async with trio.open_nursery() as nursery:

                    async def ask() -> None:
                        assert await client.request("x") == "there"

                    nursery.start_soon(ask)
                    while not pi.sent:
                        await trio.lowlevel.checkpoint()
                    pi.answers("x", "there")
            assert pi.headers[b"authorization"] == b"Bearer secret"
            assert "secret" not in repr(client)
            with pytest.raises(ConnectionClosed, match="the client was closed"):
                await client.request("x")
            with pytest.raises(ZeroDivisionError):  # as it is, not in a group
                async with open_client(url):
                    raise ZeroDivisionError
            pi.refusal = 403
            with pytest.raises(ConnectFailed, match="HTTP 403: it is not served under this name") as caught:
                async with open_client(url, token="secret"):
                    raise AssertionError("not for us")
            assert (caught.value.status, caught.value.final) == (403, True)
            assert "secret" not in str(caught.value)
            async with trio.open_nursery() as nursery:
                with pytest.raises(ConnectFailed):
                    await connect_client(nursery, url)
                pi.refusal = None
                client = await connect_client(nursery, url)
                nursery.cancel_scope.cancel()
            with pytest.raises(ConnectionClosed):
                await client.request("x")
        with pytest.raises(ConnectFailed) as refused:
            async with open_client(url):
                raise AssertionError("nobody is there")
        assert (refused.value.status, refused.value.final) == (None, False)

    run(main)


def test_a_unix_socket(tmp_path: Path) -> None:
    async def main() -> None:
        pi = WebSocketPi()
        path = str(tmp_path / "s")
        listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        await listening.bind(path)
        listening.listen(1)
        async with served(pi, [trio.SocketListener(listening)]):
            async with open_client(f"ws+unix://{path}") as client:
                assert client.session_id == "s"

    run(main)


def test_a_peer_whose_certificate_is_nobodys() -> None:
    async def main() -> None:
        pi = WebSocketPi()
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with served(pi, listeners):  # which does not even speak TLS
            with pytest.raises(ConnectFailed):
                async with open_websocket(
                    f"wss://127.0.0.1:{listeners[0].socket.getsockname()[1]}",
                    ssl_context=ssl.create_default_context(),
                    connect_timeout=5,
                ):
                    raise AssertionError("that is no TLS")

    run(main)


@pytest.mark.parametrize("length", [0, 1, 3, 4, 125, 126, 65535, 65536])
def test_a_frame_is_what_wsproto_reads(length: int) -> None:
    text = ("{ü" + "x" * length).encode()[:length] if length != 1 else b"x"
    text = text.decode(errors="ignore").encode()
    server = Connection(ConnectionType.SERVER)
    server.receive_data(text_frame(text))
    parts = list(server.events())
    assert all(isinstance(part, TextMessage) for part in parts)
    assert "".join(part.data for part in parts if isinstance(part, TextMessage)).encode() == text
    assert text_frame(b"x") != text_frame(b"x"), "the mask is the same"


def test_what_does_not_fit_into_the_socket_is_finished_before_what_follows() -> None:
    async def main() -> None:
        pi = WebSocketPi()
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        pi.stall = stall = trio.Event()
        stall.set()
        url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, pi._serve, listeners)
            async with open_websocket(url) as transport:
                nursery.start_soon(transport.run_sender)
                transport.send_nowait(b'{"n":0}\n')
                transport.send_nowait(b'{"n":1,"long":"%b"}\n' % (b"x" * 20_000_000))
                assert "0 bytes out" in repr(transport)  # begun: it cannot be called unsent any more
                transport.send_nowait(b'{"n":2}\n')
                assert transport.unsent() == (b'{"n":2}\n',)
                await transport.drain()
                transport.send_nowait(b'{"n":3}\n')
                while len(pi.sent) < 4:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert [record["n"] for record in pi.sent] == [0, 1, 2, 3]

    run(main)
