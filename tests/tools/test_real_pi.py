"""Python tools on the real Pi, in both versions, called by the scripted model."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import AsyncIterable
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import pytest
import trio

from pi_trio import (
    Backoff,
    ConnectionClosed,
    ProcessExited,
    RestartPolicy,
    RestartType,
    Tool,
    ToolContext,
    ToolError,
    ToolImage,
    ToolSpecError,
    open_runtime,
    tool,
)
from pi_trio.abc import ExitStatus
from pi_trio.launch import PiInstall
from pi_trio.process import list_processes
from pi_trio.protocol import Notify, ToolExecutionEnd, ToolExecutionUpdate, UIRequest
from pi_trio.testing import ModelRequest, ToolUse, Turn
from tests.support import left_of, run, scripted, served, until

T = TypeVar("T")

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def alive(pid: int) -> bool:
    """Whether a process with this id runs."""
    return any(process.pid == pid and process.alive for process in list_processes())


async def first(kind: type[T], events: AsyncIterable[object]) -> T:
    """The first event of that type."""
    async for event in events:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__} came")


def calls(*uses: ToolUse) -> list[Turn]:
    """A model that calls these tools at once, and says what came of them."""
    return [Turn(tools=uses), Turn("Done.")]


def told(request: ModelRequest) -> list[str]:
    """The results of the last turn's calls, as the model sees them."""
    results: list[str] = []
    for message in reversed(request.messages):
        if message["role"] != "tool":
            break
        content = message["content"]
        results.insert(0, content if isinstance(content, str) else "".join(part.get("text", "") for part in content))
    return results


def names(request: ModelRequest) -> set[str]:
    """The tools that the model may call."""
    return {each["function"]["name"] for each in request.body.get("tools", ())}


@tool
async def order(
    dish: str, count: int = 1, size: Literal["small", "large"] = "small", notes: list[str] | None = None
) -> str:
    """Order a dish.

    Args:
        dish: what to order.
        count: how many of it.
    """
    return f"{count} {size} {dish} {notes}"


