"""Restarts, health and output on the real Pi."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio
import trio.testing

from pi_trio import (
    Backoff,
    ConnectionClosed,
    Health,
    HealthPolicy,
    Instance,
    InstanceState,
    LogLine,
    ProcessExited,
    RequestTimeout,
    RestartPolicy,
    RestartType,
    SpawnError,
    open_runtime,
)
from pi_trio.abc import ExitStatus
from pi_trio.launch import PiInstall
from pi_trio.lifecycle import Exited, HealthChanged, Ready, RestartScheduled, StateChanged
from pi_trio.registry import EventFeed, Numbered
from pi_trio.testing import ModelRequest, ToolUse, Turn
from tests.support import left_of, run, scripted, until, written

SOON = Backoff(base=0.01, cap=0.05, jitter=0.0)


def policy(type_: RestartType = RestartType.TRANSIENT, **changes: float) -> RestartPolicy:
    return RestartPolicy(type=type_, backoff=SOON, **changes)  # type: ignore[arg-type]


async def wait_for_incarnation(feed: EventFeed, number: int) -> Ready:
    """Read the feed until that incarnation is ready."""
    async for item in feed:
        if isinstance(item, Numbered) and isinstance(item.event, Ready) and item.event.incarnation == number:
            return item.event
    raise AssertionError("the feed ended")


def kill(instance: Instance, number: signal.Signals = signal.SIGKILL) -> None:
    assert instance.pid is not None
    os.kill(instance.pid, number)


async def killed(instance: Instance, number: signal.Signals = signal.SIGKILL) -> None:
    """Kill it, and wait until that has been noticed."""
    kill(instance, number)
    with pytest.raises(ProcessExited):
        while True:  # one that got its signal may still answer
            await instance.client.get_state()


def test_a_killed_pi_is_replaced_and_continues_its_session(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [Turn("Noted."), Turn("Seven.")]) as world:
            instance = await world.spawn(restart=policy(), ephemeral=False)
            with world.runtime.events() as feed:
                await instance.client.send("Remember seven")
                session = (await instance.client.get_state()).session_id
                first_pid = instance.pid
                await killed(instance)
                # asked while there is none: it waits for the next one
                reply = await instance.client.send("What was it?")
                await wait_for_incarnation(feed, 2)
            assert reply.text == "Seven."
            assert "Remember seven" in str(world.model.requests[1].messages)
            assert (await instance.client.get_state()).session_id == session
            status = instance.status()
            assert (status.state, status.incarnation) == (InstanceState.RUNNING, 2)
            assert status.pid not in (None, first_pid)
            assert status.exit_status == ExitStatus(signal="SIGKILL")

    run(main)


def test_a_fresh_session_if_the_spec_says_so(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [Turn("Noted."), Turn("Who?")]) as world:
            instance = await world.spawn(restart=policy(), ephemeral=False, session_id="mine", restart_session="fresh")
            await instance.client.send("Remember seven")
            await killed(instance)
            assert (await instance.client.get_state()).session_id != "mine"
            await instance.client.send("What was it?")
            assert "Remember seven" not in str(world.model.requests[1].messages)

    run(main)


def test_what_is_in_flight_fails_and_what_comes_later_waits(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            instance = await world.spawn(restart=policy())
            async with trio.open_nursery() as nursery:

                async def in_flight() -> None:
                    with pytest.raises(ProcessExited) as caught:
                        await instance.client.bash("touch started; echo >> started; sleep 1000")
                    assert caught.value.status == ExitStatus(signal="SIGKILL")
                    assert (await instance.client.bash("echo again")).output.strip() == "again"

                nursery.start_soon(in_flight)
                await until(lambda: written(world.folder / "started"))
                kill(instance)

    run(main)


def test_which_endings_are_followed_by_a_start(pi: PiInstall, tmp_path: Path) -> None:
    quit_extension = """
    export default function (pi) {
      pi.registerCommand("leave", { description: "leaves", handler: async (_a, ctx) => { ctx.shutdown(); } });
    }
    """

    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            leave = world.extension("leave", quit_extension)
            transient = await world.spawn(restart=policy(), extra_args=leave)
            permanent = await world.spawn(restart=policy(RestartType.PERMANENT), extra_args=leave)
            with world.runtime.events() as feed:
                for instance in (transient, permanent):
                    await instance.client.request("prompt", {"message": "/leave"})
                await transient.wait_stopped()
                assert transient.exit_status == ExitStatus(code=0)
                assert (await wait_for_incarnation(feed, 2)).instance_id == permanent.id
            await killed(permanent, signal.SIGTERM)  # nobody of ours asked for it
            assert (await permanent.client.get_state()).message_count >= 0
            assert permanent.status().incarnation == 3

    run(main)


def test_a_spent_budget_fails_the_instance(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            with world.runtime.events() as feed:
                instance = await world.spawn(restart=policy(intensity=1))
                await wait_for_incarnation(feed, 1)
                kill(instance)
                await wait_for_incarnation(feed, 2)
                kill(instance)
                await instance.wait_stopped()
            assert instance.state is InstanceState.FAILED
            assert instance.failure is not None
            assert instance.failure.status == ExitStatus(signal="SIGKILL")
            assert "restarted 1 times within 60 s" in str(instance.failure)
            with pytest.raises(ProcessExited):
                await instance.client.get_state()
            assert left_of(world.runtime) == []

    run(main)


def test_a_restart_that_never_gets_ready_counts_too(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            trap = world.folder / "trap"
            source = f"import fs from 'node:fs'; if (fs.existsSync('{trap}')) process.exit(9);\n"
            args = world.extension("trap", source + "export default function () {}\n")
            instance = await world.spawn(restart=policy(intensity=2), extra_args=args)
            trap.touch()
            kill(instance)
            await instance.wait_stopped()
            assert (instance.state, instance.exit_status) == (InstanceState.FAILED, ExitStatus(code=9))
            assert instance.status().incarnation == 3

    run(main)


def test_a_stop_while_it_backs_off_is_at_once(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            forever = RestartPolicy(backoff=Backoff(base=1e6, cap=1e6))
            instance = await world.spawn(restart=forever)
            with world.runtime.events() as feed:
                kill(instance)
                async for item in feed:
                    if isinstance(item, Numbered) and isinstance(item.event, RestartScheduled):
                        break
                with pytest.raises(RequestTimeout):
                    await instance.client.get_state(timeout=0.05)
                assert instance.status().state is InstanceState.BACKING_OFF
                await instance.stop()
                assert instance.state is InstanceState.STOPPED
            with pytest.raises(ConnectionClosed, match="was stopped"):
                await instance.client.get_state()

    run(main)


def test_a_stop_while_it_starts_is_at_once(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            hang = world.extension("hang", "await new Promise(() => { setInterval(() => {}, 1000); });\n")
            async with trio.open_nursery() as nursery:

                async def start() -> None:
                    with pytest.raises(SpawnError, match="was stopped"):
                        await world.runtime.spawn(
                            world.spec(extra_args=hang, start_timeout=1000, drain_timeout=1000), id="slow"
                        )

                nursery.start_soon(start)
                await trio.testing.wait_all_tasks_blocked(0.3)
                await world.runtime.kill("slow")
            assert world.runtime.get("slow").state is InstanceState.STOPPED

    run(main)


def test_a_stopped_process_is_found_and_replaced(pi: PiInstall, tmp_path: Path) -> None:
    watch = HealthPolicy(period=0.05, timeout=0.2, misses=2)

    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            instance = await world.spawn(restart=policy(), health=watch, grace_timeout=0.5)
            with world.runtime.events() as feed:
                kill(instance, signal.SIGSTOP)
                seen: list[object] = []
                async for item in feed:
                    if isinstance(item, Numbered):
                        seen.append(item.event)
                        if isinstance(item.event, Ready) and item.event.incarnation == 2:
                            break
            healths = [event.health for event in seen if isinstance(event, HealthChanged)]
            assert healths[-3:] == [Health.DEGRADED, Health.UNHEALTHY, Health.UNKNOWN]
            (exited,) = [event for event in seen if isinstance(event, Exited)]
            assert not exited.requested
            backing_off = [
                event for event in seen if isinstance(event, StateChanged) and event.state is InstanceState.BACKING_OFF
            ]
            assert "2 probes in a row" in backing_off[0].reason
            assert (await instance.client.get_state()).message_count >= 0

    run(main)


def test_unhealthy_may_also_mean_stop_or_nothing(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            watch = {"period": 0.05, "timeout": 0.1, "misses": 1}
            stops = await world.spawn(health=HealthPolicy(action="stop", **watch))  # type: ignore[arg-type]
            reports = await world.spawn(health=HealthPolicy(action="report", **watch))  # type: ignore[arg-type]
            with world.runtime.events() as feed:
                kill(stops, signal.SIGSTOP)
                kill(reports, signal.SIGSTOP)
                await stops.wait_stopped()
                while reports.status().health is not Health.UNHEALTHY:
                    await feed.__anext__()
                kill(reports, signal.SIGCONT)
                while reports.status().health is not Health.HEALTHY:
                    await feed.__anext__()
            assert reports.state is InstanceState.RUNNING

    run(main)


def test_a_pi_that_is_busy_with_a_long_run_is_healthy(pi: PiInstall, tmp_path: Path) -> None:
    def script(request: ModelRequest) -> Turn:
        if request.tool_result is None:
            return Turn("Working.", tools=[ToolUse("bash", {"command": "for i in 1 2 3 4 5 6; do sleep 0.2; done"})])
        return Turn([f"word{n} " for n in range(500)])

    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world:
            instance = await world.spawn(health=HealthPolicy(period=0.05, timeout=2.0, slow_after=2.0, misses=1))
            with world.runtime.events() as feed:
                await instance.client.send("Work")
                await instance.stop()
                events = []
                async for item in feed:
                    if isinstance(item, Numbered):
                        events.append(item.event)
                        if isinstance(item.event, StateChanged) and item.event.state is InstanceState.STOPPED:
                            break
            bad = [event for event in events if isinstance(event, HealthChanged) and event.health is Health.UNHEALTHY]
            assert bad == []

    run(main)


def test_output_is_kept_after_death_and_secrets_are_not(pi: PiInstall, tmp_path: Path) -> None:
    source = "process.stderr.write(`key ${process.env.MY_API_KEY}\\n`);\nexport default function () {}\n"

    async def main() -> None:
        async with scripted(pi, tmp_path, [Turn("Hello.")]) as world:
            instance = await world.spawn(
                extra_args=world.extension("talk", source), env={"MY_API_KEY": "sk-0123456789"}
            )
            await instance.client.send("Hi")
            followed: list[str] = []
            async with trio.open_nursery() as nursery:

                async def follow() -> None:
                    async for line in instance.logs(follow=True):
                        assert isinstance(line, LogLine)
                        followed.append(line.text)

                nursery.start_soon(follow)
                await instance.stop()
            lines = list(instance.logs())
            assert [line.text for line in lines if line.stream == "stderr"] == ["key [MY_API_KEY]"]
            assert any('"agent_settled"' in line.text for line in lines if line.stream == "stdout")
            assert followed == [line.text for line in lines]
            assert [line.text for line in instance.logs(tail=2)] == followed[-2:]

    run(main)


def test_a_flood_without_a_line_end_neither_blocks_pi_nor_grows_us(one_pi: PiInstall, tmp_path: Path) -> None:
    # Pi guards its own stdout; what is written to the descriptor itself still gets through.
    source = """
    import fs from "node:fs";
    export default function (pi) {
      pi.registerCommand("flood", { description: "floods", handler: async () => {
        const piece = Buffer.alloc(1 << 20, "x");
        for (const fd of [2, 1]) for (let n = 0; n < 100; n++) {
          let at = 0;
          while (at < piece.length) {
            try { at += fs.writeSync(fd, piece, at); } catch (error) { if (error.code !== "EAGAIN") throw error; }
          }
        }
        fs.writeSync(1, "\\n");
      } });
    }
    """

    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            instance = await world.spawn(
                extra_args=world.extension("flood", source), max_record_bytes=1 << 20, log_bytes=1 << 20, health=None
            )
            before = peak_kib()
            assert (await instance.client.send("/flood")).handled
            assert (await instance.client.get_state()).message_count == 0
            assert peak_kib() - before < 40_000  # 200 MB came through
            kept = list(instance.logs())
            assert 0 < sum(len(line.text) for line in kept) <= 1 << 20

    run(main)


def peak_kib() -> int:
    """The most memory this process ever had, in KiB, as the kernel counts."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError("no VmHWM")


