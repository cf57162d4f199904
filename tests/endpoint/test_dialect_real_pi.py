"""The dialect on the real Pi, with a client that knows nothing but what the issue says about it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from pi_trio.launch import PiInstall
from pi_trio.testing import ModelRequest, ToolUse, Turn
from tests.endpoint.world import Client, connect
from tests.support import run, scripted


@attrs.define
class Caller:
    """Calls, and sorts what comes."""

    peer: Client
    last_id: int = 0
    chunks: list[Any] = attrs.field(factory=list)
    notes: list[Any] = attrs.field(factory=list)

    async def call(self, method: str, **params: Any) -> Any:
        self.last_id += 1
        await self.peer.send({"id": self.last_id, "method": method, "params": params})
        while True:
            message = await self.peer.receive()
            if message.get("type") == "stream":
                assert message["requestId"] == self.last_id
                self.chunks.append(message["chunk"])
            elif message.get("type") == "notification":
                self.notes.append(message)
            else:
                assert message["id"] == self.last_id
                return message

    async def result(self, method: str, **params: Any) -> Any:
        answer = await self.call(method, **params)
        assert "error" not in answer, answer
        return answer["result"]


def script(request: ModelRequest) -> Turn:
    if request.tool_result is not None:
        return Turn(f"It said {request.tool_result}")
    if "weather" in request.prompt:
        return Turn("Let me see.", tools=(ToolUse("weather", {"city": "Oslo"}, id="call-1"),))
    if "bash" in request.prompt:
        return Turn("", tools=(ToolUse("bash", {"command": "echo hello"}),))
    return Turn(["Hel", "lo"])


WEATHER = {
    "name": "weather",
    "description": "The weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def test_a_session_from_beginning_to_end(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world:
            spec = world.spec(python_tools=(), branching=True)
            instance = await world.runtime.spawn(spec, endpoint=True)
            assert instance.endpoint is not None
            async with connect(instance.endpoint.url, world.runtime.endpoints.token, subprotocols=()) as peer:
                caller = Caller(peer)
                began = await caller.result("session.init", provider="scripted", model="scripted-1", tools=[WEATHER])
                assert (began["state"], began["provider"], began["model"]) == ("idle", "scripted", "scripted-1")
                assert began["message_count"] == 0

                reply = await caller.result("session.send", content="hi", checkpoint=True)
                assert reply["content"] == "Hello"
                assert reply["stop_reason"] == "stop"
                assert "node_id" in reply["checkpoint"]

                streamed = await caller.result("session.send_stream", content="run bash")
                kinds = [chunk["type"] for chunk in caller.chunks]
                assert kinds[0] == "tool_call"
                assert kinds[-1] == "done"
                assert {"content", "tool_result"} <= set(kinds)
                (done,) = [chunk["tool_result"] for chunk in caller.chunks if chunk["type"] == "tool_result"]
                assert (done["content"], done["is_error"]) == ("hello\n", False)
                assert streamed["content"].startswith("It said hello")

                asked = await caller.result("session.send", content="what is the weather?")
                assert asked["stop_reason"] == "tool_use"
                (made,) = asked["tool_calls"]
                assert (made["id"], made["name"], made["arguments"]) == ("call-1", "weather", {"city": "Oslo"})
                told = {"tool_call_id": made["id"], "content": "rain"}
                assert (await caller.result("session.send", tool_results=[told]))["content"] == "It said rain"

                status = await caller.result("session.status")
                assert status["message_count"] >= 8
                assert status["token_usage"]["total_tokens"] > 0
                assert datetime.fromisoformat(status["last_activity_at"]).tzinfo is not None

                tree = await caller.result("tree.get")
                assert tree["current_node_id"] in {node["id"] for node in tree["nodes"]}
                assert tree["nodes"][0]["id"] == tree["root_node_id"]
                asked_first = next(node for node in tree["nodes"] if node.get("content") == "hi")
                branched = await caller.result("tree.branch", node_id=asked_first["id"], name="other")
                assert branched["name"] == "other"
                assert (await caller.result("session.send", content="hi again"))["content"] == "Hello"
                tree = await caller.result("tree.get")
                assert len(tree["branches"]) == 2
                old = next(branch for branch in tree["branches"] if not branch["active"])
                assert (await caller.result("tree.switch_branch", branch_id=old["id"]))["branch_id"] == old["id"]

                first = began["session_id"]
                forked = await caller.result("tree.fork", node_id=asked_first["id"])
                assert forked["session_id"] != first
                assert forked["content"] == "hi"

                unknown = await caller.call("session.dance")
                assert unknown["error"]["code"] == "method_not_found"
                wrong = await caller.call("session.switch_model", model="no such model")
                assert wrong["error"]["code"] == "provider_unavailable"
                assert (await caller.result("session.close"))["closed"] is True
                assert (await caller.result("session.status"))["message_count"] == 0
                events = [note["event"] for note in caller.notes]
                assert {"session.state_changed", "message.completed", "tool.called"} <= set(events)
                assert (await caller.result("session.kill"))["killed"] is True
                assert (await peer.closed())[0] == 1001
                await instance.wait_stopped()

    run(main)


def test_another_folder_and_another_prompt_take_another_process(one_pi: PiInstall, tmp_path: Path) -> None:
    seen: list[str] = []

    def listening(request: ModelRequest) -> Turn:
        seen.append(str(request.messages[0].get("content")))
        return Turn("yes")

    async def main() -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        async with scripted(one_pi, tmp_path, listening) as world:
            instance = await world.runtime.spawn(world.spec(), endpoint=True)
            assert instance.endpoint is not None
            before = instance.pid
            async with connect(instance.endpoint.url, world.runtime.endpoints.token, subprotocols=()) as peer:
                caller = Caller(peer)
                began = await caller.result(
                    "session.init", worktree_path=str(elsewhere), system_prompt="Speak like a pirate."
                )
                assert began["worktree_path"] == str(elsewhere)
                assert instance.pid != before
                await caller.result("session.send", content="hi")
                assert "Speak like a pirate." in seen[-1]
                assert str(elsewhere) in seen[-1]
                refused = await caller.call("session.init", worktree_path=str(tmp_path / "nowhere"))
                assert refused["error"]["code"] == "invalid_params"

    run(main)
