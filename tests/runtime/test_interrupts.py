"""The parent's end: signals to a program that uses ``pi_trio.run``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

import pi_trio
from pi_trio.launch import PiInstall
from pi_trio.process import marked
from pi_trio.testing import open_model_server
from tests.support import run

ROOT = Path(__file__).parent.parent.parent
HOURS = 3600.0


@asynccontextmanager
async def program(
    pi: PiInstall, folder: Path, grace: float, *, plain: bool = False
) -> AsyncIterator[tuple[trio.Process, str]]:
    """The program, with its Pi ready and deaf to SIGTERM; and its run id."""
    async with open_model_server([]) as model:
        plan = {"pi": str(pi.path), "folder": str(folder), "env": model.configure(folder / "agent"), "grace": grace}
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "tests.runtime.stubborn", json.dumps(plan), *(["plain"] if plain else [])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        try:
            run_id = await line_of(process)
            assert len(marked({"PI_TRIO_RUN": run_id})) == 1
            yield process, run_id
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def line_of(process: trio.Process) -> str:
    """The next line that the program writes. An unbuffered Python writes the line end by itself."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        data = await process.stdout.receive_some(1)
        assert data, "the program ended"
        line += data
    return line.decode().strip()


async def cancelled(process: trio.Process) -> None:
    """Wait until the program's scope was cancelled."""
    assert await line_of(process) == "cancelled"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 143)])
def test_one_signal_cancels_and_the_grace_period_is_kept(
    pi: PiInstall, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    async def main() -> None:
        async with program(pi, tmp_path, grace=0.3) as (process, run_id):
            process.send_signal(number)
            await process.wait()
            assert process.returncode in (code, -number)  # an uncaught KeyboardInterrupt ends Python by SIGINT
            assert marked({"PI_TRIO_RUN": run_id}) == []

    run(main)


def test_a_second_signal_shortens_the_grace_period(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with program(one_pi, tmp_path, grace=HOURS) as (process, run_id):
            process.send_signal(signal.SIGINT)
            await cancelled(process)
            with trio.move_on_after(1.5):
                await process.wait()
            assert process.poll() is None  # it keeps its word: hours of grace
            process.send_signal(signal.SIGINT)
            await process.wait()
            assert marked({"PI_TRIO_RUN": run_id}) == []

    run(main)


def test_a_third_signal_does_not_wait_at_all(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with program(one_pi, tmp_path, grace=HOURS) as (process, run_id):
            process.send_signal(signal.SIGTERM)
            await cancelled(process)
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
            await process.wait()
            assert process.returncode == 143  # the first one's
            assert marked({"PI_TRIO_RUN": run_id}) == []

    run(main)


def test_plain_trio_and_an_impatient_user(one_pi: PiInstall, tmp_path: Path) -> None:
    """Trio raises KeyboardInterrupt inside of shields, too: the program must end all the same."""

    async def main() -> None:
        async with program(one_pi, tmp_path, grace=HOURS, plain=True) as (process, run_id):
            process.send_signal(signal.SIGINT)
            await cancelled(process)
            for _ in range(2):
                await trio.sleep(0.5)  # so that each is an interrupt of its own
                process.send_signal(signal.SIGINT)
            await process.wait()
            assert marked({"PI_TRIO_RUN": run_id}) == []

    run(main)


def test_run_returns_and_raises_as_trio_does() -> None:
    async def double(number: int) -> int:
        await trio.lowlevel.checkpoint()
        return 2 * number

    async def fail() -> None:
        raise ZeroDivisionError

    assert pi_trio.run(double, 21) == 42
    with pytest.raises(ZeroDivisionError):
        pi_trio.run(fail)
    before = signal.getsignal(signal.SIGTERM)
    assert pi_trio.run(double, 1) == 2
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_is_a_keyboard_interrupt_to_the_caller() -> None:
    async def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        pi_trio.run(interrupted)
    with pytest.raises(SystemExit) as caught:
        pi_trio.run(terminated)
    assert caught.value.code == 143


async def terminated() -> None:
    signal.raise_signal(signal.SIGTERM)
    await trio.sleep_forever()