def test_a_burst_of_spawns_is_started_a_few_at_a_time(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world, open_runtime(max_starting=2) as narrow:
            most = 0
            with narrow.events() as feed:
                async with trio.open_nursery() as nursery:
                    for _ in range(6):
                        nursery.start_soon(narrow.spawn, world.spec())
                    async for _ in feed:
                        running = narrow.statistics().running
                        most = max(most, len(left_of(narrow)) - running)
                        if running == 6:
                            break
            assert 1 <= most <= 2
            assert narrow.statistics().running == 6

    run(main)


def test_the_session_that_is_continued_is_the_one_it_was_in(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [Turn("One."), Turn("Two.")]) as world:
            instance = await world.spawn(restart=policy(), ephemeral=False)
            await instance.client.send("First")
            first = (await instance.client.get_state()).session_id
            assert not (await instance.client.new_session()).cancelled
            await instance.client.send("Second")
            second = instance.status().session_id
            assert second not in (first, None)
            await killed(instance)
            assert (await instance.client.get_state()).session_id == second

    run(main)


def test_arguments_that_choose_a_session_do_not_stand_in_the_way(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, [Turn("One.")]) as world:
            instance = await world.spawn(restart=policy(), ephemeral=False, extra_args=("--continue",))
            await instance.client.send("First")
            session = (await instance.client.get_state()).session_id
            await killed(instance)
            assert (await instance.client.get_state()).session_id == session

    run(main)


def test_one_command_given_up_does_not_take_another_along(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            instance = await world.spawn()
            async with trio.open_nursery() as nursery:

                async def given_up(task_status: trio.TaskStatus[trio.CancelScope]) -> None:
                    with trio.CancelScope() as scope:
                        task_status.started(scope)
                        await instance.client.bash("echo here > started; sleep 1000")

                scope = await nursery.start(given_up)
                await until(lambda: written(world.folder / "started"))

                async def other() -> None:
                    result = await instance.client.bash("sleep 0.3; echo done")
                    assert (result.output.strip(), result.cancelled) == ("done", False)

                nursery.start_soon(other)
                await trio.testing.wait_all_tasks_blocked(0.05)
                scope.cancel()

    run(main)
