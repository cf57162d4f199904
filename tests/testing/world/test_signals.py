"""Signals do what they do on a real system."""

from __future__ import annotations

import pytest
import trio

from pi_trio.abc import ExitStatus, Signal
from pi_trio.testing.trace import ProcessSignalled
from pi_trio.testing.world import System
from tests.testing.world.support import Stage, play


async def sleeper(system: System) -> int:
    await system.sleep(float("inf"))
    return 0


@pytest.mark.parametrize("signal", [Signal.TERM, Signal.INT, Signal.KILL])
def test_by_default_it_ends_a_process(signal: Signal) -> None:
    async def main(stage: Stage) -> None:
        async with stage.running(sleeper) as tree:
            await trio.sleep(1)
            tree.send_signal(signal)
            assert await tree.wait_exit() == ExitStatus(signal=signal.value)

    (sent,) = play(main).of(ProcessSignalled)
    assert (sent.signal, sent.sender, sent.fate) == (signal.value, "runtime", "acted")


def test_a_stopped_process_runs_no_code_and_sees_signals_when_it_goes_on() -> None:
    heard: list[str] = []

    async def program(system: System) -> int:
        system.on_signal("SIGTERM", heard.append)
        while True:
            await system.sleep(1)
            system.write_nowait(1, b".")

    async def main(stage: Stage) -> None:
        async with stage.running(program) as tree:
            await trio.sleep(2.5)
            assert await tree.stdout.receive_some() == b".."
            tree.send_signal(Signal.STOP)
            tree.send_signal(Signal.TERM)
            with trio.move_on_after(100) as silence:
                await tree.stdout.receive_some()
            assert silence.cancelled_caught
            assert not heard
            tree.send_signal(Signal.CONT)
            assert heard == ["SIGTERM"]
            assert await tree.stdout.receive_some() == b"."

    fates = [event.fate for event in play(main).of(ProcessSignalled)]
    assert fates == ["acted", "pending", "acted", "acted"]


def test_sigkill_works_on_a_stopped_process() -> None:
    async def main(stage: Stage) -> None:
        async with stage.running(sleeper) as tree:
            tree.send_signal(Signal.STOP)
            await trio.sleep(1)
            tree.send_signal(Signal.KILL)
            assert await tree.wait_exit() == ExitStatus(signal="SIGKILL")

    play(main)


def test_a_stopped_process_that_was_terminated_ends_when_it_goes_on() -> None:
    async def main(stage: Stage) -> None:
        async with stage.running(sleeper) as tree:
            tree.send_signal(Signal.STOP)
            tree.send_signal(Signal.TERM)
            with trio.move_on_after(100) as patience:
                await tree.wait_exit()
            assert patience.cancelled_caught
            tree.send_signal(Signal.CONT)
            assert await tree.wait_exit() == ExitStatus(signal="SIGTERM")

    play(main)


def test_stop_and_continue_cancel_each_other() -> None:
    async def main(stage: Stage) -> None:
        async with stage.running(sleeper) as tree:
            tree.send_signal(Signal.CONT)
            tree.send_signal(Signal.STOP)
            tree.send_signal(Signal.CONT)
            assert not tree.root.stopped
            tree.send_signal(Signal.TERM)
            await tree.wait_exit()

    play(main)


def test_what_is_ignored_or_blocked_does_nothing() -> None:
    async def program(system: System) -> int:
        system.ignore_signal("SIGTERM")
        system.process.block("SIGINT", "SIGKILL")
        await system.sleep(float("inf"))
        return 0

    async def main(stage: Stage) -> None:
        async with stage.running(program) as tree:
            await trio.sleep(1)
            tree.send_signal(Signal.TERM)
            tree.send_signal(Signal.INT)
            with trio.move_on_after(100) as patience:
                await tree.wait_exit()
            assert patience.cancelled_caught
            tree.send_signal(Signal.KILL)
            assert await tree.wait_exit() == ExitStatus(signal="SIGKILL")

    fates = [event.fate for event in play(main).of(ProcessSignalled)]
    assert fates == ["ignored", "pending", "acted"]


def test_sigkill_and_sigstop_cannot_be_handled() -> None:
    async def program(system: System) -> int:
        for name in ("SIGKILL", "SIGSTOP"):
            with pytest.raises(ValueError, match=name):
                system.on_signal(name, lambda _: None)
        return 3

    async def main(stage: Stage) -> None:
        async with stage.running(program) as tree:
            assert await tree.wait_exit() == ExitStatus(code=3)

    play(main)


def test_a_zombie_takes_signals_and_nothing_comes_of_it() -> None:
    async def root(system: System) -> int:
        async def child(_: System) -> int:
            return 5

        zombie = system.spawn(child, "child")
        await system.sleep(1)
        assert zombie.zombie
        system.kill(zombie, "SIGKILL")
        assert await system.wait(zombie) == ExitStatus(code=5)
        return 0

    async def main(stage: Stage) -> None:
        async with stage.running(root) as tree:
            assert await tree.wait_exit() == ExitStatus(code=0)

    assert [event.fate for event in play(main).of(ProcessSignalled)] == ["gone"]


def test_a_process_that_was_killed_before_it_ran_runs_nothing() -> None:
    ran = []

    async def program(_: System) -> int:
        ran.append(True)
        return 0

    async def root(system: System) -> int:
        child = system.spawn(program, "child")
        system.kill(child, "SIGKILL")
        assert await system.wait(child) == ExitStatus(signal="SIGKILL")
        return 0

    async def main(stage: Stage) -> None:
        async with stage.running(root) as tree:
            assert await tree.wait_exit() == ExitStatus(code=0)

    play(main)
    assert not ran
