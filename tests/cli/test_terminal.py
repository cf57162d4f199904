"""A person at a real terminal is asked what Pi's extensions want to know."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest
import trio

from pi_trio.launch import PiInstall
from pi_trio.process import marked
from pi_trio.testing import ModelRequest, ToolUse, Turn
from tests.cli.test_cli import MODEL, PITRIO, terminal
from tests.support import run

GATE = """export default (pi) => pi.on("tool_call", async (event, ctx) => {
    if (!(await ctx.ui.confirm("Run it?", event.input.command))) return { block: true, reason: "The user said no." };
    ctx.ui.notify("it was allowed");
});"""


def script(request: ModelRequest) -> Turn:
    if request.tool_result is None:
        return Turn("Let me.", tools=[ToolUse("bash", {"command": "echo from-$((6*7))"})])
    return Turn(f"It said {request.tool_result.strip()}")


@pytest.mark.parametrize(("typed", "says"), [(b"y\n", "from-42"), (b"n\n", "The user said no."), (b"\x04", "said no.")])
def test_a_person_is_asked(pi: PiInstall, tmp_path: Path, typed: bytes, says: str) -> None:
    async def main() -> None:
        gate = tmp_path / "gate.js"
        gate.write_text(GATE)
        ours, theirs = pty.openpty()
        try:
            async with terminal(pi, tmp_path, script) as term, trio.open_nursery() as nursery:
                process = await trio.lowlevel.open_process(
                    [*PITRIO, "run", "Go", *MODEL, "--", "-e", str(gate)],
                    stdin=theirs,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=term.env,
                    cwd=tmp_path,
                )
                assert process.stdout is not None
                assert process.stderr is not None
                written = bytearray()

                async def read_stdout() -> None:
                    assert process.stdout is not None
                    async for data in process.stdout:
                        written.extend(data)

                nursery.start_soon(read_stdout)
                shown = bytearray()
                async for data in process.stderr:
                    asked = b"[y/N]" in shown
                    shown += data
                    if b"[y/N]" in shown and not asked:
                        os.write(ours, typed)
                assert await process.wait() == 0
            assert b"Run it?\necho from-$((6*7))\nYes or no? [y/N] " in shown
            assert (b"> it was allowed\n" in shown) == (typed == b"y\n")
            assert says in written.decode()
            assert marked(term.mark) == []
        finally:
            os.close(ours)
            os.close(theirs)

    run(main)


def test_nobody_is_asked_when_stdin_is_no_terminal(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        gate = tmp_path / "gate.js"
        gate.write_text(GATE)
        async with terminal(one_pi, tmp_path, script) as term:
            done = await term.pitrio("run", "Go", *MODEL, "--", "-e", str(gate), stdin=b"y\n")
            assert b"[y/N]" not in done.stderr
            assert "The user said no." in done.stdout.decode()

    run(main)
