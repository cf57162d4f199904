"""Pipes: capacity, partial writes, their ends."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from pi_trio.abc import ExitStatus, Signal
from pi_trio.testing.trace import PipeRead, PipeWritten
from pi_trio.testing.world import PIPE_BYTES, System
from tests.testing.world.support import Stage, play


async def deaf(system: System) -> int:
    await system.sleep(float("inf"))
    return 0


def test_it_takes_what_fits_and_a_small_write_whole_or_not_at_all() -> None:
    async def main(stage: Stage) -> None:
        async with stage.running(deaf) as tree:
            assert tree.stdin.write_nowait(b"x" * (PIPE_BYTES - 10)) == PIPE_BYTES - 10
            assert tree.stdin.write_nowait(b"y" * 11) == 0
            assert tree.stdin.write_nowait(b"y" * 5000) == 10
            assert tree.stdin.write_nowait(b"z") == 0
            with trio.move_on_after(10) as full:
                await tree.stdin.wait_writable()
            assert full.cancelled_caught

    play(main)


def test_everything_arrives_in_order_and_is_told() -> None:
    sent = b"".join(b"%06d " % number for number in range(30_000))

    async def program(system: System) -> int:
        await system.write(1, sent)
        return 0

    received = []

    async def main(stage: Stage) -> None:
        async with stage.running(program) as tree:
            while part := await tree.stdout.receive_some():
                received.append(part)

    trace = play(main)
    assert b"".join(received) == sent
    assert b"".join(event.data for event in trace.of(PipeWritten)) == sent
    assert sum(event.size for event in trace.of(PipeRead)) == len(sent)


def test_a_stopped_writer_does_not_write_on_when_there_is_room() -> None:
    async def program(system: System) -> int:
        await system.write(1, b"x" * 100_000)
        return 0

    async def main(stage: Stage) -> None:
        async with stage.running(program) as tree:
            await trio.sleep(1)
            tree.send_signal(Signal.STOP)
            assert len(await tree.stdout.receive_some() or b"") == PIPE_BYTES
            with trio.move_on_after(10) as silence:
                await tree.stdout.receive_some()
            assert silence.cancelled_caught
            tree.send_signal(Signal.CONT)
            assert len(await tree.stdout.receive_some() or b"") == 100_000 - PIPE_BYTES

    play(main)


def test_a_grandchild_that_holds_stdout_keeps_its_end_away() -> None:
    async def holder(system: System) -> int:
        await system.sleep(float("inf"))
        return 0

    async def root(system: System) -> int:
        system.spawn(holder, "holder", new_session=True)
        system.close(1)
        await system.sleep(float("inf"))
        return 0

    async def main(stage: Stage) -> None:
        async with stage.running(root) as tree:
            with trio.move_on_after(100) as patience:
                await tree.stdout.receive_some()
            assert patience.cancelled_caught
            tree.kill_tree()
            assert await tree.stdout.receive_some() == b""

    play(main)


@pytest.mark.parametrize("ignored", [False, True])
def test_writing_to_nobody_is_sigpipe_or_an_error(ignored: bool) -> None:
    async def program(system: System) -> int:
        if ignored:
            system.ignore_signal("SIGPIPE")
        await system.read(0)
        try:
            await system.write(1, b"x")
            await system.sleep(1)
        except BrokenPipeError:
            return 32
        return 0

    async def main(stage: Stage) -> None:
        async with stage.running(program) as tree:
            tree.stdout.close()
            tree.stdin.close()
            assert await tree.wait_exit() == (ExitStatus(code=32) if ignored else ExitStatus(signal="SIGPIPE"))

    play(main)


def test_two_readers_are_one_too_many() -> None:
    async def main(stage: Stage) -> None:
        async with stage.running(deaf) as tree, trio.open_nursery() as nursery:
            nursery.start_soon(tree.stdout.receive_some)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await tree.stdout.receive_some()
            nursery.cancel_scope.cancel()

    play(main, misuse=1)


def test_closing_wakes_who_waits() -> None:
    async def main(stage: Stage) -> None:
        async with stage.running(deaf) as tree, trio.open_nursery() as nursery:

            async def read() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await tree.stdout.receive_some()

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            tree.stdout.close()

    play(main)
