"""The keeper host: what it promises beyond what every host does (see test_conformance)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from pi_trio.abc import ExitStatus, ProcessCommand, ProcessTree
from pi_trio.process.keeper import available, helper_process, keeper_available, open_keeper_host
from pi_trio.process.keeper.control import Control
from pi_trio.process.keeper.helper.kernel import children, is_subreaper, set_subreaper
from pi_trio.process.keeper.host import KeeperHost
from pi_trio.process.keeper.tree import KeeperTree
from tests.process.conformance import owned, read_all, shell
from tests.process.keeper.trees import (
    child_pids,
    descriptors,
    is_alive,
    new_token,
    settled,
    threads,
    tree_command,
    with_token,
)
from tests.support import run, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="keepers are made of what only Linux has")


async def kill_helper(host: KeeperHost) -> None:
    helper = host._helper
    assert helper is not None
    os.kill(helper.pid, signal.SIGKILL)
    await until(lambda: not helper.alive)


def keeper_of(tree: object) -> int:
    assert isinstance(tree, KeeperTree)
    return tree._keeper.pid


def test_everything_is_given_back() -> None:
    """After good starts, refused ones, cancelled ones, a killed keeper, a killed helper."""

    async def main() -> None:
        before = (descriptors(), threads(), child_pids())
        for _ in range(2):
            async with open_keeper_host() as host:
                for _ in range(5):
                    async with owned(host, shell("exit 0")) as tree:
                        await tree.wait_exit()
                with pytest.raises(FileNotFoundError):
                    await host.spawn(ProcessCommand(argv=("no-such-program",), cwd="/", env={}))
                with trio.move_on_after(0):
                    await host.spawn(shell("sleep 3600"))
                async with owned(host, shell("sleep 3600")) as tree:
                    os.kill(keeper_of(tree), signal.SIGKILL)
                    assert await tree.wait_exit() == ExitStatus(signal="SIGKILL")
                async with owned(host, shell("sleep 3600")) as tree:
                    await kill_helper(host)
                    tree.kill_tree()
                    await tree.wait_empty()
                    assert child_pids() == before[2], "the inherited keeper was reaped"
                async with owned(host, shell("sleep 3600")) as tree:
                    os.kill(keeper_of(tree), signal.SIGKILL)
                    await kill_helper(host)
                    assert await tree.wait_exit() == ExitStatus(signal="SIGKILL")
            assert (descriptors(), threads(), child_pids()) == before

    run(main)


# Counted in checkpoints of another task: from before anything was asked for until long after it was done.
MOMENTS = [0, 1_000_000, *random.Random(20).choices([2**exponent for exponent in range(12)], k=28)]


def test_cancelling_a_spawn_leaves_nothing_or_returns_a_tree() -> None:
    outcomes = set()

    async def spawn_and_cancel(host: KeeperHost, token: str, moment: int) -> ProcessTree | None:
        tree = None
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                for _ in range(moment):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()

            nursery.start_soon(cancel)
            tree = await host.spawn(tree_command(token, "double fork", "deaf", grace=3600.0))
            nursery.cancel_scope.cancel()
        return tree

    async def main() -> None:
        async with open_keeper_host() as host:
            before = descriptors()
            for moment in MOMENTS:
                token = new_token()
                tree = await spawn_and_cancel(host, token, moment)
                outcomes.add(tree is not None)
                if tree is not None:
                    tree.kill_tree()
                    await tree.wait_empty()
                    tree.close()
                assert with_token(token) == []
                assert descriptors() == before

    run(main)
    assert outcomes == {False, True}


def test_cancelling_a_spawn_ends_what_is_up_and_deaf_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent runs, and does not care for SIGTERM; the host just has not heard of it yet."""
    token = new_token()
    wait_until = Control.wait_until

    async def main() -> None:
        async with open_keeper_host() as host:
            before = descriptors()
            with trio.CancelScope() as scope:

                async def wait_late(control: Control, reached: Callable[[], bool]) -> None:
                    monkeypatch.undo()
                    await until(lambda: settled(with_token(token)) == 1)
                    scope.cancel()
                    await wait_until(control, reached)

                monkeypatch.setattr(Control, "wait_until", wait_late)
                await host.spawn(tree_command(token, "alone", "deaf", grace=3600.0))
            assert scope.cancelled_caught
            assert with_token(token) == []
            assert descriptors() == before

    run(main)


def test_a_helper_that_was_killed_is_replaced() -> None:
    async def main() -> None:
        async with open_keeper_host() as host:
            async with owned(host, shell("read x; exit 3")) as first:
                await kill_helper(host)
                async with owned(host, shell("exit 4")) as second:
                    assert await second.wait_exit() == ExitStatus(code=4)
                first.stdin.write_nowait(b"\n")
                assert await first.wait_exit() == ExitStatus(code=3)

    run(main)


