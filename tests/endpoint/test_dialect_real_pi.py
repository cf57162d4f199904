"""The dialect on the real Pi, with a client that knows nothing but what the issue says about it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pi_trio import Scope
from pi_trio.launch import PiInstall
from pi_trio.testing import ModelRequest, Turn
from tests.endpoint.caller import WEATHER, Caller, script
from tests.endpoint.world import connect
from tests.support import run, scripted, until


def test_a_session_from_beginning_to_end(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world:
            instance = await world.runtime.spawn(world.spec(), endpoint=True)
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


def test_tools_of_the_peer_answered_while_it_streams_and_gone_with_it(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world:
            instance = await world.runtime.spawn(world.spec(), endpoint=True)
            assert instance.endpoint is not None
            async with connect(
                instance.endpoint.url, world.runtime.endpoints.token, subprotocols=("pi-session.v1",)
            ) as peer:
                caller = Caller(peer)
                await caller.result("session.init", tools=[WEATHER], inherit_context=True)
                assert [tool.name for tool in instance.tools] == ["weather"]
                await peer.send({"id": "s", "method": "session.send_stream", "params": {"content": "the weather?"}})
                while (message := await peer.receive()).get("chunk", {}).get("type") != "tool_call":
                    pass
                made = message["chunk"]["tool_call"]
                told = {"tool_call_id": made["id"], "error": "no idea"}
                await peer.send({"id": "r", "method": "session.submit_tool_result", "params": told})
                answers, chunks = {}, []
                while "s" not in answers:
                    message = await peer.receive()
                    if message.get("type") == "stream":
                        chunks.append(message["chunk"])
                    elif "id" in message:
                        answers[message["id"]] = message
                assert answers["r"]["result"]["accepted"] is True
                (result,) = [chunk["tool_result"] for chunk in chunks if chunk["type"] == "tool_result"]
                assert (result["is_error"], "no idea" in result["content"]) == (True, True)
                assert [chunk["type"] for chunk in chunks][-1] == "done"
                late = await caller.call("session.submit_tool_result", **told)
                assert late["error"]["code"] == "not_found"
            await until(lambda: not list(instance.tools))

    run(main)


def test_wrong_parameters_are_errors_and_scopes_hold(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, script) as world:
            instance = await world.runtime.spawn(world.spec(), endpoint=True)
            assert instance.endpoint is not None
            async with connect(instance.endpoint.url, world.runtime.endpoints.token, subprotocols=()) as peer:
                caller = Caller(peer)
                for method, params in (
                    ("session.send", {}),
                    ("session.send", {"content": 5}),
                    ("session.send", {"content": [{"type": "sound"}]}),
                    ("session.send", {"content": "x", "tool_results": [5]}),
                    ("session.init", {"tools": [5]}),
                    ("session.init", {"tools": [{"name": 5}], "system_prompt": "x"}),
                    ("session.init", {"provider": 5}),
                    ("session.switch_model", {}),
                    ("tree.fork", {}),
                ):
                    answer = await caller.call(method, **params)
                    assert answer["error"]["code"] == "invalid_params", (method, params, answer)
                assert (await caller.call("session.submit_tool_result", tool_call_id="x"))["error"][
                    "code"
                ] == "not_found"
                assert await caller.code("tree.branch", node_id="x") == "not_found"
                assert (await caller.call("tree.fork", node_id="x"))["error"]["code"] == "refused"
            observer = world.runtime.endpoints.issue_token(Scope.OBSERVE)
            async with connect(instance.endpoint.url, observer, subprotocols=()) as peer:
                caller = Caller(peer)
                assert (await caller.result("session.status"))["state"] == "idle"
                assert "nodes" in await caller.result("tree.get")
                for method in ("session.init", "session.send", "session.send_stream", "session.kill", "tree.compact"):
                    assert (await caller.call(method, content="x"))["error"]["code"] == "forbidden"
            prompter = world.runtime.endpoints.issue_token(Scope.CONTROL)
            async with connect(instance.endpoint.url, prompter, subprotocols=()) as peer:
                answer = await Caller(peer).call("session.init", worktree_path=str(tmp_path))
                assert answer["error"]["code"] == "forbidden"

    run(main)
