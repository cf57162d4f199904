"""Whatever the tree, whatever the end: nothing is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import attrs
import pytest
import trio

from pi_trio.abc import ExitStatus
from pi_trio.process.keeper import KeeperHost, open_keeper_host
from pi_trio.process.keeper.tree import KeeperTree
from pi_trio.process.procfs import ProcessInfo
from pi_trio.process.sweep import sweep_dead_runs
from tests.process.keeper.runtime import Running, running
from tests.process.keeper.trees import (
    MANNERS,
    PATIENCE,
    SHAPES,
    is_alive,
    new_token,
    settled,
    size_of,
    tree_command,
    wait_for,
    with_token,
    with_tokens,
)
from tests.support import run, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="keepers are made of what only Linux has")

KILLED = ExitStatus(signal="SIGKILL")

# Those that do not end by themselves.
LASTING = [manner for manner in MANNERS if manner != "exits"]


@attrs.frozen
class Case:
    """A tree of some shape, whose agent has some manner."""

    shape: str
    manner: str
    token: str = attrs.field(factory=new_token)

    @property
    def name(self) -> str:
        return f"{self.shape}, {self.manner}"

    def is_up(self, processes: Sequence[ProcessInfo]) -> bool:
        return settled(processes) == size_of(self.shape, self.manner)


def all_up(started: Sequence[Case]) -> bool:
    found = with_tokens([case.token for case in started])
    return all(case.is_up(found[case.token]) for case in started)


def cases(manners: Sequence[str] = LASTING, shapes: Sequence[str] = tuple(SHAPES)) -> list[Case]:
    return [Case(shape, manner) for shape in shapes for manner in manners]


def left_of(started: Sequence[Case]) -> dict[str, int]:
    """How many processes are left, by what left them."""
    found = with_tokens([case.token for case in started])
    return {case.name: len(found[case.token]) for case in started if found[case.token]}


async def spawn(host: KeeperHost, *started: Case, marked: bool = True) -> list[KeeperTree]:
    trees = []
    for case in started:
        marker = {"PI_TRIO_RUN": "test", "PI_TRIO_INSTANCE": case.token} if marked else {}
        tree = await host.spawn(tree_command(case.token, case.shape, case.manner, marker=marker))
        assert isinstance(tree, KeeperTree)
        trees.append(tree)
    await until(lambda: all_up(started))
    return trees


async def kill_tree(_: KeeperHost, trees: Sequence[KeeperTree]) -> None:
    for tree in trees:
        tree.kill_tree()


async def kill_keepers(_: KeeperHost, trees: Sequence[KeeperTree]) -> None:
    for tree in trees:
        os.kill(tree._keeper.pid, signal.SIGKILL)


async def kill_helper(host: KeeperHost, _: Sequence[KeeperTree] = ()) -> None:
    helper = host._helper
    assert helper is not None
    os.kill(helper.pid, signal.SIGKILL)
    await until(lambda: not helper.alive)


async def kill_helper_then_trees(host: KeeperHost, trees: Sequence[KeeperTree]) -> None:
    await kill_helper(host)
    await kill_tree(host, trees)


async def kill_helper_then_keepers(host: KeeperHost, trees: Sequence[KeeperTree]) -> None:
    await kill_helper(host)
    await kill_keepers(host, trees)


async def kill_keepers_and_helper(host: KeeperHost, trees: Sequence[KeeperTree]) -> None:
    assert host._helper is not None
    os.kill(host._helper.pid, signal.SIGSTOP)  # so that it does not get to stand in for anybody
    await kill_keepers(host, trees)
    await kill_helper(host)


async def stop_keepers_then_kill(host: KeeperHost, trees: Sequence[KeeperTree]) -> None:
    for tree in trees:
        os.kill(tree._keeper.pid, signal.SIGSTOP)
    await kill_tree(host, trees)


async def stop_helper_then_kill_keepers(host: KeeperHost, trees: Sequence[KeeperTree]) -> None:
    assert host._helper is not None
    os.kill(host._helper.pid, signal.SIGSTOP)
    await kill_keepers(host, trees)
    await kill_tree(host, trees)


End = Callable[[KeeperHost, Sequence[KeeperTree]], Awaitable[None]]
ENDS: list[End] = [
    kill_tree,
    kill_keepers,
    kill_helper_then_trees,
    kill_helper_then_keepers,
    kill_keepers_and_helper,
    stop_keepers_then_kill,
    stop_helper_then_kill_keepers,
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_empty_means_empty(end: End) -> None:
    async def main() -> None:
        async with open_keeper_host() as host:
            started = cases()
            trees = await spawn(host, *started)
            await end(host, trees)
            for tree, case in zip(trees, started, strict=True):
                assert await tree.wait_exit() == KILLED, case.name
                await tree.wait_empty()
                assert left_of([case]) == {}
                tree.close()

    run(main)


@pytest.mark.parametrize("fate", ["exits", "killed"])
def test_an_agents_own_end_takes_the_tree_with_it(fate: str) -> None:
    async def main() -> None:
        async with open_keeper_host() as host:
            started = cases(["exits"] if fate == "exits" else LASTING)
            trees = await spawn(host, *started)
            for tree in trees:
                if fate == "exits":
                    tree.stdin.write_nowait(b"\n")
                else:
                    os.kill(tree.pid, signal.SIGKILL)
            for tree, case in zip(trees, started, strict=True):
                assert await tree.wait_exit() == (ExitStatus(code=7) if fate == "exits" else KILLED), case.name
                await tree.wait_empty()
                assert left_of([case]) == {}
                tree.close()

    run(main)


@pytest.mark.parametrize(
    "how", ["trees closed", "host closed", "exception", "cancelled", "helper killed", "all killed"]
)
def test_a_host_that_is_left_leaves_nothing(how: str) -> None:
    started = cases()

    async def main() -> None:
        with suppress(LookupError), trio.CancelScope() as scope:
            await leave(scope)

    async def leave(scope: trio.CancelScope) -> None:
        async with open_keeper_host() as host:
            trees = await spawn(host, *started)
            if how == "trees closed":
                for tree in trees:
                    tree.close()
            elif how == "exception":
                raise LookupError
            elif how == "cancelled":
                scope.cancel()
                await trio.sleep_forever()
            elif how == "helper killed":
                await kill_helper(host)
            elif how == "all killed":
                await kill_helper_then_keepers(host, trees)

    run(main)
    assert left_of(started) == {}


def test_what_wipes_its_environment_is_found_without_keeper_and_helper() -> None:
    async def main() -> None:
        async with open_keeper_host() as host:
            started = cases(["lives"])
            trees = await spawn(host, *started, marked=False)
            await kill_helper_then_keepers(host, trees)
            for tree in trees:
                await tree.wait_empty()
            assert left_of(started) == {}
            for tree in trees:
                tree.close()

    run(main)


def test_the_marker_alone_finds_what_keeps_it() -> None:
    async def main() -> None:
        async with open_keeper_host() as host:
            host._roster.stamp = None  # as where somebody lowered that limit
            started = cases(["lives"], [shape for shape in SHAPES if shape != "wiped"])
            trees = await spawn(host, *started)
            await kill_helper_then_keepers(host, trees)
            for tree in trees:
                await tree.wait_empty()
            assert left_of(started) == {}
            for tree in trees:
                tree.close()

    run(main)


def test_standing_in_for_keepers_touches_nothing_else() -> None:
    """Not the program's own children, not what it left behind itself, not the trees that have keepers."""
    own = new_token()

    async def main() -> None:
        async with open_keeper_host() as host:
            child = subprocess.Popen(["sleep", f"3600.{own}"], start_new_session=True)  # noqa: ASYNC220
            subprocess.run(["sh", "-c", f"setsid sleep 3600.{own} & exit"], check=True)  # noqa: ASYNC221
            await until(lambda: settled(with_token(own)) == 2)
            kept, lost, later = cases(["lives"], ["wiped"]) + cases(["lives"], ["setsid", "double fork"])
            kept_tree, lost_tree = await spawn(host, kept, lost)
            await kill_helper(host)
            (later_tree,) = await spawn(host, later)  # by a new helper
            await kill_keepers(host, [lost_tree])
            await lost_tree.wait_empty()
            assert left_of([lost]) == {}
            assert left_of([kept, later]) == {kept.name: 2, later.name: 2}
            assert len(with_token(own)) == 2
            assert child.poll() is None
            for tree in (kept_tree, later_tree):
                tree.kill_tree()
                assert await tree.wait_exit() == KILLED
                await tree.wait_empty()
            child.kill()
            assert child.wait() == -signal.SIGKILL  # nobody else has waited for it

    try:
        run(main)
    finally:
        for process in with_token(own):
            os.kill(process.pid, signal.SIGKILL)
            os.waitpid(process.pid, 0)  # adopted while this process was a subreaper