def test_a_helper_that_dies_over_a_request_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_keeper_host() as host:
            assert host._helper is not None
            os.kill(host._helper.pid, signal.SIGSTOP)  # the request is sent, and never taken
            statuses = []

            async def spawn() -> None:
                async with owned(host, shell(f"echo x >> {tmp_path}/count; exit 4")) as tree:
                    statuses.append(await tree.wait_exit())

            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(spawn)
                await trio.testing.wait_all_tasks_blocked()
                os.kill(host._helper.pid, signal.SIGKILL)
            assert statuses == [ExitStatus(code=4)] * 3
            assert (tmp_path / "count").read_text() == "x\n" * 3

    run(main)


def test_a_keeper_that_is_killed_before_it_starts_anything_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    send = Control.send

    async def main() -> None:
        async with open_keeper_host() as host:

            async def kill_then_send(control: Control, message: dict[str, Any]) -> None:
                monkeypatch.undo()
                assert host._helper is not None
                helper = host._helper.pid
                await until(lambda: children(helper))
                (keeper,) = children(helper)
                os.kill(keeper, signal.SIGKILL)
                await until(lambda: not children(helper))
                await send(control, message)

            monkeypatch.setattr(Control, "send", kill_then_send)
            async with owned(host, shell("exit 4")) as tree:
                assert await tree.wait_exit() == ExitStatus(code=4)

    run(main)


def test_a_helper_that_dies_again_and_again_is_an_oserror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import os; os.kill(os.getpid(), 9)\n")

    async def main() -> None:
        async with open_keeper_host() as host:
            monkeypatch.setattr(helper_process, "_PROGRAM", str(broken))
            await kill_helper(host)
            with pytest.raises(ChildProcessError, match="died while it started one"):
                await host.spawn(shell("exit 0"))

    run(main)


def test_a_helper_that_cannot_start_is_an_oserror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = descriptors()
    monkeypatch.setattr(helper_process, "_PROGRAM", str(tmp_path / "none"))

    async def main() -> None:
        async with open_keeper_host():
            raise AssertionError("it was opened")

    with pytest.raises(OSError, match="did not start"):
        run(main)
    assert descriptors() == before
    assert not is_subreaper()


@pytest.mark.parametrize("helper_too", [False, True])
def test_the_status_is_the_agents_own_even_if_the_keeper_never_saw_it(helper_too: bool) -> None:
    async def main() -> None:
        async with open_keeper_host() as host, owned(host, shell("read x; exit 7")) as tree:
            os.kill(keeper_of(tree), signal.SIGSTOP)
            tree.stdin.write_nowait(b"\n")
            await until(lambda: not is_alive(tree.pid))
            if helper_too:
                await kill_helper(host)
            os.kill(keeper_of(tree), signal.SIGKILL)
            assert await tree.wait_exit() == ExitStatus(code=7)

    run(main)


def test_many_at_once() -> None:
    async def main() -> None:
        statuses = []

        async def live(host: KeeperHost, code: int) -> None:
            async with owned(host, shell(f"sleep 0.01 & head -c 3000 /dev/zero; exit {code}")) as tree:
                assert len(await read_all(tree.stdout)) == 3000
                statuses.append(await tree.wait_exit())

        async with open_keeper_host() as host:
            async with trio.open_nursery() as nursery:
                for code in range(60):
                    nursery.start_soon(live, host, code)
        assert sorted(status.code or 0 for status in statuses) == list(range(60))

    run(main)


BOMB = "bomb() { [ $1 -gt 0 ] && { bomb $(($1 - 1)) & bomb $(($1 - 1)) & }; exec sleep 3600.$0; }; bomb 7"
HOPPER = 'hop() { [ $1 -gt 0 ] || exit; sh -c "$2" "$0" $(($1 - 1)) "$2" & exit; }; hop "$@"'


@pytest.mark.parametrize("size", [40, 255])
def test_a_fork_bomb_is_ended_while_it_grows_and_when_it_is_done(size: int) -> None:
    async def main() -> None:
        token = new_token()
        async with open_keeper_host() as host:
            command = ProcessCommand(argv=("sh", "-c", BOMB, token), cwd="/", env=dict(os.environ))
            async with owned(host, command) as tree:
                await until(lambda: len(with_token(token)) >= size)
                tree.kill_tree()
                await tree.wait_empty()
                assert with_token(token) == []

    run(main)


def test_a_process_that_hops_from_pid_to_pid_is_caught() -> None:
    """Each forks the next and exits. It would end by itself only after many thousand hops."""

    async def main() -> None:
        token = new_token()
        async with open_keeper_host() as host:
            argv = ("sh", "-c", HOPPER, token, "100000", HOPPER)
            async with owned(host, ProcessCommand(argv=argv, cwd="/", env=dict(os.environ))) as tree:
                assert await tree.wait_exit() == ExitStatus(code=0)
                await tree.wait_empty()
                assert with_token(token) == []

    run(main)


