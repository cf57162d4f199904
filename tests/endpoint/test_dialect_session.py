"""Setting up and changing a session in the dialect, on the real Pi: what is kept, what is refused, what fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pi_trio import Instance, Scope
from pi_trio.launch import PiInstall
from pi_trio.testing import ModelRequest, Turn
from tests.endpoint.caller import WEATHER, Caller, script
from tests.endpoint.world import connect
from tests.support import Scripted, run, scripted


@asynccontextmanager
async def calling(world: Scripted, **spec: Any) -> AsyncIterator[tuple[Instance, Caller]]:
    """An instance, and a client of the dialect that may do everything there."""
    instance = await world.runtime.spawn(world.spec(**spec), endpoint=True)
    assert instance.endpoint is not None
    async with connect(instance.endpoint.url, world.runtime.endpoints.token, subprotocols=()) as peer:
        yield instance, Caller(peer)


def test_an_inherited_session_keeps_its_conversation(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world, calling(world, ephemeral=False) as (instance, caller):
            await caller.result("session.init")
            await caller.result("session.send", content="remember the heron")
            first = await caller.result("session.status")
            assert await caller.result("session.init", inherit_context=True) == first
            pid = instance.pid
            other = await caller.result("session.init", inherit_context=True, system_prompt="Speak like a pirate.")
            assert instance.pid != pid
            assert other["session_id"] == first["session_id"]
            assert other["message_count"] >= first["message_count"]
            await caller.result("session.send", content="and now?")
            asked = str(world.model.requests[-1].messages)
            assert "remember the heron" in asked
            assert "Speak like a pirate." in asked
            fresh = await caller.result("session.init")
            assert fresh["message_count"] == 0
            assert fresh["session_id"] != first["session_id"]
            await caller.result("session.send", content="who are you?")
            assert "heron" not in str(world.model.requests[-1].messages)

    run(main)


def test_a_session_that_is_kept_nowhere_is_not_lost_in_silence(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world, calling(world, ephemeral=True) as (instance, caller):
            changed = {"system_prompt": "Speak like a pirate.", "inherit_context": True}
            await caller.result("session.init", **changed)  # nothing was said yet
            await caller.result("session.send", content="remember the heron")
            pid, before = instance.pid, await caller.result("session.status")
            assert before["message_count"] >= 2
            assert await caller.code("session.init", **{**changed, "system_prompt": "Be brief."}) == "invalid_params"
            assert instance.pid == pid
            assert await caller.result("session.init", **changed) == before
            assert instance.pid == pid

    run(main)


def test_what_cannot_be_had_is_refused_before_anything_has_changed(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, script) as world, calling(world) as (instance, caller):
            await caller.result("session.send", content="hi")
            pid = instance.pid
            before = await caller.result("session.status")
            for code, params in (
                ("provider_unavailable", {"model": "nope"}),
                ("provider_unavailable", {"provider": "nope"}),
                ("invalid_params", {"tools": ["bash", {"description": "of nothing"}]}),
                ("invalid_params", {"tools": ["bash", {**WEATHER, "parameters": 5}]}),
                ("invalid_params", {"worktree_path": str(tmp_path / "nowhere")}),
            ):
                assert await caller.code("session.init", system_prompt="x", **params) == code, params
            assert instance.pid == pid
            assert await caller.result("session.status") == before

    run(main)


def test_tools_of_the_peer_behind_a_choice_of_pis_own(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world, calling(world) as (instance, caller):
            await caller.result("session.init", tools=["bash"])
            await caller.result("session.init", tools=[WEATHER])
            await caller.result("session.send", content="hi")
            offered = [each["function"]["name"] for each in world.model.requests[-1].body["tools"]]
            assert sorted(offered) == ["bash", "weather"]
            pid = instance.pid
            await caller.result("session.init", tools=[WEATHER])
            assert instance.pid == pid  # that one may be used already
            # What takes another process takes another scope, too.
            controller = world.runtime.endpoints.issue_token(Scope.CONTROL)
            assert instance.endpoint is not None
            async with connect(instance.endpoint.url, controller, subprotocols=()) as peer:
                assert await Caller(peer).code("session.init", tools=[{**WEATHER, "name": "tides"}]) == "forbidden"

    run(main)


def test_another_model_and_another_provider(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world:
            world.model.configure(tmp_path / "agent", provider="elsewhere", models=("other-1", "other-2"))
            async with calling(world) as (_, caller):
                first = {"provider": "scripted", "model": "scripted-1"}
                there = {"provider": "elsewhere", "model": "other-1"}
                assert await caller.result("session.switch_provider", provider="elsewhere") == there
                await caller.result("session.send", content="hi")
                assert world.model.requests[-1].model == "other-1"
                other = {"provider": "elsewhere", "model": "other-2"}
                assert await caller.result("session.switch_model", model="other-2") == other
                assert (await caller.result("session.status"))["model"] == "other-2"
                await caller.result("session.send", content="hi")
                assert world.model.requests[-1].model == "other-2"
                assert await caller.result("session.switch_provider", **first) == first
                assert await caller.result("session.switch_provider", provider="elsewhere", model="other-2") == other
                assert await caller.code("session.switch_provider", provider="nope") == "provider_unavailable"
                assert await caller.code("session.switch_provider", provider="scripted", model="other-1") == (
                    "provider_unavailable"
                )
                assert await caller.code("session.switch_provider") == "invalid_params"
                assert await caller.result("session.switch_model", model="other-2") == other

    run(main)


def test_a_model_that_fails_is_an_error_and_in_a_stream_a_chunk(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world, calling(world) as (_, caller):
            answer = await caller.result("session.send_stream", content="fail")
            assert [chunk["type"] for chunk in caller.chunks][-2:] == ["error", "done"]
            error = caller.chunks[-2]["error"]
            assert error["code"] == "run_failed"
            assert "no such thing" in error["message"]
            assert caller.chunks[-1]["stop_reason"] == answer["stop_reason"] == "error"
            failed = (await caller.call("session.send", content="fail"))["error"]
            assert failed["code"] == "run_failed"
            assert "no such thing" in failed["message"]
            assert await caller.code("session.send") == "invalid_params"  # nothing is left of it
            assert (await caller.result("session.send", content="hi"))["content"] == "Hello"

    run(main)


def test_compacting(pi: PiInstall, tmp_path: Path) -> None:
    def talkative(request: ModelRequest) -> Turn:
        if request.prompt in ("one", "two", "three"):
            return Turn("words " * 4000, input_tokens=6000, output_tokens=4000)
        return Turn("The summary.")

    async def main() -> None:
        settings = {"compaction": {"enabled": True, "reserveTokens": 1000, "keepRecentTokens": 2000}}
        async with scripted(pi, tmp_path, talkative) as world:
            world.model.configure(tmp_path / "agent", settings=settings)
            async with calling(world) as (_, caller):
                assert await caller.code("tree.compact") == "refused"  # there is nothing to compact
                for content in ("one", "two", "three"):
                    await caller.result("session.send", content=content)
                done = await caller.result("tree.compact", instructions="dwell on numbers")
                assert "The summary." in done["summary"]
                assert done["tokens_after"] < done["tokens_before"]
                assert any("dwell on numbers" in request.prompt for request in world.model.requests)
                tree = await caller.result("tree.get")
                assert done["first_kept_node_id"] in {node["id"] for node in tree["nodes"]}
                assert "compaction" in {node["type"] for node in tree["nodes"]}

    run(main)
