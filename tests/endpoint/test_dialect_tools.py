"""Tools that a client of the dialect runs: every way in which it may bring their results, and what must not hang meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from pi_trio import Instance, RestartType, tool
from pi_trio.launch import PiInstall
from tests.endpoint.caller import WEATHER, Caller, result_of, script, text_of
from tests.endpoint.world import connect
from tests.support import run, scripted


@asynccontextmanager
async def conversation(pi: PiInstall, folder: Path, **spec: Any) -> AsyncIterator[tuple[Instance, Caller]]:
    """With a Pi that may call ``weather``, which the caller runs."""
    async with scripted(pi, folder, script) as world:
        instance = await world.runtime.spawn(world.spec(**spec), endpoint=True)
        assert instance.endpoint is not None
        async with connect(instance.endpoint.url, world.runtime.endpoints.token, subprotocols=()) as peer:
            caller = Caller(peer)
            await caller.result("session.init", provider="scripted", model="scripted-1", tools=[WEATHER])
            yield instance, caller


def conversing(pi: PiInstall, folder: Path, test: Callable[[Caller], Awaitable[None]]) -> None:
    async def main() -> None:
        async with conversation(pi, folder) as (_, caller):
            await test(caller)

    run(main)


async def send_until_tool_use(caller: Caller, content: str = "the weather?") -> Any:
    answer = await caller.result("session.send", content=content)
    assert answer["stop_reason"] == "tool_use"
    return answer


def test_results_sent_as_a_stream_get_the_rest_as_a_stream(one_pi: PiInstall, tmp_path: Path) -> None:
    async def test(caller: Caller) -> None:
        first = await caller.ask("session.send_stream", content="the weather?")
        made = await caller.tool_call(first)
        second = await caller.ask("session.send_stream", tool_results=[result_of(made["id"])])
        rest = (await caller.answer(second))["result"]
        assert (rest["content"], rest["stop_reason"]) == ("It said rain", "stop")
        kinds = [chunk["type"] for chunk in caller.streams[second]]
        assert kinds[0] == "tool_result"
        assert text_of(caller.streams[second]) == "It said rain"
        assert caller.streams[second][-1]["stop_reason"] == "stop"
        # The stream that called the tool is over with that, and knows it.
        assert caller.streams[first][-1] == {"type": "done", "stop_reason": "tool_use"}
        assert text_of(caller.streams[first]) == "Let me see."
        assert (await caller.answer(first))["result"]["stop_reason"] == "tool_use"
        assert (await caller.result("session.send", content="hi"))["content"] == "Hello"

    conversing(one_pi, tmp_path, test)


def test_results_sent_while_a_stream_is_open_get_the_rest_as_an_answer(one_pi: PiInstall, tmp_path: Path) -> None:
    async def test(caller: Caller) -> None:
        first = await caller.ask("session.send_stream", content="the weather?")
        made = await caller.tool_call(first)
        rest = await caller.result("session.send", tool_results=[result_of(made["id"])])
        assert (rest["content"], rest["stop_reason"]) == ("It said rain", "stop")
        assert (await caller.answer(first))["result"]["stop_reason"] == "tool_use"

    conversing(one_pi, tmp_path, test)


def test_a_stream_goes_on_behind_a_submitted_result(one_pi: PiInstall, tmp_path: Path) -> None:
    async def test(caller: Caller) -> None:
        first = await caller.ask("session.send_stream", content="the weather?")
        made = await caller.tool_call(first)
        assert (await caller.result("session.submit_tool_result", **result_of(made["id"])))["accepted"] is True
        rest = (await caller.answer(first))["result"]
        assert (rest["content"], rest["stop_reason"]) == ("It said rain", "stop")
        assert text_of(caller.streams[first]) == "Let me see.It said rain"

    conversing(one_pi, tmp_path, test)


@pytest.mark.parametrize("method", ["session.send", "session.send_stream"])
def test_a_call_without_content_gets_the_rest_behind_a_submitted_result(
    one_pi: PiInstall, tmp_path: Path, method: str
) -> None:
    async def test(caller: Caller) -> None:
        await send_until_tool_use(caller)
        submitted = await caller.ask("session.submit_tool_result", **result_of("call-1"))
        rest = await caller.result(method)  # asked for in the same breath
        assert (await caller.answer(submitted))["result"]["accepted"] is True
        assert (rest["content"], rest["stop_reason"]) == ("It said rain", "stop")
        assert await caller.code(method) == "invalid_params"  # there is no more
        # And when it is over before anybody asks for it.
        await send_until_tool_use(caller)
        await caller.result("session.submit_tool_result", **result_of("call-1", "snow"))
        while (await caller.result("session.status"))["state"] == "busy":
            pass
        assert (await caller.result(method))["content"] == "It said snow"

    conversing(one_pi, tmp_path, test)


def test_results_sent_as_a_stream_behind_a_plain_answer(one_pi: PiInstall, tmp_path: Path) -> None:
    async def test(caller: Caller) -> None:
        await send_until_tool_use(caller)
        rest = await caller.result("session.send_stream", tool_results=[result_of("call-1")])
        assert rest["content"] == text_of(caller.chunks) == "It said rain"

    conversing(one_pi, tmp_path, test)


@pytest.mark.parametrize("method", ["session.send", "session.send_stream"])
def test_who_brings_one_of_two_results_is_told_at_once_that_the_other_is_awaited(
    one_pi: PiInstall, tmp_path: Path, method: str
) -> None:
    async def test(caller: Caller) -> None:
        asked = await send_until_tool_use(caller, "the weather in two cities?")
        assert [made["id"] for made in asked["tool_calls"]] == ["call-1", "call-2"]
        half = await caller.result(method, tool_results=[result_of("call-1")])
        assert (half["stop_reason"], [made["id"] for made in half["tool_calls"]]) == ("tool_use", ["call-2"])
        if method == "session.send_stream":
            assert caller.chunks[-1] == {"type": "done", "stop_reason": "tool_use"}
        # One that is none takes no other with it.
        wrong = [result_of("call-2", "snow"), result_of("call-3")]
        assert await caller.code(method, tool_results=wrong) == "not_found"
        rest = await caller.result(method, tool_results=[result_of("call-2", "snow")])
        assert rest["content"] == "It said snow"

    conversing(one_pi, tmp_path, test)


WAITING_CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("session.init", {}),
    ("session.send", {"content": "hi"}),
    ("session.send_stream", {"content": "hi"}),
    ("tree.branch", {"name": "x"}),
    ("tree.switch_branch", {"branch_id": "x"}),
    ("tree.fork", {"node_id": "x"}),
    ("tree.compact", {}),
)


@pytest.mark.parametrize("streaming", [False, True])
def test_while_a_result_is_awaited_what_would_wait_for_it_is_busy(
    one_pi: PiInstall, tmp_path: Path, streaming: bool
) -> None:
    async def test(caller: Caller) -> None:
        if streaming:
            first = await caller.ask("session.send_stream", content="the weather?")
            early = await caller.ask("tree.compact")  # asked for before the tool was called
            await caller.tool_call(first)
            assert (await caller.answer(early))["error"]["code"] == "busy"
        else:
            await send_until_tool_use(caller)
        for method, params in WAITING_CALLS:
            answer = await caller.call(method, **params)
            assert answer["error"]["code"] == "busy", (method, answer)
            assert "session.submit_tool_result" in answer["error"]["message"]
        if streaming:
            assert await caller.code("session.send") == "invalid_params"  # the rest is heard by the stream
        else:
            assert (await caller.result("session.send"))["stop_reason"] == "tool_use"
        assert (await caller.result("session.status"))["state"] == "busy"
        assert (await caller.result("tree.get"))["nodes"]
        await caller.result("session.switch_model", model="scripted-1")
        await caller.result("session.submit_tool_result", **result_of("call-1"))
        if streaming:
            assert (await caller.answer(first))["result"]["content"] == "It said rain"
        assert (await caller.result("session.send", content="hi"))["content"] == "Hello"
        assert (await caller.result("session.init"))["message_count"] == 0

    conversing(one_pi, tmp_path, test)


def test_closing_ends_a_run_that_waits_for_a_result(one_pi: PiInstall, tmp_path: Path) -> None:
    async def test(caller: Caller) -> None:
        await send_until_tool_use(caller)
        assert (await caller.result("session.close"))["closed"] is True
        assert await caller.code("session.send") == "invalid_params"  # nothing is left of it
        assert await caller.code("session.send", tool_results=[result_of("call-1")]) == "invalid_params"
        assert (await caller.result("session.send", content="hi"))["content"] == "Hello"

    conversing(one_pi, tmp_path, test)


def test_a_new_message_behind_the_results_is_heard_in_the_same_run(one_pi: PiInstall, tmp_path: Path) -> None:
    async def test(caller: Caller) -> None:
        await send_until_tool_use(caller)
        rest = await caller.result("session.send", content="in short", tool_results=[result_of("call-1")])
        assert rest["stop_reason"] == "stop"
        nodes = (await caller.result("tree.get"))["nodes"]
        assert "in short" in [node.get("content") for node in nodes if node.get("role") == "user"]

    conversing(one_pi, tmp_path, test)


def test_a_run_of_somebody_else_that_waits_for_the_peer_makes_it_busy_too(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with conversation(one_pi, tmp_path) as (instance, caller), trio.open_nursery() as nursery:
            replies: list[str] = []

            async def host() -> None:
                replies.append((await instance.client.send("the weather?")).text)

            nursery.start_soon(host)
            while (await caller.hear()).get("event") != "tool.called":
                pass
            assert await caller.code("tree.branch", name="x") == "busy"
            assert await caller.code("session.send", content="hi") == "busy"
            # It is no exchange of the peer's: there is nothing to go on with, and nothing was taken.
            assert await caller.code("session.send", tool_results=[result_of("call-1")]) == "invalid_params"
            await caller.result("session.submit_tool_result", **result_of("call-1"))
            assert (await caller.result("session.send", content="hi"))["content"] == "Hello"
            assert replies == ["It said rain"]

    run(main)


def test_a_pi_that_dies_while_a_result_is_awaited_is_an_error_at_once(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with conversation(one_pi, tmp_path, restart=RestartType.PERMANENT) as (instance, caller):
            await send_until_tool_use(caller)
            assert instance.pid is not None
            os.kill(instance.pid, signal.SIGKILL)
            while "result" in (rest := await caller.call("session.send")):
                assert rest["result"]["stop_reason"] == "tool_use"  # nobody has noticed yet
            assert rest["error"]["code"] == "connection_closed"
            assert await caller.code("session.send", tool_results=[result_of("call-1")]) == "invalid_params"
            assert (await caller.result("session.send", content="hi"))["content"] == "Hello"

    run(main)


def test_an_instance_with_an_endpoint_keeps_the_tools_of_its_program(one_pi: PiInstall, tmp_path: Path) -> None:
    @tool
    async def tides(city: str) -> str:
        """The tides."""
        return city

    async def main() -> None:
        async with conversation(one_pi, tmp_path, python_tools=(tides,)) as (instance, caller):
            assert [each.name for each in instance.tools] == ["tides", "weather"]
            await caller.result("session.init", tools=[])
            assert [each.name for each in instance.tools] == ["tides"]

    run(main)
