"""What the simulated Pi does that cannot be made to happen in time, or at all, on the real one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from pi_trio import CommandFailed, Instance, InstanceSpec, RestartType, RunFailed, open_runtime
from pi_trio.abc import ExitStatus, ProcessCommand, ProcessTree, Signal
from pi_trio.launch import PiInstall
from pi_trio.testing import ToolUse, Turn
from pi_trio.testing.sim_pi import PI_0_87, PI_1_5, Dialect, SimPi, SimUI
from pi_trio.testing.trace import Misuse, Recorder
from pi_trio.testing.world import SimWorld, open_world
from tests.concurrency.virtual import run


def play(pi: SimPi, main: Callable[[Instance, SimWorld], Awaitable[None]], **spec: Any) -> None:
    """Run ``main`` with an instance of this Pi."""
    recorder = Recorder()

    async def inside() -> None:
        async with open_world(record=recorder.record, programs={"/pi": pi}) as world:
            async with open_runtime(host=world, max_starting=2) as runtime:
                install = PiInstall(Path("/pi"), pi.dialect.version, "named", None)
                base = {"pi": install, "cwd": "/", "inherit_env": False, "restart": RestartType.TEMPORARY}
                await main(await runtime.spawn(InstanceSpec(**{**base, **spec})), world)

    run(inside)
    assert list(recorder.trace().of(Misuse)) == []


@pytest.mark.parametrize("command", ["abort", "abort_retry"])
def test_a_retry_is_given_up(command: str) -> None:
    async def main(instance: Instance, _: SimWorld) -> None:
        ends = []
        async with instance.client.run("hello") as reading:
            async for record in reading.records():
                assert isinstance(record, dict)
                if record["type"] == "auto_retry_start":
                    await instance.client.request(command)
                elif record["type"] == "auto_retry_end":
                    ends.append((record["success"], record["finalError"]))
            assert trio.current_time() < 50
            if command == "abort":  # the run is what was ended
                assert (await reading.result()).stop_reason == "aborted"
            else:
                with pytest.raises(RunFailed):
                    await reading.result()
        assert ends == [(False, "Retry cancelled")]

    play(SimPi(script=[Turn("overloaded", status=529)], retry_delay=100.0), main)


def test_a_long_conversation_is_compacted_once() -> None:
    async def main(instance: Instance, _: SimWorld) -> None:
        await instance.client.send("tell me")
        data = await instance.client.request("compact")
        assert data["summary"] == "In short."
        with pytest.raises(CommandFailed, match="Already compacted"):
            await instance.client.request("compact")
        stats = await instance.client.get_session_stats()
        assert stats.total_messages == 2, "what was said is not forgotten"
        assert stats.context_usage is not None
        assert stats.context_usage.tokens is None
        assert (await instance.client.send("go on")).text == "On."

    play(SimPi(script=[Turn("long " * 100), Turn("In short."), Turn("On.")], kept_tokens=10), main)


def test_tools_of_extensions_may_ask() -> None:
    async def weather(ui: SimUI, arguments: Mapping[str, Any]) -> str:
        answer = await ui.ask("input", title=orjson.dumps(arguments).decode(), placeholder="")
        return str(answer.get("value", "cancelled"))

    async def main(instance: Instance, _: SimWorld) -> None:
        reply = await instance.client.send("what is the weather?")
        results = [message for message in reply.messages if type(message).__name__ == "ToolResultMessage"]
        assert len(results) == 1
        assert "cancelled" in repr(results[0])

    script = [Turn("", tools=[ToolUse("weather", {"city": "here"})]), Turn("Fine.")]
    play(SimPi(script=script, tools={"weather": weather}), main)


def test_the_script_may_be_a_function_that_waits() -> None:
    async def script(request: Any) -> Turn:
        await trio.sleep(100)
        return Turn(f"{request.number}: {request.prompt}, on {request.model}")

    async def main(instance: Instance, _: SimWorld) -> None:
        assert (await instance.client.send("hello")).text == "0: hello, on m"
        assert trio.current_time() > 100

    play(SimPi(script=script), main, provider="p", model="m")


async def _start(world: SimWorld) -> ProcessTree:
    tree = await world.spawn(ProcessCommand(argv=("/pi", "--mode", "rpc"), cwd="/", env={}))
    tree.stdin.write_nowait(b'{"id":"1","type":"get_state"}\n')
    await tree.stdout.receive_some()
    return tree


async def _end(tree: ProcessTree) -> None:
    tree.kill_tree()
    await tree.wait_empty()
    tree.close()


@pytest.mark.parametrize(
    ("dialect", "status"),
    [(PI_0_87, ExitStatus(signal="SIGTERM")), (PI_1_5, ExitStatus(code=143))],
    ids=lambda value: str(getattr(value, "version", "")),
)
def test_a_second_sigterm_is_not_waited_with(dialect: Dialect, status: ExitStatus) -> None:
    async def main() -> None:
        async with open_world(programs={"/pi": SimPi(dialect=dialect)}) as world:
            tree = await _start(world)
            tree.send_signal(Signal.TERM)
            await trio.sleep(0.001)
            tree.send_signal(Signal.TERM)
            assert await tree.wait_exit() == status
            assert trio.current_time() < 1
            await _end(tree)

    run(main)


def test_a_line_that_is_no_json_is_complained_of() -> None:
    async def main() -> None:
        async with open_world(programs={"/pi": SimPi()}) as world:
            tree = await _start(world)
            tree.stdin.write_nowait(b"nonsense\n")
            record = orjson.loads(await tree.stdout.receive_some() or b"")
            assert (record["command"], record["success"]) == ("parse", False)
            assert "id" not in record
            await _end(tree)

    run(main)


def test_when_nobody_reads_its_stdout_it_exits() -> None:
    async def main() -> None:
        async with open_world(programs={"/pi": SimPi()}) as world:
            tree = await _start(world)
            tree.stdout.close()
            tree.stdin.write_nowait(b'{"id":"2","type":"get_state"}\n')
            assert await tree.wait_exit() == ExitStatus(code=1)
            await _end(tree)

    run(main)


def test_a_full_stdout_holds_up_a_run() -> None:
    async def main() -> None:
        script = [Turn(["x" * 10_000] * 100)]
        async with open_world(programs={"/pi": SimPi(script=script)}) as world:
            tree = await _start(world)
            tree.stdin.write_nowait(b'{"id":"2","type":"prompt","message":"go"}\n')
            await trio.sleep(1000)
            received = 0
            while b"agent_settled" not in (data := await tree.stdout.receive_some() or b""):
                received += len(data)
            assert received > 1_000_000
            await _end(tree)

    run(main)
