"""The main job on the real Pi, in both versions."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio

from pi_trio import (
    CommandFailed,
    ConnectionClosed,
    InstanceState,
    MaxInstancesError,
    ProcessExited,
    RequestTimeout,
    Run,
    RunBusy,
    RunFailed,
    SpawnError,
    WhenFull,
    open_runtime,
)
from pi_trio.abc import ExitStatus
from pi_trio.launch import PiInstall
from pi_trio.process import list_processes
from pi_trio.protocol import (
    AgentSettled,
    AutoRetryStart,
    BashExecutionUpdate,
    MessageUpdate,
    Notify,
    ToolExecutionEnd,
    ToolExecutionStart,
)
from pi_trio.testing import ModelRequest, ToolUse, Turn
from tests.support import left_of, run, scripted, until, written

ENDLESS = Turn(text=[f"word{n} " for n in range(100_000)], chunk_delay=0.005)
"""An answer that outlasts every test."""


def alive(pid: int) -> bool:
    return any(process.pid == pid and process.alive for process in list_processes())


async def first_text(reading: Run) -> str:
    """Read a run until it streams."""
    async for delta in reading.text():
        return delta
    raise AssertionError("the run ended without a word")


def test_a_prompt_streams_its_reply(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [Turn(["Hel", "lo, ", "wörld \u2028!"])]) as world:
            instance = await world.spawn()
            assert instance.status().state is InstanceState.RUNNING
            deltas = []
            async with instance.client.run("Say hello") as reading:
                async for event in reading:
                    if isinstance(event, MessageUpdate) and event.text_delta:
                        deltas.append(event.text_delta)
            assert isinstance(event, AgentSettled)
            assert deltas == ["Hel", "lo, ", "wörld \u2028!"]
            reply = reading.reply
            assert (reply.text, reply.stop_reason, reply.ok) == ("Hello, wörld \u2028!", "stop", True)
            assert world.model.requests[0].prompt == "Say hello"
        assert instance.state is InstanceState.STOPPED
        assert instance.exit_status == ExitStatus(code=0)

    run(main)


def test_send_gives_text_usage_and_cost(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        script = [Turn("First.", input_tokens=1000, output_tokens=500), Turn("Second.")]
        async with scripted(pi, tmp_path, script) as world:
            instance = await world.spawn()
            reply = await instance.client.send("One")
            assert reply.text == "First."
            assert (reply.usage.input, reply.usage.output, reply.usage.total_tokens) == (1000, 500, 1500)
            # one dollar per million tokens in, two per million out
            assert reply.usage.cost.total == pytest.approx(0.002)
            assert (await instance.client.send("Two")).text == "Second."
            stats = await instance.client.get_session_stats()
            assert (stats.user_messages, stats.assistant_messages) == (2, 2)
            assert stats.cost == pytest.approx(0.002 + 0.00012)
            state = await instance.client.get_state()
            assert state.model is not None
            assert (state.model.id, state.model.provider) == ("scripted-1", "scripted")
            fresh = await instance.client.new_session()
            assert not fresh.cancelled
            assert (await instance.client.get_session_stats()).total_messages < stats.total_messages

    run(main)


def test_pi_calls_its_own_bash_tool(pi: PiInstall, tmp_path: Path) -> None:
    def script(request: ModelRequest) -> Turn:
        if request.tool_result is None:
            return Turn("Looking.", tools=[ToolUse("bash", {"command": "echo from-$((6*7)); pwd"})])
        return Turn(f"It said {request.tool_result.split()[0]}.")

    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world:
            instance = await world.spawn()
            async with instance.client.run("Look") as reading:
                events = [event async for event in reading]
            (started,) = [event for event in events if isinstance(event, ToolExecutionStart)]
            (ended,) = [event for event in events if isinstance(event, ToolExecutionEnd)]
            assert (started.tool_name, started.tool_call_id) == ("bash", ended.tool_call_id)
            assert ended.text.split() == ["from-42", os.path.realpath(world.folder)]
            assert not ended.is_error
            assert reading.reply.text == "It said from-42."
            assert [call.name for call in reading.reply.tool_calls] == ["bash"]
            assert reading.reply.usage.total_tokens == 220

    run(main)


def test_exec_runs_a_command_in_the_session(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            instance = await world.spawn()
            with instance.client.subscribe() as events:
                result = await world.runtime.exec(instance.id, "echo out; echo err >&2; exit 3")
                assert (result.exit_code, result.cancelled) == (3, False)
                assert sorted(result.output.split()) == ["err", "out"]
                seen = ""
                async for event in events:
                    if isinstance(event, BashExecutionUpdate):
                        seen += event.delta
                    if "out" in seen and "err" in seen:
                        break

    run(main)


def test_exec_that_times_out_is_ended_in_pi_too(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            instance = await world.spawn()
            with pytest.raises(RequestTimeout):
                await world.runtime.exec(instance.id, "echo $$ > pid; exec sleep 1000", timeout=1.0)
            pid = int((world.folder / "pid").read_text())
            await until(lambda: not alive(pid))
            assert (await world.runtime.exec(instance.id, "echo next")).output.strip() == "next"

    run(main)


def test_two_instances_at_once(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        replies = {}

        def script(request: ModelRequest) -> Turn:
            return Turn(f"You said {request.prompt}", chunk_delay=0.01)

        async with scripted(pi, tmp_path, script) as world:

            async def talk(word: str) -> None:
                instance = await world.spawn()
                replies[word] = (await instance.client.send(word)).text

            async with trio.open_nursery() as nursery:
                nursery.start_soon(talk, "left")
                nursery.start_soon(talk, "right")
            first, second = world.runtime.list(state=InstanceState.RUNNING)
            assert first.pid != second.pid
            assert world.runtime.statistics().running == 2
        assert replies == {"left": "You said left", "right": "You said right"}

    run(main)


def test_killed_while_it_streams_everybody_is_told(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [ENDLESS]) as world:
            instance = await world.spawn()
            outcomes: list[object] = []

            async def consume(task_status: trio.TaskStatus[None]) -> None:
                try:
                    async with instance.client.run("Talk") as reading:
                        await first_text(reading)
                        task_status.started()
                        await reading.result()
                except ProcessExited as error:
                    outcomes.append(("run", error.status))

            async def request(task_status: trio.TaskStatus[None]) -> None:
                task_status.started()
                try:
                    await instance.client.bash("sleep 1000")
                except ProcessExited as error:
                    outcomes.append(("bash", error.status))

            async def watch(task_status: trio.TaskStatus[None]) -> None:
                with instance.client.subscribe(when_full=WhenFull.WAIT) as events:
                    task_status.started()
                    try:
                        async for _ in events:
                            pass
                    except ProcessExited as error:
                        outcomes.append(("events", error.status))

            async with trio.open_nursery() as nursery:
                for task in (consume, request, watch):
                    await nursery.start(task)
                assert instance.pid is not None
                os.kill(instance.pid, signal.SIGKILL)
            killed = ExitStatus(signal="SIGKILL")
            assert sorted(outcomes, key=str) == [("bash", killed), ("events", killed), ("run", killed)]
            await instance.wait_stopped()
            assert instance.exit_status == killed
            assert left_of(world.runtime) == []
            with pytest.raises(ProcessExited, match="SIGKILL"):
                await instance.client.get_state()

    run(main)


def test_a_pi_that_never_gets_ready(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            hang = world.extension("hang", "while (true) {}\nexport default function () {}\n")
            with pytest.raises(SpawnError, match=r"did not answer within 2 s") as caught:
                await world.spawn(extra_args=hang, start_timeout=2.0, grace_timeout=0.2)
            # it is busy in JavaScript and cannot even take SIGTERM
            assert caught.value.status == ExitStatus(signal="SIGKILL")
            assert left_of(world.runtime) == []
            assert world.runtime.statistics().failed_starts == 1

    run(main)


def test_a_pi_that_dies_at_its_start(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            crash = world.extension("crash", "process.stderr.write('no mood today\\n'); process.exit(7);\n")
            with pytest.raises(SpawnError, match="no mood today") as caught:
                await world.spawn(extra_args=crash)
            assert caught.value.status == ExitStatus(code=7)
            assert b"no mood today" in caught.value.stderr_tail

    run(main)


def test_a_wrong_provider_is_told_in_pis_own_words(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            with pytest.raises(SpawnError, match="no-such-provider") as caught:
                await world.spawn(provider="no-such-provider", model="x")
            assert caught.value.status == ExitStatus(code=1)

    run(main)


def test_leaving_a_run_early_aborts_it(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [ENDLESS, Turn("Still here.")]) as world:
            instance = await world.spawn()
            async with instance.client.run("Talk") as reading:
                await first_text(reading)
            assert not reading.settled
            assert not (await instance.client.get_state()).is_streaming
            assert (await instance.client.send("Are you?")).text == "Still here."

    run(main)


def test_a_cancelled_send_aborts_the_run(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [ENDLESS, Turn("Again.")]) as world:
            instance = await world.spawn()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    async def cancel_when_it_streams() -> None:
                        with instance.client.subscribe() as events:
                            async for _ in events.text():
                                scope.cancel()

                    nursery.start_soon(cancel_when_it_streams)
                    await instance.client.send("Talk")
            assert scope.cancelled_caught
            assert (await instance.client.send("Again?")).text == "Again."

    run(main)


def test_cancelling_the_scope_in_the_middle_of_a_run(pi: PiInstall, tmp_path: Path) -> None:
    def script(request: ModelRequest) -> Turn:
        return Turn("Working.", tools=[ToolUse("bash", {"command": "echo $$ > tool; exec sleep 1000"})])

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with scripted(pi, tmp_path, script) as world:
                instance = await world.spawn()
                async with instance.client.run("Work") as reading:
                    async for event in reading:
                        if isinstance(event, ToolExecutionStart):
                            await until(lambda: written(world.folder / "tool"))
                            scope.cancel()
        assert scope.cancelled_caught
        assert instance.state is InstanceState.STOPPED
        assert left_of(world.runtime) == []
        assert not alive(int((world.folder / "tool").read_text()))

    run(main)


def test_a_body_that_raises_gets_its_own_exception_back(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with scripted(pi, tmp_path, []) as world:
                instance = await world.spawn()
                raise ZeroDivisionError
        assert instance.state is InstanceState.STOPPED
        assert instance.exit_status == ExitStatus(code=143)

    run(main)


def test_the_client_works_in_the_bodys_own_clean_up(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            instance = await world.spawn()
            with trio.CancelScope() as scope:
                try:
                    scope.cancel()
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        assert (await instance.client.get_state()).message_count == 0

    run(main)


def test_a_pi_that_ignores_sigterm_and_eof_is_killed_after_the_grace_period(pi: PiInstall, tmp_path: Path) -> None:
    source = """
    process.removeAllListeners("SIGTERM");
    export default function (pi) {
      pi.on("session_start", () => {
        setTimeout(() => {
          for (const name of ["SIGTERM", "SIGHUP"]) { process.removeAllListeners(name); process.on(name, () => {}); }
          process.stdin.removeAllListeners("end");
          setInterval(() => {}, 1000);
        }, 0);
      });
    }
    """

    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            stubborn = world.extension("stubborn", source)
            instance = await world.spawn(extra_args=stubborn, drain_timeout=0.2, grace_timeout=0.3)
            await trio.sleep(0.2)  # its timer of 0 ms: nothing on our side tells when it has run
            await instance.stop()
            assert instance.exit_status == ExitStatus(signal="SIGKILL")

    run(main)


def test_a_stopped_process_is_ended_all_the_same(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            instance = await world.spawn(drain_timeout=0.2)
            assert instance.pid is not None
            os.kill(instance.pid, signal.SIGSTOP)
            await instance.stop()
            # it had both its end of file and the SIGTERM waiting when SIGCONT woke it
            assert instance.exit_status in (ExitStatus(code=0), ExitStatus(code=143))

    run(main)


def test_a_forced_kill_is_at_once_and_reaches_the_tools(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            instance = await world.spawn()
            async with trio.open_nursery() as nursery:

                async def long_command() -> None:
                    with pytest.raises(ConnectionClosed, match="was killed"):
                        await instance.client.bash("echo $$ > tool; sleep 1000")

                nursery.start_soon(long_command)
                await until(lambda: written(world.folder / "tool"))
                await world.runtime.kill(instance.id, force=True)
            assert instance.exit_status == ExitStatus(signal="SIGKILL")
            assert not alive(int((world.folder / "tool").read_text()))

    run(main)


def test_requests_to_an_instance_that_is_being_stopped_fail_first(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [ENDLESS]) as world:
            instance = await world.spawn()
            async with trio.open_nursery() as nursery:

                async def talk(task_status: trio.TaskStatus[None]) -> None:
                    with pytest.raises(ConnectionClosed, match="was stopped") as caught:
                        async with instance.client.run("Talk") as reading:
                            await first_text(reading)
                            task_status.started()
                            await reading.result()
                    assert not isinstance(caught.value, ProcessExited)

                await nursery.start(talk)
                await instance.stop()
            assert instance.exit_status == ExitStatus(code=0)
            with pytest.raises(ConnectionClosed, match="was stopped"):
                await instance.client.get_state()

    run(main)


def test_a_provider_error_fails_the_run_after_pis_retries(pi: PiInstall, tmp_path: Path) -> None:
    def script(request: ModelRequest) -> Turn:
        return Turn("the model is on fire", status=500)

    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world:
            instance = await world.spawn()
            with pytest.raises(RunFailed, match="on fire") as caught:
                await instance.client.send("Hello?")
            assert caught.value.reply.stop_reason == "error"
            async with instance.client.run("Hello?") as reading:
                events = [event async for event in reading]
            assert [event.attempt for event in events if isinstance(event, AutoRetryStart)] == [1, 2]
            assert not reading.reply.ok

    run(main)


def test_a_rate_limit_is_retried_by_pi_and_the_run_goes_on(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [Turn("slow down", status=429), Turn("Here I am.")]) as world:
            instance = await world.spawn()
            reply = await instance.client.send("Hello?")
            assert (reply.text, reply.ok) == ("Here I am.", True)

    run(main)


COMMAND_EXTENSION = """
export default function (pi) {
  pi.registerCommand("quiet", { description: "does nothing", handler: async () => {} });
  pi.registerCommand("ask", {
    description: "asks", handler: async (_args, ctx) => {
      ctx.ui.notify(String(await ctx.ui.confirm("Really?", "Sure?")));
    },
  });
}
"""


def test_a_prompt_that_an_extension_handles_starts_no_run(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [Turn("Now a real one.")]) as world:
            instance = await world.spawn(extra_args=world.extension("commands", COMMAND_EXTENSION))
            reply = await instance.client.send("/quiet")
            assert reply.handled
            assert (reply.text, reply.stop_reason) == ("", None)
            assert (await instance.client.send("And now?")).text == "Now a real one."

    run(main)


def test_a_dialog_nobody_answers_is_cancelled_not_left_hanging(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            instance = await world.spawn(extra_args=world.extension("commands", COMMAND_EXTENSION))
            with instance.client.subscribe() as events:
                assert (await instance.client.send("/ask")).handled
                async for event in events:
                    if isinstance(event, Notify):
                        assert event.message == "false"
                        break

    run(main)


def test_one_run_at_a_time(pi: PiInstall, tmp_path: Path) -> None:
    def script(request: ModelRequest) -> Turn:
        return Turn(f"You said {request.prompt}", chunk_delay=0.01)

    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world:
            instance = await world.spawn()
            texts = []

            async def talk(word: str) -> None:
                texts.append((await instance.client.send(word)).text)

            async with trio.open_nursery() as nursery:
                async with instance.client.run("first") as reading:
                    with pytest.raises(RunBusy):
                        async with instance.client.run("refused", if_busy="refuse"):
                            raise AssertionError
                    nursery.start_soon(talk, "second")
                    assert (await reading.result()).text == "You said first"
            assert texts == ["You said second"]

    run(main)


def test_a_prompt_that_pi_refuses(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [ENDLESS]) as world:
            instance = await world.spawn()
            async with instance.client.run("Talk") as reading:
                await first_text(reading)
                with pytest.raises(CommandFailed, match="(?i)streaming|processing"):
                    await instance.client.prompt("Again")

    run(main)


def test_a_slow_subscriber_loses_nothing_when_it_is_waited_for(pi: PiInstall, tmp_path: Path) -> None:
    words = [f"{n} " for n in range(300)]

    async def main() -> None:
        async with scripted(pi, tmp_path, [Turn(words)]) as world:
            instance = await world.spawn()
            with instance.client.subscribe(capacity=4, when_full=WhenFull.WAIT) as events:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(instance.client.send, "Count")
                    seen = ""
                    async for event in events:
                        # a request in the middle of it: its response does not wait behind the events
                        await instance.client.get_state()
                        if isinstance(event, MessageUpdate):
                            seen += event.text_delta
                        if isinstance(event, AgentSettled):
                            break
            assert seen == "".join(words)

    run(main)


def test_no_more_than_max_instances(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world, open_runtime(max_instances=1) as small:
            first = await small.spawn(world.spec())
            with pytest.raises(MaxInstancesError, match="1 instances"):
                await small.spawn(world.spec())
            await first.stop()
            second = await small.spawn(world.spec())
            assert second.state is InstanceState.RUNNING
            assert [each.id for each in small.list()] == ["pi-1", "pi-2"]

    run(main)


def test_cancelled_spawn_leaves_nothing(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            with trio.move_on_after(0.1) as scope:
                await world.spawn()
            assert scope.cancelled_caught
            assert left_of(world.runtime) == []
            assert [each.state for each in world.runtime.list()] == [InstanceState.STOPPED]

    run(main)


def test_a_session_is_continued_by_its_id(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [Turn("Noted."), Turn("Seven.")]) as world:
            spec = {"ephemeral": False, "session_id": "my-session"}
            first = await world.spawn(**spec)
            await first.client.send("Remember seven")
            await first.stop()
            second = await world.spawn(**spec)
            assert (await second.client.get_state()).session_id == "my-session"
            await second.client.send("What was it?")
            assert "Remember seven" in str(world.model.requests[1].messages)

    run(main)


def test_the_specs_options_reach_pi(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [Turn("ok")]) as world:
            instance = await world.spawn(
                tools=("read",), append_system_prompt=("Be a teapot.",), env={"MY_SETTING": "42", "HOME": None}
            )
            await instance.client.send("Hi")
            request = world.model.requests[0]
            assert [tool["function"]["name"] for tool in request.body["tools"]] == ["read"]
            assert "Be a teapot." in str(request.messages[0])
            found = await instance.client.bash("echo $MY_SETTING-${HOME-unset}")
            assert found.output.split()[0].startswith("42-")
            assert "HOME" not in instance.spec.environment({"HOME": "/x"})

    run(main)
