"""Transports in memory, bare or as a WebSocket: a test says what Pi says."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
import trio.testing
import trio_websocket

from pi_trio import PiClient, ProcessExited
from pi_trio.abc import ExitStatus, RecordTransport
from pi_trio.client.connection import Connection
from pi_trio.lifecycle import ReconnectPolicy
from pi_trio.protocol import DialogHandler, Record, decode_line, encode_record
from pi_trio.transport import WebSocketTransport, wrap_websocket

STATE: Record = {
    "sessionId": "s",
    "thinkingLevel": "off",
    "isStreaming": False,
    "isCompacting": False,
    "steeringMode": "all",
    "followUpMode": "all",
    "autoCompactionEnabled": True,
    "messageCount": 0,
    "pendingMessageCount": 0,
}


class Wire:
    """What a test says Pi says; and what was said to Pi."""

    def __init__(self) -> None:
        self.sent: list[Record] = []
        self._send, self._receive = trio.open_memory_channel[list[Any]](math.inf)

    def says(self, *records: Any) -> None:
        self._send.send_nowait(list(records))

    def answers(self, command: str, data: Any = None, **fields: Any) -> None:
        """Answer the last ``command`` that was sent."""
        id_ = [record["id"] for record in self.sent if record["type"] == command][-1]
        record = {"type": "response", "command": command, "id": id_, "success": True, **fields}
        self.says(record if data is None else {**record, "data": data})


class MemoryTransport(Wire, RecordTransport):
    """A wire that is a transport."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False

    def send_nowait(self, record: bytes) -> None:
        if self.broken:
            raise trio.BrokenResourceError
        decoded = decode_line(record)
        assert isinstance(decoded, dict)
        self.sent.append(decoded)

    async def receive(self) -> Sequence[Any]:
        return await self._receive.receive()

    def interrupt(self) -> None:
        self._send.send_nowait([])

    async def run_sender(self) -> None:
        raise AssertionError("the client does not write by itself")

    def close_sending(self) -> None:
        raise AssertionError("the client does not close anything")


class WebSocketPi(Wire):
    """A wire behind a real WebSocket, over streams in memory. What it answers on a new connection, nobody sees."""

    def __init__(self, *, subprotocol: str | None = "pi-rpc.v1.batch", refusal: int | None = None) -> None:
        super().__init__()
        self.subprotocol = subprotocol
        self.refusal = refusal
        self.state = STATE
        self.greeting: Record | None = {"success": True}
        """What it answers first; ``None``: nothing."""
        self.before_greeting: list[Record] = []
        self.stall: trio.Event | None = None
        """Set, it reads no more until that event."""
        self.full: trio.Event | None = None
        """Set, what the client writes is not taken until that event."""
        self.dialled = 0
        self.headers: dict[bytes, bytes] = {}
        self.connection: trio_websocket.WebSocketConnection | None = None
        self.stream: trio.abc.Stream | None = None

    @asynccontextmanager
    async def dial(self, nursery: trio.Nursery, **options: Any) -> AsyncIterator[WebSocketTransport]:
        """A connection of its own."""
        self.dialled += 1
        ours, theirs = trio.testing.memory_stream_pair()
        self.stream = _Stalling(theirs, self)
        nursery.start_soon(self._serve, self.stream)
        deadline = trio.current_time() + 10
        async with wrap_websocket(_Full(ours, self), "ws://pi", deadline=deadline, **options) as transport:
            yield transport

    async def drop(self) -> None:
        """Be gone, without a word."""
        assert self.stream is not None
        await trio.aclose_forcefully(self.stream)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream, max_message_size=64 * 1024 * 1024)
            self.headers = dict(request.headers)
            if self.refusal is not None:
                await request.reject(self.refusal)
                return
            self.connection = await request.accept(subprotocol=self.subprotocol)
            try:
                async with trio.open_nursery() as speaking:
                    speaking.start_soon(self._speak, self.connection)
                    while True:
                        self._hear(await self.connection.get_message())
            except* trio_websocket.ConnectionClosed:
                pass  # its reader is at the end of the closing handshake

    def _hear(self, message: str | bytes) -> None:
        assert isinstance(message, str), "records are text"
        if self.subprotocol == "pi-rpc.v1.batch":
            assert message.endswith("\n")
            lines = message.removesuffix("\n").split("\n")
        else:
            lines = [message]
        for line in lines:
            record = decode_line(line.encode())
            assert isinstance(record, dict)
            if record.get("id") == "greeting":
                self.says(*self.before_greeting)
                if self.greeting is not None:
                    self.says({"type": "response", "id": "greeting", "data": self.state, **self.greeting})
            else:
                self.sent.append(record)

    async def _speak(self, connection: trio_websocket.WebSocketConnection) -> None:
        async for records in self._receive:
            lines = [encode_record(record).decode() for record in records]
            if self.subprotocol == "pi-rpc.v1.batch":
                await connection.send_message("".join(lines))
            else:
                for line in lines:
                    await connection.send_message(line.rstrip("\n"))


