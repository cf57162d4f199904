"""What every :class:`pi_trio.abc.ProcessHost` for real processes must do, as checks with plain asserts."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from pi_trio.abc import ExitStatus, ProcessCommand, ProcessHost, ProcessTree, ReceivePipe, Signal

__all__ = ["CHECKS", "Check", "owned", "read_all", "shell"]

Check = Callable[[ProcessHost, Path], Awaitable[None]]

# After that, a host that does not end what it was told to has failed already, or will.
_END_TIMEOUT = 10.0

CHECKS: list[Check] = []
"""All of them. Each gets a host, and a folder of its own."""


def check(function: Check) -> Check:
    """Enter it in :data:`CHECKS`."""
    CHECKS.append(function)
    return function


def shell(script: str, *, cwd: str = "/", env: dict[str, str] | None = None) -> ProcessCommand:
    """A command that runs this script."""
    return ProcessCommand(argv=("sh", "-c", script), cwd=cwd, env=dict(os.environ) if env is None else env)


@asynccontextmanager
async def owned(host: ProcessHost, command: ProcessCommand) -> AsyncIterator[ProcessTree]:
    """Start it, and end it as the owner of a tree has to."""
    tree = await host.spawn(command)
    try:
        yield tree
    finally:
        tree.kill_tree()
        with trio.move_on_after(_END_TIMEOUT, shield=True):
            await tree.wait_empty()
        tree.close()


async def read_all(pipe: ReceivePipe) -> bytes:
    """Everything up to the end of the file."""
    parts = []
    while part := await pipe.receive_some():
        parts.append(part)
    return b"".join(parts)


async def read_line(pipe: ReceivePipe) -> bytes:
    """Up to the end of a line, which nothing may follow."""
    line = b""
    while not line.endswith(b"\n"):
        part = await pipe.receive_some()
        assert part, "it ended before it wrote a line"
        line += part
    return line


@check
async def the_pipes_are_its_own(host: ProcessHost, _: Path) -> None:
    async with owned(host, shell("cat; echo done; echo complaint >&2")) as tree:
        assert tree.stdin.write_nowait(b"hello\n") == 6
        assert await read_line(tree.stdout) == b"hello\n"
        tree.stdin.close()
        assert await read_all(tree.stdout) == b"done\n"
        assert await read_all(tree.stderr) == b"complaint\n"
        assert await tree.wait_exit() == ExitStatus(code=0)


@check
async def every_status_is_told_as_it_is(host: ProcessHost, _: Path) -> None:
    scripts = {
        "exit 0": ExitStatus(code=0),
        "exit 1": ExitStatus(code=1),
        "exit 255": ExitStatus(code=255),
        "kill -KILL $$": ExitStatus(signal="SIGKILL"),
        "kill -TERM $$": ExitStatus(signal="SIGTERM"),
        "kill -USR1 $$": ExitStatus(signal="SIGUSR1"),
    }
    for script, status in scripts.items():
        async with owned(host, shell(script)) as tree:
            assert await tree.wait_exit() == status, script
            assert await tree.wait_exit() == status, "again"


@check
async def it_has_a_session_of_its_own(host: ProcessHost, _: Path) -> None:
    show = "import os; print(os.getpid(), os.getsid(0), os.getpgid(0))"
    command = ProcessCommand(argv=(sys.executable, "-S", "-c", show), cwd="/", env=dict(os.environ))
    async with owned(host, command) as tree:
        assert (await read_all(tree.stdout)).split() == [str(tree.pid).encode()] * 3


@check
async def the_environment_is_what_was_given_and_the_marker(host: ProcessHost, _: Path) -> None:
    command = ProcessCommand(
        argv=("/usr/bin/env",), cwd="/", env={"A": "1", "B": "two words\nand a line"}, marker={"PI_TRIO_INSTANCE": "x"}
    )
    async with owned(host, command) as tree:
        assert await read_all(tree.stdout) == b"A=1\nB=two words\nand a line\nPI_TRIO_INSTANCE=x\n"


@check
async def a_program_is_looked_for_in_the_path_it_is_given(host: ProcessHost, folder: Path) -> None:
    program = folder / "some-program"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    command = ProcessCommand(argv=("some-program",), cwd="/", env={"PATH": f"/no/such/folder:{folder}"})
    async with owned(host, command) as tree:
        assert await read_all(tree.stdout) == b"found\n"


@check
async def it_starts_in_its_folder(host: ProcessHost, folder: Path) -> None:
    async with owned(host, shell("pwd -P", cwd=str(folder))) as tree:
        assert await read_all(tree.stdout) == f"{folder.resolve()}\n".encode()


@check
async def what_the_system_refuses_is_the_error_it_gives(host: ProcessHost, folder: Path) -> None:
    plain = folder / "plain"
    plain.write_text("#!/bin/sh\n")
    cases: list[tuple[ProcessCommand, type[OSError], str]] = [
        (ProcessCommand(argv=("no-such-program",), cwd="/", env={}), FileNotFoundError, "no-such-program"),
        (ProcessCommand(argv=(str(plain),), cwd="/", env={}), PermissionError, str(plain)),
        (shell("true", cwd=str(folder / "none")), FileNotFoundError, str(folder / "none")),
        (shell("true", cwd=str(plain)), NotADirectoryError, str(plain)),
    ]
    for command, error, filename in cases:
        with pytest.raises(error) as caught:
            await host.spawn(command)
        assert caught.value.filename == filename


@check
async def what_cannot_be_passed_on_is_a_value_error(host: ProcessHost, _: Path) -> None:
    for command in (shell("echo \0"), shell("true", env={"A": "\0"}), shell("true", env={"A=B": "c"})):
        with pytest.raises(ValueError, match=r"null byte|environment variable name"):
            await host.spawn(command)


@check
async def what_was_written_can_be_read_after_the_end(host: ProcessHost, _: Path) -> None:
    async with owned(host, shell("head -c 60000 /dev/zero; head -c 50000 /dev/zero >&2; exit 9")) as tree:
        assert await tree.wait_exit() == ExitStatus(code=9)
        assert len(await read_all(tree.stdout)) == 60000
        assert len(await read_all(tree.stderr)) == 50000


@check
async def nobody_else_holds_its_pipes(host: ProcessHost, _: Path) -> None:
    async with owned(host, shell("exec >&-; read x; exec 2>&-; read x")) as tree:
        assert await read_all(tree.stdout) == b"", "the end of the file, while it lives"
        assert tree.stdin.write_nowait(b"\n") == 1
        assert await read_all(tree.stderr) == b""
    async with owned(host, shell("exec <&-; echo; sleep 3600")) as tree:
        await read_line(tree.stdout)
        with pytest.raises(trio.BrokenResourceError):
            tree.stdin.write_nowait(b"x")


@check
async def any_number_of_tasks_may_wait(host: ProcessHost, _: Path) -> None:
    statuses: list[ExitStatus] = []
    async with owned(host, shell("read x; exit 4")) as tree:

        async def wait_exit() -> None:
            statuses.append(await tree.wait_exit())

        async with trio.open_nursery() as nursery:
            for _task in range(3):
                nursery.start_soon(wait_exit)
                nursery.start_soon(tree.wait_empty)
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0):  # a task that gives up takes nothing with it
                await tree.wait_exit()
            assert tree.stdin.write_nowait(b"\n") == 1
    assert statuses == [ExitStatus(code=4)] * 3


@check
async def signals_reach_the_root_and_are_no_error_when_it_is_gone(host: ProcessHost, _: Path) -> None:
    async with owned(host, shell("trap 'exit 6' TERM; echo; while :; do read x; done")) as tree:
        await read_line(tree.stdout)
        tree.send_signal(Signal.STOP)
        tree.send_signal(Signal.TERM)  # held back while it is stopped
        tree.send_signal(Signal.CONT)
        assert await tree.wait_exit() == ExitStatus(code=6)
        for signal in Signal:
            tree.send_signal(signal)


@check
async def killing_is_final_and_may_be_repeated(host: ProcessHost, _: Path) -> None:
    async with owned(host, shell("trap '' TERM INT HUP; echo; while :; do read x; done")) as tree:
        await read_line(tree.stdout)
        tree.kill_tree()
        tree.kill_tree()
        assert await tree.wait_exit() == ExitStatus(signal="SIGKILL")
        await tree.wait_empty()
        tree.kill_tree()
        await tree.wait_empty()


@check
async def closing_is_final_and_may_be_repeated(host: ProcessHost, _: Path) -> None:
    async with owned(host, shell("exit 2")) as tree:
        assert await tree.wait_exit() == ExitStatus(code=2)
        await tree.wait_empty()
        tree.close()
        tree.close()
        with pytest.raises(trio.ClosedResourceError):
            tree.stdin.write_nowait(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await tree.stdout.receive_some()
        assert await tree.wait_exit() == ExitStatus(code=2), "what is known stays known"


@check
async def every_wait_is_a_checkpoint(host: ProcessHost, _: Path) -> None:
    async with owned(host, shell("exit 0")) as tree:
        await tree.wait_exit()
        await tree.wait_empty()
        with trio.testing.assert_checkpoints():
            await tree.wait_exit()
        with trio.testing.assert_checkpoints():
            await tree.wait_empty()


@check
async def cancelled_before_it_began_it_starts_nothing(host: ProcessHost, folder: Path) -> None:
    tree = None
    with trio.CancelScope() as scope:
        scope.cancel()
        tree = await host.spawn(shell("touch started", cwd=str(folder)))
    if tree is not None:  # or it was started all the same, and is the caller's
        await tree.wait_exit()
        tree.kill_tree()
        await tree.wait_empty()
        tree.close()
    assert (folder / "started").exists() == (tree is not None)
