"""What can be seen of a run and said to it: on the real Pi in both versions, and its deadline on virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from pi_trio import ClientError, ConnectionLost, PiClient, RunBusy, RunFailed, RunOver, RunTimeout, tool
from pi_trio.launch import PiInstall
from pi_trio.protocol import (
    AgentEnd,
    AgentSettled,
    CompactionEnd,
    CompactionStart,
    ImageContent,
    QueueUpdate,
    UserMessage,
)
from pi_trio.testing import ModelRequest, ToolUse, Turn
from tests.client.memory import SETTLED, STATE, MemoryTransport, answer, blocked, connected, delta
from tests.support import run, scripted

ENDLESS = Turn(text=[f"word{n} " for n in range(100_000)], chunk_delay=0.005)

# A resized image is another image: what is compared here is what was sent.
AS_THEY_ARE = {"images": {"autoResize": False}}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def test_what_the_model_thinks_and_which_tools_it_wants(pi: PiInstall, tmp_path: Path) -> None:
    def script(request: ModelRequest) -> Turn:
        if request.tool_result is None:
            tools = [ToolUse("bash", {"command": "echo 1"}), ToolUse("bash", {"command": "echo 2"})]
            return Turn("Let me see.", thinking="I think so.", tools=tools)
        return Turn("Done.", thinking="That is it.")

    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world:
            client = (await world.spawn()).client
            async with client.run("think") as reading:
                assert [piece async for piece in reading.thinking()] == ["I think so.", "That is it."]
                assert reading.settled
            async with client.run("call") as reading:
                calls = [call async for call in reading.tool_calls()]
                assert [(call.name, call.arguments) for call in calls] == [
                    ("bash", {"command": "echo 1"}),
                    ("bash", {"command": "echo 2"}),
                ]
                assert reading.usage == reading.reply.usage
                assert reading.usage.total_tokens == 220
                assert reading.reply.tool_calls == tuple(calls)

    run(main)


def test_tokens_and_cost_so_far(pi: PiInstall, tmp_path: Path) -> None:
    def script(request: ModelRequest) -> Turn:
        return Turn("One", tools=[ToolUse("bash", {"command": "true"})]) if request.tool_result is None else ENDLESS

    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world:
            client = (await world.spawn()).client
            async with client.run("go") as reading:
                assert reading.usage.total_tokens == 0
                async for text in reading.text():
                    if text.startswith("word"):
                        break
                assert reading.usage.total_tokens == 110
                assert reading.usage.cost.total == pytest.approx(120e-6)

    run(main)


COSTLY = """export default (pi) => pi.registerTool({
    name: "costly", label: "costly", description: "asks a model", parameters: { type: "object", properties: {} },
    execute: async () => ({ content: [{ type: "text", text: "x" }], details: {}, usage: {
        input: 1000, output: 100, cacheRead: 0, cacheWrite: 0, totalTokens: 1100,
        cost: { input: 1, output: 1, cacheRead: 0, cacheWrite: 0, total: 2 },
    } }),
});"""


def test_what_a_tool_has_used_belongs_to_the_run(pi: PiInstall, tmp_path: Path) -> None:
    def script(request: ModelRequest) -> Turn:
        return Turn(tools=[ToolUse("costly")]) if request.tool_result is None else Turn("Done.")

    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world:
            client = (await world.spawn(extra_args=world.extension("costly", COSTLY))).client
            usage = (await client.send("go")).usage
            status = await client.status()
            assert (usage.total_tokens, status.tokens) == (1320, 1320)
            assert usage.cost.total == pytest.approx(status.cost)
            assert status.cost > 2

    run(main)


def test_an_image_in_a_prompt(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [Turn("A pixel.")]) as world:
            world.model.configure(tmp_path / "agent", settings=AS_THEY_ARE)
            client = (await world.spawn()).client
            reply = await client.send("What is it?", images=[ImageContent(data=PIXEL, mime_type="image/png")])
            assert reply.text == "A pixel."
            parts = world.model.requests[0].messages[-1]["content"]
            assert [part["type"] for part in parts] == ["text", "image_url"]
            assert PIXEL in parts[1]["image_url"]["url"]

    run(main)


def test_a_run_is_steered_and_followed_up(pi: PiInstall, tmp_path: Path) -> None:
    go_on = trio.Event()

    async def script(request: ModelRequest) -> Turn:
        if request.number == 0:
            await go_on.wait()
            return Turn("Working.", tools=[ToolUse("bash", {"command": "true"})])
        return Turn(f"Heard {request.prompt}.")

    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world:
            world.model.configure(tmp_path / "agent", settings=AS_THEY_ARE)
            client = (await world.spawn()).client
            async with client.run("work") as reading:
                await reading.steer("left", images=[ImageContent(data=PIXEL, mime_type="image/png")])
                await reading.follow_up("then rest")
                go_on.set()
                events = [event async for event in reading]
            assert [request.prompt for request in world.model.requests] == ["work", "left", "then rest"]
            queues = [(event.steering, event.follow_up) for event in events if isinstance(event, QueueUpdate)]
            assert (("left",), ("then rest",)) in queues
            assert [m.text for m in reading.reply.messages if isinstance(m, UserMessage)] == [
                "work",
                "left",
                "then rest",
            ]
            assert reading.reply.text == "Heard then rest."
            assert sum(isinstance(event, AgentSettled) for event in events) == 1

    run(main)


def test_a_run_is_aborted_and_read_to_its_end(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [ENDLESS, Turn("Next.")]) as world:
            client = (await world.spawn()).client
            async with client.run("go on for ever") as reading:
                await anext(reading.text())
                await reading.follow_up("never said")
                taken_back = await reading.abort()
                assert taken_back.follow_up == ("never said",)
                reply = await reading.result()
                assert (reply.stop_reason, reply.ok) == ("aborted", False)
                with pytest.raises(RunOver):
                    await reading.steer("too late")
            with pytest.raises(RunOver):
                await reading.abort()
            assert (await client.send("next")).text == "Next."
            assert len(world.model.requests) == 2

    run(main)


def test_a_run_is_aborted_while_a_tool_runs(pi: PiInstall, tmp_path: Path) -> None:
    calling = trio.Event()

    @tool
    async def dwell() -> None:
        """Dwell."""
        calling.set()
        await trio.sleep_forever()

    async def main() -> None:
        async with scripted(pi, tmp_path, [Turn(tools=[ToolUse("dwell")])]) as world:
            client = (await world.spawn(python_tools=(dwell,))).client
            async with client.run("go") as reading:
                await calling.wait()
                await reading.abort()
                assert (await reading.result()).stop_reason == "aborted"

    run(main)


def test_a_run_that_takes_too_long_is_aborted(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [ENDLESS, Turn("Next.")]) as world:
            client = (await world.spawn()).client
            with pytest.raises(RunTimeout, match=r"within 0\.5 s") as caught:
                async with client.run("go on for ever", timeout=0.5) as reading:
                    async for _ in reading:
                        pass
            assert caught.value.reply == reading.reply
            assert not (await client.get_state()).is_streaming
            assert (await client.send("next", timeout=50)).text == "Next."

    run(main)


def test_a_compaction_inside_a_run_does_not_end_it(pi: PiInstall, tmp_path: Path) -> None:
    async def script(request: ModelRequest) -> Turn:
        if request.prompt.startswith("prompt"):
            if request.prompt == "prompt 3" and request.tool_result is None:
                tools = [ToolUse("bash", {"command": "true"})]
                return Turn("words " * 3000, input_tokens=127_900, tools=tools)
            return Turn(f"Answer to {request.prompt}. " + "words " * 3000)
        return Turn("The summary.", input_tokens=5000, output_tokens=500)

    async def main() -> None:
        settings = {"compaction": {"enabled": True, "reserveTokens": 1000, "keepRecentTokens": 2000}}
        async with scripted(pi, tmp_path, script) as world:
            world.model.configure(tmp_path / "agent", settings=settings)
            client = (await world.spawn()).client
            await client.send("prompt 1")
            await client.send("prompt 2")
            before = await client.status()
            async with client.run("prompt 3") as reading:
                events = [event async for event in reading]
            after = await client.status()
            kinds = [
                type(event) for event in events if isinstance(event, CompactionStart | CompactionEnd | AgentSettled)
            ]
            assert kinds == [CompactionStart, CompactionEnd, AgentSettled]
            (end,) = [event for event in events if isinstance(event, CompactionEnd)]
            assert end.reason == "threshold"
            assert end.result is not None
            assert end.result.usage is not None
            assert end.result.usage.total_tokens >= 5500
            assert reading.usage.total_tokens == after.tokens - before.tokens
            assert reading.usage.cost.total == pytest.approx(after.cost - before.cost)
            assert reading.reply.ok
            assert any(isinstance(event, AgentEnd) for event in events)
            assert (await client.send("prompt 4")).text.startswith("Answer to prompt 4.")

    run(main)


# --- on virtual time ---------------------------------------------------------------------------------


async def settle(transport: MemoryTransport) -> None:
    """Play a Pi that is told to abort."""
    for command, data in (("clear_queue", {"steering": [], "followUp": []}), ("abort", None), ("get_state", STATE)):
        await blocked()
        transport.answers(command, data)


def test_the_deadline_of_a_run_cancels_its_body() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async def play() -> None:
            await blocked()
            transport.answers("prompt", {"disposition": "started"})
            transport.says(delta("x"), answer("so far"))
            await trio.sleep(2)
            await settle(transport)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            started = trio.current_time()
            with pytest.raises(RunTimeout) as caught:
                async with client.run("hi", timeout=2) as reading:
                    assert [event async for event in reading]
            assert trio.current_time() - started == 2
            assert caught.value.timeout == 2
            assert caught.value.reply is not None
            assert caught.value.reply.text == "so far"
            assert isinstance(caught.value, ClientError)

    connected(test)


def test_the_deadline_of_a_run_that_waits_for_its_turn() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, "first")
            await blocked()
            transport.answers("prompt", {"disposition": "started"})
            await blocked()
            with pytest.raises(RunTimeout) as caught:
                await client.send("second", timeout=2)
            assert caught.value.reply is None
            transport.says(answer("done"), SETTLED)
        assert [record["type"] for record in transport.sent] == ["prompt"]

    connected(test)


def test_a_run_in_time_is_not_disturbed_and_the_callers_own_cancellation_is_its_own() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async def play() -> None:
            await blocked()
            transport.answers("prompt", {"disposition": "started"})
            transport.says(answer("done"), SETTLED)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            assert (await client.send("hi", timeout=2)).text == "done"
            await trio.sleep(10)
            with trio.move_on_after(1) as scope:
                await client.send("hi", timeout=5)
            assert scope.cancelled_caught

    connected(test)


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_time_out_that_is_none(timeout: float) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        with pytest.raises(ValueError, match="non-negative|NaN"):
            await client.send("hi", timeout=timeout)
        assert transport.sent == []

    connected(test)


def test_a_run_inside_a_run_of_the_same_task_does_not_wait_for_itself() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async def play() -> None:
            await blocked()
            transport.answers("prompt", {"disposition": "started"})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            async with client.run("outer") as reading:
                with pytest.raises(RunBusy, match="wait for itself"):
                    await client.send("inner")
                with pytest.raises(ValueError, match="if_busy"):
                    await client.run("inner", if_busy="never").__aenter__()  # type: ignore[arg-type]
                transport.says(answer("done"), SETTLED)
                assert (await reading.result()).text == "done"
        assert [record["type"] for record in transport.sent] == ["prompt"]

    connected(test)


@pytest.mark.parametrize(
    ("data", "mime_type"), [(b"raw", "image/png"), ("", None), (None, None)], ids=["bytes", "no type", "no image"]
)
def test_an_image_that_is_none_is_not_sent(data: Any, mime_type: Any) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        image: Any = b"raw" if data is None else ImageContent(data=data, mime_type=mime_type)
        with pytest.raises(TypeError, match="an image is an ImageContent"):
            await client.prompt("look", images=[image])
        assert transport.sent == []

    connected(test)


def test_why_a_run_is_left_is_told_though_pi_answers_nonsense() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async def play() -> None:
            await blocked()
            transport.answers("prompt", {"disposition": "started"})
            await blocked()
            transport.answers("clear_queue", {"steering": "nonsense"})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            with pytest.raises(ZeroDivisionError):
                async with client.run("hi"):
                    raise ZeroDivisionError

    connected(test)


def test_what_would_make_every_later_state_unreadable_is_not_sent() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        wrong: Any = "sometimes"
        for setter in (client.set_steering_mode, client.set_follow_up_mode):
            with pytest.raises(ValueError, match="'one-at-a-time'"):
                await setter(wrong)
        for switch in (client.set_auto_compaction, client.set_auto_retry):
            with pytest.raises(TypeError, match="a bool"):
                await switch(wrong)
        assert transport.sent == []

    connected(test)


def test_a_run_that_pi_has_ended_is_told_nothing_more_though_its_end_is_not_read() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        ended = trio.Event()

        async def play() -> None:
            await blocked()
            transport.says(SETTLED)  # the end of something else
            transport.answers("prompt", {"disposition": "started"})
            await blocked()
            transport.answers("steer")
            await blocked()
            transport.says(answer("done"), SETTLED)
            await blocked()
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            async with client.run("hi") as reading:
                await reading.steer("in time")
                await ended.wait()
                for say in (reading.steer, reading.follow_up):
                    with pytest.raises(RunOver, match="Pi has ended"):
                        await say("too late")
                assert (await reading.result()).text == "done"
        assert [record["type"] for record in transport.sent] == ["prompt", "steer"]

    connected(test)


def test_an_abort_does_not_hide_that_a_run_has_failed() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        ended = trio.Event()

        async def play() -> None:
            await blocked()
            transport.answers("prompt", {"disposition": "started"})
            transport.says(answer("", "error", errorMessage="overloaded"), SETTLED)
            await blocked()
            ended.set()
            await blocked()
            transport.answers("clear_queue", {"steering": [], "followUp": []})
            await blocked()
            transport.answers("abort")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            async with client.run("hi") as reading:
                await ended.wait()
                await reading.abort()
                with pytest.raises(RunFailed, match="overloaded"):
                    await reading.result()

    connected(test)


def test_a_prompt_that_was_lost_with_its_pi_leaves_nothing_to_end() -> None:
    async def test(client: PiClient, pi: MemoryTransport) -> None:
        async def prompts() -> None:
            with pytest.raises(ConnectionLost, match="it died") as caught:
                await client.send("hi")
            assert caught.value.uncertain is True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(prompts)
            await blocked()
            pi.answers("prompt", success=False, error="it died", lost=True)
        # The Pi that took over may be at somebody else's run.
        assert [record["type"] for record in pi.sent] == ["prompt"]

    connected(test)