class _Through(trio.abc.Stream):
    """A stream through which a test gets its hands on another."""

    def __init__(self, stream: trio.abc.Stream, pi: WebSocketPi) -> None:
        self._stream = stream
        self._pi = pi

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Stalling(_Through):
    """Pi's end."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        if self._pi.stall is not None:
            await self._pi.stall.wait()
        return data


class _Full(_Through):
    """The client's end."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._pi.full is not None:
            await self._pi.full.wait()
            raise trio.BrokenResourceError
        await self._stream.send_all(data)


def delta(text: str) -> Record:
    return {
        "type": "message_update",
        "assistantMessageEvent": {"type": "text_delta", "contentIndex": 0, "delta": text},
    }


def answer(text: str, stop_reason: str = "stop", **fields: Any) -> Record:
    usage = {"input": 1, "output": 2, "cacheRead": 0, "cacheWrite": 0, "totalTokens": 3, "cost": {"total": 0.5}}
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": text}],
        "provider": "p",
        "model": "m",
        "usage": usage,
        "stopReason": stop_reason,
        **fields,
    }
    return {"type": "message_end", "message": message}


SETTLED: Record = {"type": "agent_settled"}

blocked = trio.testing.wait_all_tasks_blocked


def connected(
    test: Callable[[PiClient, Any], Awaitable[None]],
    *,
    over: Sequence[str] = ("memory", "websocket"),
    handler: DialogHandler | None = None,
) -> None:
    """Run a test on virtual time, with a client that is being served: over a bare transport, and over WebSocket."""
    ways = {"memory": _over_memory, "websocket": _over_websocket}
    for way in over:
        try:
            trio.run(ways[way], test, handler, clock=trio.testing.MockClock(autojump_threshold=0))
        except BaseException as error:
            error.add_note(f"over {way}")
            raise


async def _over_memory(test: Callable[[PiClient, Any], Awaitable[None]], handler: DialogHandler | None) -> None:
    client, transport = PiClient("pi-1", request_timeout=30.0), MemoryTransport()
    client.dialog_handler = handler
    client.attach(transport)
    client.open()
    async with trio.open_nursery() as nursery:
        client.serve_dialogs(nursery)
        nursery.start_soon(client.serve, transport)
        await test(client, transport)
        nursery.cancel_scope.cancel()


async def _over_websocket(test: Callable[[PiClient, Any], Awaitable[None]], handler: DialogHandler | None) -> None:
    client, pi = PiClient("pi-1", request_timeout=30.0), WebSocketPi()
    client.dialog_handler = handler
    async with trio.open_nursery() as nursery:
        connection = Connection(client, partial(pi.dial, nursery), policy=ReconnectPolicy(), greeting_timeout=10.0)
        nursery.start_soon(connection.run)
        await client.wait_connected()
        await test(client, pi)
        nursery.cancel_scope.cancel()


def gone() -> ProcessExited:
    return ProcessExited(instance_id="pi-1", status=ExitStatus(code=3), stderr_tail=b"oh\n")