def test_a_tool_is_called_with_its_arguments(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        use = ToolUse("order", {"dish": "Grüße \u2028 \N{PILE OF POO}", "count": 2, "notes": ["a", "b"]})
        async with scripted(pi, tmp_path, calls(use)) as world:
            instance = await world.spawn(python_tools=(order,))
            reply = await instance.client.send("go")
            assert reply.text == "Done."
            first, second = world.model.requests
            assert told(second) == ["2 small Grüße \u2028 \N{PILE OF POO} ['a', 'b']"]
            (declared,) = [each["function"] for each in first.body["tools"] if each["function"]["name"] == "order"]
            assert declared["description"] == "Order a dish."
            assert declared["parameters"]["properties"]["dish"] == {"type": "string", "description": "what to order."}
            assert declared["parameters"]["required"] == ["dish"]

    run(main)


def test_what_cannot_be_an_argument_is_told_to_the_model_which_corrects_it(pi: PiInstall, tmp_path: Path) -> None:
    ran: list[tuple[float, str]] = []

    @tool
    async def place(at: tuple[float, str], name: str) -> None:
        """Place a thing."""
        ran.append(at)

    async def main() -> None:
        script = [
            Turn(tools=[ToolUse("place", {"at": [1, "x"]})]),  # Pi's own validation
            Turn(tools=[ToolUse("place", {"at": ["x", 1], "name": "n"})]),  # what a schema does not say is ours
            Turn(tools=[ToolUse("place", {"at": [1, "x"], "name": "n"})]),
            Turn("Done."),
        ]
        async with scripted(pi, tmp_path, script) as world:
            instance = await world.spawn(python_tools=(place,))
            assert (await instance.client.send("go")).text == "Done."
            by_pi, by_us, well = [told(request)[0] for request in world.model.requests[1:]]
            assert "\n  - name: " in by_pi
            assert by_us.splitlines() == [
                "The arguments of place do not fit:",
                "- at[0]: a string where a number is wanted",
                "- at[1]: an integer where a string is wanted",
                "Nothing was done. Correct them and call it again.",
            ]
            assert well == "(no result)"
            assert ran == [(1.0, "x")]

    run(main)


def test_a_pi_that_serves_websocket_calls_them_too(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(served(pi), tmp_path, calls(ToolUse("order", {"dish": "soup"}))) as world:
            instance = await world.spawn(python_tools=(order,))
            assert (await instance.client.send("go")).text == "Done."
            assert told(world.model.requests[-1]) == ["1 small soup None"]

    run(main)


LOSSY: dict[type, list[object]] = {
    int: [None, True, 1.5, "", "1.9", "true"],
    str: [None],
    list[int]: [None, "", 1.5],
    list[str]: [[None]],
    dict[str, int]: [{"a": 1.7}],
}


def test_what_pi_would_make_something_else_of_is_told_to_the_model(pi: PiInstall, tmp_path: Path) -> None:
    seen: list[object] = []

    def taking(number: int, kind: object) -> Tool:
        async def take(value: object) -> None:
            seen.append(value)

        take.__annotations__["value"] = kind
        return Tool.from_function(take, name=f"take_{number}", description="Take it.")

    async def main() -> None:
        tools = [taking(number, kind) for number, kind in enumerate(LOSSY)]
        uses = [
            ToolUse(f"take_{number}", {"value": each})
            for number, values in enumerate(LOSSY.values())
            for each in values
        ]
        spelled = ToolUse("take_0", {"value": "5"})  # the same in other words
        async with scripted(pi, tmp_path, calls(*uses, spelled)) as world:
            instance = await world.spawn(python_tools=tools)
            await instance.client.send("go")
            *refused, taken = told(world.model.requests[-1])
            assert taken == "(no result)"
            assert seen == [5]
            assert len(refused) == len(uses)
            assert all("value" in each for each in refused)

    run(main)


def test_calls_run_side_by_side_up_to_the_limit(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        running, most = 0, 0
        full, enough = trio.Event(), trio.Event()

        @tool
        async def wait(number: int) -> int:
            """Wait until two are waiting."""
            nonlocal running, most
            running += 1
            most = max(most, running)
            if running == 2:
                full.set()
            await full.wait()
            await enough.wait()
            running -= 1
            return number

        uses = [ToolUse("wait", {"number": number}) for number in range(5)]
        async with scripted(one_pi, tmp_path, calls(*uses)) as world, trio.open_nursery() as nursery:
            instance = await world.spawn(python_tools=(wait,), max_concurrent_tools=2)
            nursery.start_soon(instance.client.send, "go")
            await full.wait()
            # Pi has asked for all of them before it reads an answer to this.
            await instance.client.get_state()
            assert (running, most) == (2, 2)
            enough.set()
        assert most == 2
        assert told(world.model.requests[1]) == ["0", "1", "2", "3", "4"]

    run(main)


def test_progress_is_seen_as_events_in_order(pi: PiInstall, tmp_path: Path) -> None:
    @tool
    async def climb(context: ToolContext, steps: int) -> dict[str, int]:
        """Climb."""
        await context.progress("started")
        for step in range(steps):
            await context.progress({"step": step})
        assert (context.tool, context.call_id, context.instance_id) == ("climb", "c1", "pi-1")
        return {"steps": steps}

    async def main() -> None:
        async with scripted(pi, tmp_path, calls(ToolUse("climb", {"steps": 20}, id="c1"))) as world:
            instance = await world.spawn(python_tools=(climb,))
            async with instance.client.run("go") as reading:
                events = [event async for event in reading]
            updates = [event.raw["partialResult"] for event in events if isinstance(event, ToolExecutionUpdate)]
            assert updates[0] == {"content": [{"type": "text", "text": "started"}]}
            assert [update["details"]["step"] for update in updates[1:]] == list(range(20))
            (end,) = [event for event in events if isinstance(event, ToolExecutionEnd)]
            assert not end.is_error
            assert end.raw["result"] == {
                "content": [{"type": "text", "text": '{"steps":20}'}],
                "details": {"steps": 20},
            }
            assert not any(isinstance(event, UIRequest) for event in events), "those are ours"

    run(main)


def test_what_a_function_raises_is_a_tool_error(pi: PiInstall, tmp_path: Path) -> None:
    @tool
    async def refuse() -> None:
        """Say no."""
        raise ToolError("Not on a Sunday: ask for another day.")

    @tool
    async def crash() -> None:
        """Divide by zero in two tasks."""

        async def divide() -> None:
            await trio.lowlevel.checkpoint()
            _ = 1 / 0

        async with trio.open_nursery() as nursery:
            nursery.start_soon(divide)

    @tool
    async def unspeakable() -> object:
        """Return what JSON cannot say."""
        return {"it": object()}

    async def main() -> None:
        uses = (ToolUse("refuse"), ToolUse("crash"), ToolUse("unspeakable"))
        async with scripted(pi, tmp_path, [*calls(*uses), Turn("Alive.")]) as world:
            instance = await world.spawn(python_tools=(refuse, crash, unspeakable))
            async with instance.client.run("go") as reading:
                events = [event async for event in reading]
            assert [event.is_error for event in events if isinstance(event, ToolExecutionEnd)] == [True, True, True]
            no, crashed, unsaid = told(world.model.requests[1])
            assert no == "Not on a Sunday: ask for another day."
            assert crashed == "ZeroDivisionError: division by zero"
            assert unsaid.startswith("unspeakable returned something that JSON cannot say")
            assert (await instance.client.send("still there?")).text == "Alive."

    run(main)


class Probe:
    """A tool that waits, and remembers how it ended."""

    def __init__(self) -> None:
        self.started = trio.Event()
        self.cancelled = False
        self.unwound = False

    async def dwell(self, context: ToolContext, with_progress: bool = False) -> None:
        """Dwell for ever."""
        if with_progress:
            await context.progress("dwelling")
        self.started.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled = True
            with trio.CancelScope(shield=True):
                for _ in range(10):  # it takes its time
                    await trio.lowlevel.checkpoint()
            self.unwound = True
            raise

    @property
    def tool(self) -> Tool:
        return Tool.from_function(self.dwell)


@pytest.mark.parametrize("with_progress", [False, True])
def test_when_pi_aborts_the_function_is_cancelled(pi: PiInstall, tmp_path: Path, with_progress: bool) -> None:
    async def main() -> None:
        probe = Probe()
        script = [*calls(ToolUse("dwell", {"with_progress": with_progress}))[:1], Turn("Alive.")]
        async with scripted(pi, tmp_path, script) as world:
            instance = await world.spawn(python_tools=(probe.tool,))
            with instance.client.subscribe() as events:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(partial(instance.client.send, "go", check=False))
                    await probe.started.wait()
                    await instance.client.abort()
                    assert probe.unwound, "Pi has waited for the function"
                end = await first(ToolExecutionEnd, events)
            assert end.is_error
            assert end.raw["result"]["content"][0]["text"] == "dwell was cancelled: Pi aborted it"
            assert (await instance.client.send("still there?")).text == "Alive."

    run(main)


def test_a_call_that_waits_for_its_turn_is_aborted_without_having_run(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        started = trio.Event()
        runs: list[int] = []

        @tool
        async def dwell(number: int) -> None:
            """Dwell for ever."""
            runs.append(number)
            started.set()
            await trio.sleep_forever()

        uses = [ToolUse("dwell", {"number": number}) for number in range(2)]
        async with scripted(one_pi, tmp_path, calls(*uses)) as world:
            instance = await world.spawn(python_tools=(dwell,), max_concurrent_tools=1)
            async with instance.client.run("go") as reading:
                await started.wait()
                await instance.client.get_state()  # Pi has asked for both by now
                await instance.client.abort()
                ends = [event async for event in reading if isinstance(event, ToolExecutionEnd)]
        assert len(runs) == 1, "whichever had its turn"
        assert [end.is_error for end in ends] == [True, True]

    run(main)


def test_an_abort_does_not_wait_for_ever_for_a_function(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        started, let_go, unwound = trio.Event(), trio.Event(), trio.Event()

        @tool
        async def stubborn() -> None:
            """Mind no cancellation."""
            started.set()
            with trio.CancelScope(shield=True):
                await let_go.wait()
            unwound.set()

        script = [Turn(tools=[ToolUse("stubborn")]), Turn("Alive."), Turn("Still alive.")]
        async with scripted(one_pi, tmp_path, script) as world:
            instance = await world.spawn(python_tools=(stubborn,))
            async with instance.client.run("go") as reading:
                await started.wait()
                await instance.client.abort()
                ends = [event async for event in reading if isinstance(event, ToolExecutionEnd)]
            assert ends[0].raw["result"]["content"][0]["text"] == "stubborn was aborted, but has not ended yet"
            assert (await instance.client.send("there?")).text == "Alive."
            let_go.set()
            await unwound.wait()
            assert (await instance.client.send("still?")).text == "Still alive."

    run(main)


def test_leaving_a_run_cancels_what_it_called(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        probe = Probe()
        async with scripted(pi, tmp_path, [*calls(ToolUse("dwell"))[:1], Turn("Alive.")]) as world:
            instance = await world.spawn(python_tools=(probe.tool,))
            async with instance.client.run("go"):
                await probe.started.wait()
            assert probe.unwound
            assert (await instance.client.send("still there?")).text == "Alive."

    run(main)


def test_a_call_that_takes_too_long_is_cancelled(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        probe = Probe()
        async with scripted(one_pi, tmp_path, calls(ToolUse("dwell"))) as world:
            limited = Tool.from_function(probe.dwell, timeout=0.05)
            instance = await world.spawn(python_tools=(limited,))
            assert (await instance.client.send("go")).text == "Done."
            assert told(world.model.requests[1]) == ["dwell was cancelled: it did not end within 0.05 s"]
        assert probe.unwound

    run(main)


@pytest.mark.parametrize("way", ["stop", "force", "scope"])
def test_stopping_the_instance_cancels_the_call_first(pi: PiInstall, tmp_path: Path, way: str) -> None:
    async def main() -> None:
        probe = Probe()
        async with scripted(pi, tmp_path, calls(ToolUse("dwell"))) as world:
            with trio.CancelScope() as scope:
                async with open_runtime() as runtime:
                    instance = await runtime.spawn(world.spec(python_tools=(probe.tool,)))
                    with instance.client.subscribe() as events:
                        await instance.client.prompt("go")
                        await probe.started.wait()
                        if way == "scope":
                            scope.cancel()
                            await trio.sleep_forever()
                        await instance.stop(force=way == "force")
                        assert probe.unwound
                        ends = [event async for event in events if isinstance(event, ToolExecutionEnd)]
                        if way == "stop":
                            assert "its Pi was stopped" in ends[0].raw["result"]["content"][0]["text"]
            assert probe.unwound
            assert left_of(runtime) == []
            if way == "stop":
                assert instance.exit_status == ExitStatus(code=0)
            with pytest.raises(ConnectionClosed):
                await instance.tools.add(order)

    run(main)


def test_a_function_that_does_not_unwind_holds_up_neither_the_kill(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        started, let_go = trio.Event(), trio.Event()

        @tool
        async def stubborn() -> None:
            """Mind no cancellation."""
            started.set()
            with trio.CancelScope(shield=True):
                await let_go.wait()

        async with scripted(one_pi, tmp_path, calls(ToolUse("stubborn"))) as world:
            instance = await world.spawn(python_tools=(stubborn,))
            pid = instance.pid
            assert pid is not None
            await instance.client.prompt("go")
            await started.wait()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(instance.stop)
                await until(lambda: not alive(pid))
                let_go.set()

    run(main)


def test_a_killed_pi_cancels_its_calls_and_the_next_one_has_the_tools(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        probe = Probe()
        script = [Turn(tools=[ToolUse("dwell")]), Turn(tools=[ToolUse("order", {"dish": "soup"})]), Turn("Done.")]
        async with scripted(pi, tmp_path, script) as world:
            policy = RestartPolicy(type=RestartType.PERMANENT, backoff=Backoff(base=0.0))
            instance = await world.spawn(python_tools=(probe.tool,), restart=policy, ephemeral=False)
            await instance.tools.add(order)
            pid = instance.pid
            assert pid is not None
            with pytest.raises(ProcessExited):
                async with instance.client.run("go") as reading:
                    await probe.started.wait()
                    os.kill(pid, signal.SIGKILL)
                    await reading.result()
            assert (await instance.client.send("again")).text == "Done."
            assert probe.unwound
            assert told(world.model.requests[-1]) == ["1 small soup None"]
            assert names(world.model.requests[-1]) >= {"dwell", "order"}

    run(main)


def test_tools_come_and_go_while_pi_runs(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        script = [
            Turn("One."),
            Turn(tools=[ToolUse("order", {"dish": "soup"})]),
            Turn("Two."),
            Turn(tools=[ToolUse("order", {"dish": "soup"})]),
            Turn("Three."),
            Turn("Four."),
        ]
        async with scripted(pi, tmp_path, script) as world:
            instance = await world.spawn(python_tools=())
            assert list(instance.tools) == []
            assert (await instance.client.send("first")).text == "One."
            await instance.tools.add(order)
            with pytest.raises(ToolSpecError, match="already"):
                await instance.tools.add(order)
            assert list(instance.tools) == [order]
            assert (await instance.client.send("second")).text == "Two."
            await instance.tools.remove("order")
            with pytest.raises(KeyError):
                await instance.tools.remove("order")
            assert (await instance.client.send("third")).text == "Three."
            await instance.tools.add(order)
            assert (await instance.client.send("fourth")).text == "Four."
            asked = world.model.requests
            assert ["order" in names(request) for request in asked] == [False, True, True, False, False, True]
            assert told(asked[2]) == ["1 small soup None"]
            assert told(asked[4]) == ["Tool order not found"]

    run(main)


@pytest.mark.parametrize("way", ["new_session", "switch_session", "clone"])
def test_another_session_has_the_tools(pi: PiInstall, tmp_path: Path, way: str) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [Turn("One."), *calls(ToolUse("order", {"dish": "soup"}))]) as world:
            instance = await world.spawn(python_tools=(order,), ephemeral=False)
            await instance.client.send("first")
            before = await instance.client.get_state()
            if way == "clone":
                await instance.client.request("clone")
            else:
                await instance.client.new_session()
            if way == "switch_session":
                await instance.client.request("switch_session", {"sessionPath": before.session_file})
            after = await instance.client.get_state()
            assert (after.session_id == before.session_id) is (way == "switch_session")
            assert (await instance.client.send("second")).text == "Done."
            assert told(world.model.requests[-1]) == ["1 small soup None"]
            await instance.tools.remove("order")
            assert list(instance.tools) == []

    run(main)


def test_tools_of_one_session_go_with_it(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        seen: list[set[str]] = []

        def model(request: ModelRequest) -> Turn:
            seen.append(names(request) & {"order", "passing"})
            return Turn("Yes.")

        @tool
        async def passing() -> None:
            """Only now."""

        async with scripted(pi, tmp_path, model) as world:
            restart = RestartPolicy(type=RestartType.PERMANENT, backoff=Backoff(base=0.0))
            instance = await world.spawn(python_tools=(order,), ephemeral=False, restart=restart)
            await instance.tools.add(passing, for_session=True)
            await instance.client.send("One.")
            assert instance.pid is not None
            os.kill(instance.pid, signal.SIGKILL)
            await until(lambda: instance.status().incarnation == 2 and instance.status().pid)
            await instance.client.send("The same session, another process.")
            await instance.client.new_session()
            await instance.client.send("Another session.")
            assert [each.name for each in instance.tools] == ["order"]
            await instance.tools.add(passing, for_session=True)
            await instance.tools.remove("passing")
            await instance.tools.add(passing)
            await instance.client.new_session()
            await instance.client.send("It was given for good.")
        both = {"order", "passing"}
        assert seen == [both, both, {"order"}, both]

    run(main)


def test_a_new_session_in_the_middle_of_a_call_cancels_it(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        probe = Probe()
        async with scripted(pi, tmp_path, [*calls(ToolUse("dwell"))[:1], Turn("New.")]) as world:
            instance = await world.spawn(python_tools=(probe.tool,))
            await instance.client.prompt("go")
            await probe.started.wait()
            await instance.client.new_session()
            await until(lambda: probe.unwound)
            assert (await instance.client.send("second")).text == "New."

    run(main)


def test_tools_on_offer_for_a_scope_are_gone_behind_it(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        probe = Probe()
        async with scripted(pi, tmp_path, calls(ToolUse("dwell"))) as world, trio.open_nursery() as nursery:
            instance = await world.spawn(python_tools=())
            async with instance.tools.offer(probe.tool):
                nursery.start_soon(instance.client.send, "go")
                await probe.started.wait()
            assert probe.unwound
            assert list(instance.tools) == []
        assert told(world.model.requests[1]) == ["dwell was cancelled: the program took the tool away"]
        assert "dwell" not in names(world.model.requests[1])

    run(main)


def test_a_pi_with_certain_tools_only_has_ours_too_and_refuses_later_ones(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, calls(ToolUse("order", {"dish": "soup"}))) as world:
            instance = await world.spawn(tools=("read",), python_tools=(order,))
            assert (await instance.client.send("go")).text == "Done."
            assert names(world.model.requests[0]) == {"read", "order"}
            with pytest.raises(ToolSpecError, match="dwell .*certain tools only"):
                await instance.tools.add(Probe().tool)
            assert list(instance.tools) == [order]

    run(main)


RIVAL = """export default function (pi) {
    pi.registerTool({
        name: "order", label: "order", description: "A rival", parameters: { type: "object", properties: {} },
        execute: async () => ({ content: [{ type: "text", text: "the rival's" }] }),
    });
}"""


def test_a_tool_of_the_program_goes_before_one_of_another_extension(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, calls(ToolUse("order", {"dish": "soup"}))) as world:
            extensions = tmp_path / "agent" / "extensions"  # where a user's own are
            extensions.mkdir()
            (extensions / "rival.js").write_text(RIVAL)
            instance = await world.spawn(python_tools=())
            await instance.tools.add(order)
            assert (await instance.client.send("go")).text == "Done."
            assert told(world.model.requests[1]) == ["1 small soup None"]

    run(main)


def test_without_python_tools_there_is_no_extension(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            instance = await world.spawn()
            with pytest.raises(ToolSpecError, match="python_tools"):
                await instance.tools.add(order)

    run(main)


def test_images_and_long_texts(pi: PiInstall, tmp_path: Path) -> None:
    long = "a\N{PILE OF POO}\n" * 200_000  # a good megabyte in UTF-8

    @tool
    async def draw() -> list[str | ToolImage]:
        """Draw."""
        return ["A pixel.", ToolImage(PIXEL)]

    @tool
    async def recite() -> str:
        """Recite."""
        return long

    @tool
    async def measure(text: str) -> int:
        """Measure."""
        return len(text)

    async def main() -> None:
        uses = (ToolUse("draw"), ToolUse("recite"), ToolUse("measure", {"text": long}))
        async with scripted(pi, tmp_path, calls(*uses)) as world:
            instance = await world.spawn(python_tools=(draw, recite, measure))
            await instance.client.request("set_auto_compaction", {"enabled": False})  # it is more than fits the model
            async with instance.client.run("go") as reading:
                ends = [event async for event in reading if isinstance(event, ToolExecutionEnd)]
            drawn = next(end.raw["result"] for end in ends if end.raw["toolName"] == "draw")
            image = {"type": "image", "data": base64.b64encode(PIXEL).decode(), "mimeType": "image/png"}
            assert drawn["content"] == [{"type": "text", "text": "A pixel."}, image]
            _, recited, measured = [
                message for message in world.model.requests[1].messages if message["role"] == "tool"
            ]
            assert recited["content"] == long
            assert measured["content"] == str(len(long))

    run(main)


def test_other_clients_dialogs_are_not_touched(one_pi: PiInstall, tmp_path: Path) -> None:
    source = """export default function (pi) {
        pi.registerCommand("ask", { handler: async (_, ctx) => {
            const answer = await ctx.ui.input("pi-trio", "{}");
            ctx.ui.notify(String(answer));
        } });
    }"""

    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            instance = await world.spawn(python_tools=(order,), extra_args=world.extension("asks", source))
            with instance.client.subscribe() as events:
                await instance.client.prompt("/ask")
                assert (await first(Notify, events)).message == "undefined"

    run(main)
