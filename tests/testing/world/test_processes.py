"""Processes: pids, trees, orphans, the end."""

from __future__ import annotations

import errno
import math

import pytest
import trio

from pi_trio.abc import ExitStatus, ProcessCommand, Signal
from pi_trio.testing.trace import (
    ProcessExited,
    ProcessReaped,
    ProcessSignalled,
    ProcessSpawned,
    SpawnFailed,
    TreeEmptied,
)
from pi_trio.testing.world import System
from tests.testing.world.support import Stage, play


async def nothing(_: System) -> int:
    return 0


async def sleeper(system: System) -> int:
    await system.sleep(float("inf"))
    return 0


def test_a_pid_comes_back_as_soon_as_it_was_reaped() -> None:
    async def main(stage: Stage) -> None:
        for _ in range(3):
            async with stage.running(nothing) as tree:
                await tree.wait_empty()

    spawned = list(play(main).of(ProcessSpawned))
    assert len({event.pid for event in spawned}) == 1
    assert [event.process for event in spawned] == [1, 2, 3]


def test_two_that_live_have_two_pids() -> None:
    async def main(stage: Stage) -> None:
        async with stage.running(sleeper) as one, stage.running(sleeper) as other:
            assert one.pid != other.pid

    play(main)


def test_every_process_is_spawned_exits_and_is_reaped_once_and_then_the_tree_is_empty() -> None:
    async def family(system: System) -> int:
        for _ in range(3):
            system.spawn(sleeper, "child", new_session=True)
        return 7

    async def main(stage: Stage) -> None:
        async with stage.running(family) as tree:
            assert await tree.wait_exit() == ExitStatus(code=7)
            await tree.wait_empty()

    trace = play(main)
    assert sorted(event.process for event in trace.of(ProcessSpawned)) == [1, 2, 3, 4]
    assert sorted(event.process for event in trace.of(ProcessExited)) == [1, 2, 3, 4]
    assert sorted(event.process for event in trace.of(ProcessReaped)) == [1, 2, 3, 4]
    assert [event.parent for event in trace.of(ProcessSpawned)] == [None, 1, 1, 1]
    (empty,) = trace.of(TreeEmptied)
    assert trace.events.index(empty) > max(trace.events.index(event) for event in trace.of(ProcessReaped))


def test_a_daemon_outlives_its_parents_until_the_root_is_gone() -> None:
    async def fork(system: System) -> int:
        system.spawn(sleeper, "daemon", new_session=True)
        return 0

    async def root(system: System) -> int:
        await system.wait(system.spawn(fork, "fork", new_session=True))
        await system.sleep(10)
        return 0

    async def main(stage: Stage) -> None:
        async with stage.running(root) as tree:
            await trio.sleep(5)
            daemon = next(each for each in stage.world.kernel.table.values() if each.argv == ("daemon",))
            assert daemon.alive
            assert not isinstance(daemon.parent, type(daemon)), "its keeper has inherited it"
            await tree.wait_exit()
            assert daemon.alive, "its end takes a moment"
            await tree.wait_empty()
            assert not daemon.alive

    play(main)


def test_a_session_of_its_own_is_not_reached_by_killing_the_group() -> None:
    async def root(system: System) -> int:
        same = system.spawn(sleeper, "same")
        other = system.spawn(sleeper, "other", new_session=True)
        assert (same.group, other.group) == (system.group, other.pid)
        system.ignore_signal("SIGTERM")
        system.kill_group(system.group, "SIGTERM")
        assert await system.wait(same) == ExitStatus(signal="SIGTERM")
        assert other.alive
        return 0

    async def main(stage: Stage) -> None:
        async with stage.running(root) as tree:
            assert tree.root.group == tree.pid
            assert await tree.wait_exit() == ExitStatus(code=0)

    play(main)


def test_what_does_not_sweep_kills_when_it_is_told() -> None:
    async def root(system: System) -> int:
        system.spawn(sleeper, "child", new_session=True)
        return 0

    async def main(stage: Stage) -> None:
        async with stage.running(root) as tree:
            assert await tree.wait_exit() == ExitStatus(code=0)
            with trio.move_on_after(100) as patience:
                await tree.wait_empty()
            assert patience.cancelled_caught
            tree.kill_tree()
            await tree.wait_empty()

    play(main, sweeps=False)


def test_killing_the_tree_reaches_what_was_daemonized() -> None:
    async def fork(system: System) -> int:
        system.spawn(sleeper, "daemon", new_session=True)
        return 0

    async def root(system: System) -> int:
        system.spawn(fork, "fork")
        await system.sleep(float("inf"))
        return 0

    async def main(stage: Stage) -> None:
        async with stage.running(root) as tree:
            await trio.sleep(1)
            tree.kill_tree()
            assert await tree.wait_exit() == ExitStatus(signal="SIGKILL")
            await tree.wait_empty()
            assert not stage.world.kernel.table

    play(main)