def kill_now(*pids: int) -> None:
    """One after the other; the later ones may be gone by then."""
    pidfds = [os.pidfd_open(pid) for pid in pids]
    for pidfd in pidfds:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)


RUNTIME_ENDS: dict[str, Callable[[Running], Sequence[int]]] = {
    "runtime": lambda running: [running.process.pid],
    "runtime and keepers": lambda running: [running.process.pid, *running.keepers],
    "keepers and runtime": lambda running: [*running.keepers, running.process.pid],
    "helper and runtime": lambda running: [running.helper, running.process.pid],
}


@pytest.mark.parametrize("end", RUNTIME_ENDS)
def test_nothing_survives_the_runtime(end: str) -> None:
    started = cases()
    with running([(case.token, case.shape, case.manner) for case in started]) as runtime:
        wait_for(lambda: all_up(started))
        kill_now(*RUNTIME_ENDS[end](runtime))
        runtime.process.wait()
        wait_for(lambda: left_of(started) == {})
        wait_for(lambda: not any(map(is_alive, (runtime.helper, *runtime.keepers))))


def test_a_forked_child_that_holds_every_descriptor_keeps_nothing_alive() -> None:
    started = cases(["lives", "deaf"], ["child", "double fork"])
    with running([(case.token, case.shape, case.manner) for case in started], fork=True) as runtime:
        wait_for(lambda: all_up(started))
        held = [os.readlink(f"/proc/{runtime.forked}/fd/{fd}") for fd in os.listdir(f"/proc/{runtime.forked}/fd")]
        assert sum(name.startswith("socket:") for name in held) > len(started)
        kill_now(runtime.process.pid)
        runtime.process.wait()
        wait_for(lambda: left_of(started) == {})
        assert runtime.forked is not None
        assert is_alive(runtime.forked)
        wait_for(lambda: not any(map(is_alive, (runtime.helper, *runtime.keepers))))


