"""Each fault does what it says, seen through the real runtime."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from pi_trio import (
    ClientError,
    Health,
    HealthPolicy,
    Instance,
    InstanceSpec,
    InstanceState,
    ProcessExited,
    RequestTimeout,
    RestartType,
    Runtime,
    SpawnError,
    open_runtime,
)
from pi_trio.abc import ExitStatus
from pi_trio.launch import PiInstall
from pi_trio.protocol import MalformedRecord
from pi_trio.testing import faults
from pi_trio.testing.invariants import check_trace
from pi_trio.testing.plans import Advance, Affliction, Ask, Connect, Plan, Spawn
from pi_trio.testing.sim_pi import SimPi
from pi_trio.testing.simulation import run_plan
from pi_trio.testing.trace import (
    AskEnded,
    FaultActed,
    LinkEnded,
    LinkWritten,
    Misuse,
    PipeWritten,
    ProcessSpawned,
    Recorder,
    Trace,
)
from pi_trio.testing.trace import ProcessExited as Ended
from pi_trio.testing.world import Fault, SimWorld, open_world
from tests.concurrency.virtual import run


@attrs.define(eq=False)
class Lab:
    """A runtime in a world in which something goes wrong."""

    runtime: Runtime
    world: SimWorld

    async def spawn(self, **changes: Any) -> Instance:
        base = InstanceSpec(
            pi=PiInstall(Path("/pi"), "0.87.1", "named", None),
            cwd="/",
            inherit_env=False,
            start_timeout=5.0,
            drain_timeout=1.0,
            grace_timeout=2.0,
            restart=RestartType.TEMPORARY,
            health=None,
        )
        return await self.runtime.spawn(attrs.evolve(base, **changes))


def play(main: Callable[[Lab], Awaitable[None]], *given: Fault, acts: bool = True) -> Trace:
    """Run ``main`` with these faults for every process; nothing may be left, and nothing misused."""
    recorder = Recorder()

    async def inside() -> None:
        world_options: dict[str, Any] = {"record": recorder.record, "faults": lambda *_: given}
        async with open_world(programs={"/pi": SimPi()}, **world_options) as world:
            async with open_runtime(host=world, max_starting=4) as runtime:
                await main(Lab(runtime, world))
            assert not world.kernel.table
            assert world.open_ends == 0

    run(inside)
    trace = recorder.trace()
    assert list(trace.of(Misuse)) == []
    if acts:
        acted = {event.fault for event in trace.of(FaultActed)}
        assert {repr(fault) for fault in given} <= acted
    return trace


def test_all_of_them_are_known_and_frozen() -> None:
    found = {value for value in vars(faults).values() if inspect.isclass(value) and issubclass(value, Fault)} - {Fault}
    assert found == set(faults.FAULTS)
    for fault in found:
        assert fault.__doc__
        assert attrs.has(fault)
        assert "__setattr__" in vars(fault), "it is frozen"


# --- the start ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ["EAGAIN", "ENOENT", "ENOSPC"])
def test_bad_spawn(error: Any) -> None:
    async def main(lab: Lab) -> None:
        with pytest.raises(SpawnError, match="could not be started") as caught:
            await lab.spawn()
        assert caught.value.status is None

    trace = play(main, faults.BadSpawn(error))
    assert not list(trace.of(ProcessSpawned))


def test_slow_spawn() -> None:
    async def main(lab: Lab) -> None:
        for _ in range(4):  # it is slow before there is a process, or behind it
            began = trio.current_time()
            await lab.spawn()
            assert trio.current_time() - began >= 3

    play(main, faults.SlowSpawn(3.0), acts=False)


def test_slow_start() -> None:
    async def main(lab: Lab) -> None:
        await lab.spawn()
        assert trio.current_time() >= 4

    play(main, faults.SlowStart(4.0))


def test_hanging_start() -> None:
    async def main(lab: Lab) -> None:
        with pytest.raises(SpawnError, match="did not answer within 5 s"):
            await lab.spawn()

    play(main, faults.HangingStart())


# --- the end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "status"),
    [
        (3, ExitStatus(code=3)),
        ("SIGQUIT", ExitStatus(signal="SIGQUIT")),
        ("SIGKILL", ExitStatus(signal="SIGKILL")),
    ],
)
def test_crash_before_it_is_ready(how: Any, status: ExitStatus) -> None:
    async def main(lab: Lab) -> None:
        with pytest.raises(SpawnError) as caught:
            await lab.spawn()
        assert caught.value.status == status
        assert caught.value.stderr_tail == b"ouch\n"

    play(main, faults.Crash(0.01, how, last_words="ouch\n"))


def test_crash_while_it_runs() -> None:
    async def main(lab: Lab) -> None:
        instance = await lab.spawn()
        await instance.wait_stopped()
        assert instance.exit_status == ExitStatus(code=1)
        with pytest.raises(ProcessExited):
            await instance.client.get_state()

    play(main, faults.Crash(30.0))


def test_crash_at_the_first_record() -> None:
    async def main(lab: Lab) -> None:
        with pytest.raises(SpawnError) as caught:
            await lab.spawn()
        assert caught.value.status == ExitStatus(code=1)

    play(main, faults.CrashAtRecord(1))


@pytest.mark.parametrize(("written", "cut"), [(0.0, 0), (0.5, 1), (1.0, 0)])
def test_crash_in_the_middle_of_a_record(written: float, cut: int) -> None:
    async def main(lab: Lab) -> None:
        instance = await lab.spawn()
        seen: list[object] = []
        with instance.client.subscribe() as events:
            with pytest.raises(ProcessExited):
                await instance.client.send("hello")
            with pytest.raises(ProcessExited):
                async for event in events:
                    seen.append(type(event))  # noqa: PERF401 - the loop ends with an error
        assert seen.count(MalformedRecord) == cut

    play(main, faults.CrashAtRecord(5, "SIGKILL", written))


def test_half_a_record_at_the_exit() -> None:
    async def main(lab: Lab) -> None:
        instance = await lab.spawn()
        with instance.client.subscribe() as events:
            await instance.stop()
            assert [type(event) async for event in events] == [MalformedRecord]
        assert instance.exit_status == ExitStatus(code=0)

    play(main, faults.HalfRecordAtExit())


def test_slow_death() -> None:
    async def main(lab: Lab) -> None:
        instance = await lab.spawn()
        began = trio.current_time()
        await instance.stop(force=True)
        assert trio.current_time() - began >= 3

    play(main, faults.SlowDeath(3.0))


def test_ignored_sigterm_and_end() -> None:
    async def main(lab: Lab) -> None:
        instance = await lab.spawn()
        began = trio.current_time()
        await instance.stop()
        assert instance.exit_status == ExitStatus(signal="SIGKILL")
        assert trio.current_time() - began == pytest.approx(3, abs=0.1), "drain and grace"

    play(main, faults.IgnoredSigterm(), faults.IgnoredEnd())


# --- silence and noise --------------------------------------------------------------------------------------


def test_stopped_for_ever() -> None:
    async def main(lab: Lab) -> None:
        instance = await lab.spawn(request_timeout=2.0)
        await trio.sleep(10)
        with pytest.raises(RequestTimeout):
            await instance.client.get_state()
        await instance.stop()
        assert instance.exit_status != ExitStatus(signal="SIGKILL"), "SIGCONT lets it end by itself"

    play(main, faults.Stopped(5.0))


def test_stopped_for_a_while() -> None:
    async def main(lab: Lab) -> None:
        instance = await lab.spawn(request_timeout=20.0)
        await trio.sleep(5)
        await instance.client.get_state()
        assert trio.current_time() >= 10

    play(main, faults.Stopped(5.0, pause=5.0))


def test_stops_reading() -> None:
    async def main(lab: Lab) -> None:
        instance = await lab.spawn(request_timeout=2.0)
        with pytest.raises(RequestTimeout):
            await instance.client.get_state()
        await instance.stop()
        assert instance.exit_status == ExitStatus(code=143), "it does not see the end of its stdin"

    play(main, faults.StopsReading(after_bytes=20))


def test_mute() -> None:
    async def main(lab: Lab) -> None:
        policy = HealthPolicy(period=1.0, timeout=1.0, misses=2, action="report")
        instance = await lab.spawn(health=policy)
        await trio.sleep(10)
        assert instance.health is Health.UNHEALTHY
        assert instance.state is InstanceState.RUNNING

    play(main, faults.Mute(1))


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_flood(stream: Any) -> None:
    async def main(lab: Lab) -> None:
        instance = await lab.spawn(log_bytes=50_000)
        assert (await instance.client.send("hello")).text == "You said: hello"
        await trio.sleep(1)
        kept = sum(len(line.text) for line in instance.logs() if line.stream == stream)
        assert 10_000 < kept <= 60_000

    play(main, faults.Flood(stream, burst_bytes=5_000))


def test_garbage_lines() -> None:
    async def main(lab: Lab) -> None:
        instance = await lab.spawn()
        assert (await instance.client.send("hello")).text == "You said: hello"

    play(main, faults.GarbageLines())


def test_split_writes() -> None:
    async def main(lab: Lab) -> None:
        instance = await lab.spawn()
        assert (await instance.client.send("hello")).text == "You said: hello"

    play(main, faults.SplitWrites(1))


# --- responses ----------------------------------------------------------------------------------------------


async def ask_three(instance: Instance) -> list[str]:
    """Three requests at a time; what came of them, in the order in which they were asked."""
    outcomes = ["", "", ""]

    async def ask(number: int) -> None:
        try:
            await instance.client.get_state(timeout=1.0)
        except RequestTimeout:
            outcomes[number] = "late"
        else:
            outcomes[number] = "answered"

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(ask, number)
    return outcomes


@pytest.mark.parametrize(
    ("fault", "answered"),
    [
        (faults.DuplicatedResponses(), 3),
        (faults.ResponsesOutOfOrder(), 3),
        (faults.ResponsesWithoutId(2), 1),
        (faults.LostResponses(2), 1),
        (faults.LateResponses(0.1), 3),
        (faults.LateResponses(2.0, every=2), 1),
    ],
    ids=repr,
)
def test_responses(fault: Fault, answered: int) -> None:
    async def main(lab: Lab) -> None:
        instance = await lab.spawn()  # has had the first
        assert (await ask_three(instance)).count("answered") == answered
        await trio.sleep(10)

    play(main, fault)


# --- grandchildren ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("holds_stdout", [False, True])
@pytest.mark.parametrize("kind", ["child", "setsid", "daemon"])
def test_grandchildren(kind: Any, holds_stdout: bool) -> None:
    async def main(lab: Lab) -> None:
        instance = await lab.spawn()
        await trio.sleep(1)
        assert len(lab.world.kernel.table) == 2
        await instance.stop()
        assert instance.exit_status == ExitStatus(code=0)
        assert not lab.world.kernel.table

    trace = play(main, faults.Grandchild(kind, holds_stdout=holds_stdout))
    assert ExitStatus(signal="SIGKILL") in [event.status for event in trace.of(Ended)]


# --- several ------------------------------------------------------------------------------------------------


def test_any_two_go_together() -> None:
    spoilers = [
        faults.Crash(2.0),
        faults.CrashAtRecord(4, written=0.5),
        faults.DuplicatedResponses(),
        faults.Flood("stdout", period=0.1),
        faults.GarbageLines(),
        faults.LateResponses(0.1),
        faults.LostResponses(3),
        faults.Mute(5),
        faults.ResponsesOutOfOrder(),
        faults.ResponsesWithoutId(3),
        faults.SplitWrites(5),
        faults.Stopped(1.0, pause=0.5),
    ]

    async def main(lab: Lab) -> None:
        try:
            instance = await lab.spawn(request_timeout=1.0)
        except SpawnError:
            return
        for _ in range(3):
            try:
                await instance.client.get_state()
            except ClientError:
                pass
        await instance.stop()

    for one in spoilers:
        for other in spoilers:
            play(main, one, other, acts=False)


# --- connections --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "answered", "written"),
    [
        (faults.DropAtRecord(2, "back"), ["ok", "ok"], 2),  # it had come when the connection dropped
        (faults.DropAtRecord(2, "back", half=True), ["ConnectionLost", "ok"], 2),
        (faults.DropAtRecord(2, "out"), ["ConnectionLost", "ok"], 2),
        (faults.DropAtRecord(2, "out", half=True), ["ConnectionLost", "ok"], 2),
        (faults.DropAfterBytes(60, "out"), ["ConnectionLost", "ok"], 2),
    ],
)
def test_connections_drop(fault: Fault, answered: list[str], written: int) -> None:
    steps = (Spawn(), Connect(), Advance(1.0), Ask(wait=True), Advance(2.0), Ask(wait=True))
    trace = run_plan(Plan(seed=1, afflictions=(Affliction(fault),), steps=steps))
    assert check_trace(trace) == []
    assert [event.fault for event in trace.of(FaultActed)] == [repr(fault)]
    assert next(event.code for event in trace.of(LinkEnded)) == 1006
    assert [event.outcome for event in trace.of(AskEnded)] == answered
    assert sum(b"mark" in event.record for event in trace.of(LinkWritten)) == written
    got = sum(event.data.count(b'"mark"') for event in trace.of(PipeWritten) if event.pipe == "stdin")
    within_out = getattr(fault, "way", "") == "out" and (getattr(fault, "half", True))
    assert got == (1 if within_out else 2)
