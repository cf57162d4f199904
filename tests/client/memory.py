"""A transport in memory: a test says what Pi says."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio
import trio.testing

from pi_trio import PiClient, ProcessExited
from pi_trio.abc import ExitStatus, RecordTransport
from pi_trio.protocol import Record, decode_line

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


class MemoryTransport(RecordTransport):
    """What a test says Pi says; and what was said to Pi."""

    def __init__(self) -> None:
        self.sent: list[Record] = []
        self._send, self._receive = trio.open_memory_channel[list[Any]](math.inf)
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

    def says(self, *records: Any) -> None:
        self._send.send_nowait(list(records))

    def answers(self, command: str, data: Any = None, **fields: Any) -> None:
        """Answer the last ``command`` that was sent."""
        id_ = [record["id"] for record in self.sent if record["type"] == command][-1]
        record = {"type": "response", "command": command, "id": id_, "success": True, **fields}
        self.says(record if data is None else {**record, "data": data})


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


def connected(test: Callable[[PiClient, MemoryTransport], Awaitable[None]]) -> None:
    """Run a test on virtual time, with a client that is being served."""

    async def main() -> None:
        client, transport = PiClient("pi-1", request_timeout=30.0), MemoryTransport()
        client.attach(transport)
        client.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.serve, transport)
            await test(client, transport)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def gone() -> ProcessExited:
    return ProcessExited(instance_id="pi-1", status=ExitStatus(code=3), stderr_tail=b"oh\n")