def test_a_forked_child_that_holds_every_descriptor_holds_up_no_orderly_end() -> None:
    started = cases(["lives"], ["double fork"])
    with running([(case.token, case.shape, case.manner) for case in started], fork=True, leave=True) as runtime:
        assert runtime.process.wait(PATIENCE) == 0
        assert left_of(started) == {}
        assert runtime.forked is not None
        assert is_alive(runtime.forked)
        assert not any(map(is_alive, (runtime.helper, *runtime.keepers)))


def test_what_survives_runtime_helper_and_keepers_is_swept_at_the_next_start() -> None:
    started = cases(["lives"])
    with running([(case.token, case.shape, case.manner) for case in started]) as runtime:
        wait_for(lambda: all_up(started))
        with running([((other := Case("double fork", "lives")).token, other.shape, other.manner)]):
            wait_for(lambda: all_up([other]))
            processes = {process.pid for case in started for process in with_token(case.token)}
            kill_now(runtime.process.pid, runtime.helper, *runtime.keepers)
            runtime.process.wait()
            wait_for(lambda: not any(map(is_alive, (runtime.helper, *runtime.keepers))))
            # What daemonized is left now; unless another runtime started on this machine just then, and swept.
            sweep_dead_runs()
            assert left_of(started) == {}
            assert left_of([other]) == {other.name: 2}
            assert not any(map(is_alive, processes))
