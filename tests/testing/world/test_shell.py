"""The small shell does what the scripts of tests and tools count on, and says so when it cannot."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio

from pi_trio.abc import ExitStatus, Signal
from pi_trio.testing.world import shell
from tests.testing.world.support import Stage, play


def result(script: str, stdin: bytes = b"") -> tuple[int | None, str, str]:
    """Exit code, stdout, stderr of a script."""
    seen: list[tuple[int | None, str, str]] = []

    async def main(stage: Stage) -> None:
        async with stage.running(shell, argv=("/bin/sh", "-c", script), env={"NAME": "a value"}) as tree:
            with suppress(trio.BrokenResourceError):  # it may be over already
                tree.stdin.write_nowait(stdin)
            tree.stdin.close()
            streams = [b"", b""]
            for number, pipe in enumerate((tree.stdout, tree.stderr)):
                while data := await pipe.receive_some():
                    streams[number] += data
            status = await tree.wait_exit()
            seen.append((status.code, streams[0].decode(), streams[1].decode()))

    play(main)
    return seen[0]


@pytest.mark.parametrize(
    ("script", "out"),
    [
        ("echo one two", "one two\n"),
        ("printf 'one\\ntwo\\n'", "one\ntwo\n"),
        ("echo 'a  b' \"$NAME\" \\$x", "a  b a value $x\n"),
        ("x=5; echo ${x}1", "51\n"),
        ("true && echo yes || echo no", "yes\n"),
        ("false && echo yes || echo no", "no\n"),
        ("false; echo $?", "1\n"),
        ("(exit 7); echo $?", "7\n"),
        ("sh -c 'kill -TERM $$'; echo $?", "143\n"),
        ("while read line; do echo got $line; done", "got a\ngot b\n"),
        ("echo hidden >/dev/null; echo err >&2; echo seen", "seen\n"),
        ("echo one # and <this> is 'none", "one\n"),
        ("seq 3", "1\n2\n3\n"),
        ("cat", "a\nb\n"),
        ("sleep 5 & wait; echo done", "done\n"),
        ("# nothing", ""),
        ("pwd", "/\n"),
    ],
)
def test_what_it_prints(script: str, out: str) -> None:
    code, stdout, _ = result(script, b"a\nb\n")
    assert (code, stdout) == (0, out)


def test_what_is_not_there_is_127() -> None:
    assert result("no-such-program") == (127, "", "sh: no-such-program: not found\n")


@pytest.mark.parametrize("script", ["echo a | cat", "while true", "echo >", "(echo", "echo 'open"])
def test_what_it_does_not_know_it_refuses(script: str) -> None:
    code, out, err = result(script)
    assert (code, out) == (2, "")
    assert err.startswith("sh: ")


def test_a_trap_runs_when_the_command_is_over() -> None:
    async def main(stage: Stage) -> None:
        script = "trap 'echo caught; exit 6' TERM; sleep 10; echo never"
        async with stage.running(shell, argv=("/bin/sh", "-c", script)) as tree:
            await trio.sleep(1)
            tree.send_signal(Signal.TERM)
            assert await tree.stdout.receive_some() == b"caught\n"
            assert trio.current_time() >= 10
            assert await tree.wait_exit() == ExitStatus(code=6)

    play(main)


def test_one_command_takes_the_place_of_the_shell() -> None:
    async def main(stage: Stage) -> None:
        async with stage.running(shell, argv=("/bin/sh", "-c", "sleep 600")) as tree:
            await trio.sleep(1)
            assert [each.argv for each in stage.world.kernel.table.values()] == [("sleep", "600")]
            tree.send_signal(Signal.TERM)
            assert await tree.wait_exit() == ExitStatus(signal="SIGTERM")

    play(main)


@pytest.mark.parametrize(
    "script", ["setsid -f sleep 600; exit 0", "nohup sleep 600 & exit 0", "(setsid sleep 600 &); exit 0"]
)
def test_what_is_sent_away_stays(script: str) -> None:
    async def main(stage: Stage) -> None:
        async with stage.running(shell, argv=("/bin/sh", "-c", f"sh -c '{script}'; sleep 10")) as tree:
            await trio.sleep(5)
            left = [each for each in stage.world.kernel.table.values() if each.argv[-2:] == ("sleep", "600")]
            assert len(left) == 1
            assert left[0].parent is not tree.root
            await tree.wait_empty()

    play(main)