def test_a_host_that_was_closed_starts_nothing() -> None:
    async def main() -> None:
        async with open_keeper_host() as host:
            tree = await host.spawn(shell("sleep 3600"))
        with pytest.raises(trio.ClosedResourceError):
            await host.spawn(shell("exit 0"))
        with pytest.raises(trio.ClosedResourceError):
            await tree.wait_exit()
        tree.kill_tree()
        tree.close()

    run(main)


def test_waiting_ends_when_the_tree_is_closed_meanwhile() -> None:
    async def main() -> None:
        async with open_keeper_host() as host:
            tree = await host.spawn(shell("sleep 3600"))
            async with trio.open_nursery() as nursery:

                async def wait() -> None:
                    with pytest.raises(trio.ClosedResourceError):
                        await tree.wait_empty()

                nursery.start_soon(wait)
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                tree.close()

    run(main)


def test_a_cancelled_reader_hands_over_to_the_next() -> None:
    async def main() -> None:
        statuses = []
        scope = trio.CancelScope()
        async with open_keeper_host() as host, owned(host, shell("read x; exit 5")) as tree:

            async def wait_first() -> None:
                with scope:
                    await tree.wait_empty()

            async def wait() -> None:
                statuses.append(await tree.wait_exit())

            async with trio.open_nursery() as nursery:
                for waiting in (wait_first, wait):
                    nursery.start_soon(waiting)
                    await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                await trio.testing.wait_all_tasks_blocked()
                tree.stdin.write_nowait(b"\n")
        assert scope.cancelled_caught
        assert statuses == [ExitStatus(code=5)]

    run(main)


@pytest.mark.parametrize("before", [False, True])
def test_being_a_subreaper_ends_with_the_last_host(before: bool) -> None:
    async def main() -> None:
        assert is_subreaper() is before
        async with open_keeper_host():
            async with open_keeper_host() as inner:
                async with owned(inner, shell("exit 0")) as tree:
                    await tree.wait_exit()
            assert is_subreaper()
        assert is_subreaper() is before

    set_subreaper(before)
    try:
        run(main)
    finally:
        set_subreaper(False)


def test_two_hosts_of_one_program_leave_each_others_agents_alone() -> None:
    async def main() -> None:
        token, other_token = new_token(), new_token()
        async with open_keeper_host() as host, open_keeper_host() as other:
            async with owned(other, tree_command(other_token, "wiped", "lives")):
                tree = await host.spawn(tree_command(token, "wiped", "lives"))
                await until(lambda: settled(with_token(token)) == settled(with_token(other_token)) == 2)
                await kill_helper(host)
                os.kill(keeper_of(tree), signal.SIGKILL)
                await tree.wait_empty()
                assert with_token(token) == []
                assert len(with_token(other_token)) == 2
                tree.close()

    run(main)


def test_a_terminals_interrupt_does_not_reach_the_agent() -> None:
    """Ctrl-C is SIGINT for the terminal's foreground group: neither helper, nor keeper, nor agent is in ours."""

    async def main() -> None:
        async with open_keeper_host() as host:
            async with owned(host, shell("sleep 3600")) as tree:
                assert host._helper is not None
                for pid in (host._helper.pid, keeper_of(tree), tree.pid):
                    assert os.getsid(pid) == os.getpgid(pid) == pid

    run(main)


def test_keepers_are_available_here_and_it_says_why_they_are_not_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keeper_available()
    assert keeper_available().why_not is None
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keeper_available()
    assert "Linux" in (keeper_available().why_not or "")
    monkeypatch.undo()
    monkeypatch.setattr(available, "proc_is_ours", lambda: False)
    assert "/proc" in (keeper_available().why_not or "")
    monkeypatch.undo()
    monkeypatch.setattr(sys, "executable", "")
    assert "interpreter" in (keeper_available().why_not or "")

    async def main() -> None:
        async with open_keeper_host():
            raise AssertionError("it was opened")

    with pytest.raises(OSError, match="interpreter"):
        run(main)


def test_a_program_that_ends_without_leaving_the_scope_leaves_nothing() -> None:
    """``os._exit``, as a crash in C would do it: no ``finally`` is run."""
    token = new_token()
    script = f"""
import os, trio
from pi_trio.process.keeper import open_keeper_host
from tests.process.keeper.trees import tree_command
async def main():
    async with open_keeper_host() as host:
        tree = await host.spawn(tree_command("{token}", "double fork", "lives"))
        await tree.stdout.receive_some()
        print(host._helper.pid, flush=True)
        os._exit(1)
trio.run(main)
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 1

    async def main() -> None:
        await until(lambda: with_token(token) == [])
        await until(lambda: not is_alive(int(done.stdout)))

    run(main)