def test_the_system_refuses_as_the_real_one_does() -> None:
    async def main(stage: Stage) -> None:
        for command, name in (
            (ProcessCommand(argv=("no-such",), cwd="/here", env={}), "no-such"),
            (ProcessCommand(argv=("sh", "-c", "true"), cwd="/none", env={}), "/none"),
        ):
            with pytest.raises(FileNotFoundError) as caught:
                await stage.world.spawn(command)
            assert caught.value.filename == name

    trace = play(main, folders=frozenset({"/here"}))
    assert len(list(trace.of(SpawnFailed))) == 2


def test_a_program_is_looked_for_in_the_path() -> None:
    async def main(stage: Stage) -> None:
        stage.world.kernel.programs["/opt/some-program"] = nothing
        async with stage.running(nothing, argv=("some-program",), env={"PATH": "/no:/opt"}) as tree:
            assert await tree.wait_exit() == ExitStatus(code=0)

    play(main)


def test_there_is_a_limit_to_processes() -> None:
    async def main(stage: Stage) -> None:
        async with stage.running(sleeper), stage.running(sleeper):
            with pytest.raises(OSError, match="unavailable") as caught:
                await stage.start(sleeper)
            assert caught.value.errno == errno.EAGAIN
            assert stage.world.open_ends == 6, "the third has none"
        assert stage.world.open_ends == 0

    play(main, max_processes=2)


def test_what_a_program_did_not_expect_ends_it() -> None:
    async def root(system: System) -> int:
        system.spawn(sleeper, "child")
        return 0

    async def main(stage: Stage) -> None:
        async with stage.running(root) as tree:
            assert await tree.wait_exit() == ExitStatus(code=1)
            assert b"unavailable" in (await tree.stderr.receive_some() or b"")

    play(main, max_processes=1)


@pytest.mark.parametrize("seed", range(8))
def test_a_cancelled_spawn_raises_and_leaves_nothing_or_returns_a_tree(seed: int) -> None:
    async def main(stage: Stage) -> None:
        tree = None
        with trio.move_on_after(0.0001) as scope:
            tree = await stage.start(sleeper)
        if tree is None:
            assert scope.cancelled_caught
            assert not stage.world.kernel.table
        else:
            tree.kill_tree()
            await tree.wait_empty()
            tree.close()

    play(main, seed=seed)


def test_all_kinds_of_cancelled_spawns_happen() -> None:
    def outcome(seed: int) -> tuple[bool, int]:
        trees = []

        async def main(stage: Stage) -> None:
            with trio.move_on_after(0.0001):
                trees.append(await stage.start(nothing))
            for tree in trees:
                await tree.wait_empty()
                tree.close()

        trace = play(main, seed=seed)
        return bool(trees), len(list(trace.of(ProcessSpawned)))

    assert {outcome(seed) for seed in range(30)} == {(False, 0), (False, 1), (True, 1)}


def test_what_is_left_is_told() -> None:
    async def main(stage: Stage) -> None:
        await stage.start(sleeper)

    play(main, misuse=2)  # a tree that was not closed, and its process


def test_a_tree_that_is_closed_too_early_is_told_and_ended_by_its_keeper() -> None:
    async def main(stage: Stage) -> None:
        tree = await stage.start(sleeper, grace_timeout=3.0)
        tree.close()
        tree.send_signal(Signal.CONT)  # nothing forbids it
        assert await tree.wait_exit() == ExitStatus(signal="SIGTERM")
        await tree.wait_empty()

    play(main, misuse=1)


def test_a_keeper_that_is_killed_takes_its_whole_tree_with_it() -> None:
    async def stays(system: System) -> int:
        for fd in (0, 1, 2):
            system.close(fd)
        await system.sleep(math.inf)
        return 0

    async def agent(system: System) -> int:
        system.process.block("SIGTERM", "SIGINT", "SIGHUP")
        system.spawn(stays, "in a session of its own", new_session=True)
        await system.sleep(math.inf)
        return 0

    async def main(stage: Stage) -> None:
        async with stage.running(agent) as tree:
            await trio.sleep(1.0)
            assert len(stage.world.kernel.table) == 2
            stage.world.kill_keeper("a")
            assert await tree.wait_exit() == ExitStatus(signal="SIGKILL")
            await tree.wait_empty()
            assert not stage.world.kernel.table

    trace = play(main)
    assert {event.sender for event in trace.of(ProcessSignalled)} == {"keeper"}


def test_reaping_twice_and_signals_to_the_reaped_are_told() -> None:
    async def main(stage: Stage) -> None:
        async with stage.running(nothing) as tree:
            await tree.wait_empty()
            stage.world.kernel.reap(tree.root)
            stage.world.kernel.send(tree.root, "SIGTERM", "process")

    play(main, misuse=2)


def test_the_same_seed_gives_the_same_trace_and_another_seed_another() -> None:
    async def main(stage: Stage) -> None:
        async with stage.running(nothing) as tree:
            await tree.wait_empty()

    digests = [play(main, seed=seed).digest() for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]
