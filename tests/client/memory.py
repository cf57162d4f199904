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
        self.dialled = 0
        self.headers: dict[bytes, bytes] = {}
        self.connection: trio_websocket.WebSocketConnection | None = None
        self.stream: trio.abc.Stream | None = None

    @asynccontextmanager
    async def dial(self, nursery: trio.Nursery, **options: Any) -> AsyncIterator[WebSocketTransport]:
        """A connection of its own."""
        self.dialled += 1
        ours, theirs = trio.testing.memory_stream_pair()
        self.stream = theirs
        nursery.start_soon(self._serve, theirs)
        deadline = trio.current_time() + 10
        async with wrap_websocket(ours, "ws://pi", deadline=deadline, **options) as transport:
            yield transport

    async def drop(self) -> None:
        """Be gone, without a word."""
        assert self.stream is not None
        await trio.aclose_forcefully(self.stream)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            self.headers = dict(request.headers)
            if self.refusal is not None:
                await request.reject(self.refusal)
                return
            self.connection = await request.accept(subprotocol=self.subprotocol)
            nursery.start_soon(self._speak, self.connection)
            try:
                while True:
                    self._hear(await self.connection.get_message())
            except trio_websocket.ConnectionClosed:
                nursery.cancel_scope.cancel()

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
                self.says({"type": "response", "id": "greeting", "success": True, "data": self.state})
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
        await nursery.start(client.serve_dialogs)
        nursery.start_soon(client.serve, transport)
        await test(client, transport)
        nursery.cancel_scope.cancel()


async def _over_websocket(test: Callable[[PiClient, Any], Awaitable[None]], handler: DialogHandler | None) -> None:
    client, pi = PiClient("pi-1", request_timeout=30.0), WebSocketPi()
    client.dialog_handler = handler
    async with trio.open_nursery() as nursery:
        connection = Connection(client, partial(pi.dial, nursery), policy=ReconnectPolicy(), greeting_timeout=10.0)
        await nursery.start(connection.run)
        await test(client, pi)
        nursery.cancel_scope.cancel()


def gone() -> ProcessExited:
    return ProcessExited(instance_id="pi-1", status=ExitStatus(code=3), stderr_tail=b"oh\n")
