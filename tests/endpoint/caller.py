"""A client of the dialect that knows nothing but what the issue says about it, and the model that it talks to."""

from __future__ import annotations

from typing import Any

import attrs

from pi_trio.testing import ModelRequest, ToolUse, Turn
from tests.endpoint.world import Client

WEATHER = {
    "name": "weather",
    "description": "The weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def script(request: ModelRequest) -> Turn:
    if request.tool_result is not None:
        return Turn(f"It said {request.tool_result}")
    if "two cities" in request.prompt:
        uses = (ToolUse("weather", {"city": "Oslo"}, id="call-1"), ToolUse("weather", {"city": "Rome"}, id="call-2"))
        return Turn("Both.", tools=uses)
    if "weather" in request.prompt:
        return Turn("Let me see.", tools=(ToolUse("weather", {"city": "Oslo"}, id="call-1"),))
    if "bash" in request.prompt:
        return Turn("", tools=(ToolUse("bash", {"command": "echo hello"}),))
    if "fail" in request.prompt:
        return Turn("no such thing", status=400)
    return Turn(["Hel", "lo"])


@attrs.define
class Caller:
    """Calls, and sorts what comes."""

    peer: Client
    last_id: int = 0
    chunks: list[Any] = attrs.field(factory=list)
    """The last call's."""
    notes: list[Any] = attrs.field(factory=list)
    answers: dict[int, Any] = attrs.field(factory=dict)
    streams: dict[int, list[Any]] = attrs.field(factory=dict)

    async def ask(self, method: str, **params: Any) -> int:
        """Call, and wait for nothing."""
        self.last_id += 1
        self.chunks = self.streams[self.last_id] = []
        await self.peer.send({"id": self.last_id, "method": method, "params": params})
        return self.last_id

    async def hear(self) -> Any:
        """The next message."""
        message = await self.peer.receive()
        if message.get("type") == "stream":
            self.streams[message["requestId"]].append(message["chunk"])
        elif message.get("type") == "notification":
            self.notes.append(message)
        else:
            self.answers[message["id"]] = message
        return message

    async def answer(self, id_: int) -> Any:
        while id_ not in self.answers:
            await self.hear()
        return self.answers[id_]

    async def tool_call(self, id_: int) -> Any:
        """The last tool that a stream says is called, as soon as there is one."""
        while not (calls := [each["tool_call"] for each in self.streams[id_] if each["type"] == "tool_call"]):
            assert id_ not in self.answers
            await self.hear()
        return calls[-1]

    async def call(self, method: str, **params: Any) -> Any:
        return await self.answer(await self.ask(method, **params))

    async def result(self, method: str, **params: Any) -> Any:
        answer = await self.call(method, **params)
        assert "error" not in answer, answer
        return answer["result"]

    async def code(self, method: str, **params: Any) -> Any:
        """Of the error that it is answered with."""
        answer = await self.call(method, **params)
        assert "error" in answer, answer
        return answer["error"]["code"]


def result_of(call_id: str, content: str = "rain") -> dict[str, str]:
    """What a client sends for a tool's call."""
    return {"tool_call_id": call_id, "content": content}


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk["content"] for chunk in chunks if chunk["type"] == "content")
