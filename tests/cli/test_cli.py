"""The command as a person runs it: a process of its own, on the real Pi."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from pi_trio import __version__
from pi_trio.cli.exits import EXIT_CODES
from pi_trio.launch import PiInstall
from pi_trio.process import marked
from pi_trio.testing import ModelRequest, ModelServer, ToolUse, Turn, open_model_server
from pi_trio.testing.model_server import Script
from tests.support import run, until

PITRIO = (sys.executable, "-m", "pi_trio")


@attrs.frozen
class Terminal:
    """An environment to run the command in, with a scripted model that Pi is configured for."""

    env: Mapping[str, str]
    model: ModelServer
    mark: Mapping[str, str]
    cwd: Path

    async def pitrio(self, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run the command to its end. Nothing it started may be left then."""
        done = await trio.run_process(
            [*PITRIO, *args],
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=self.env,
            cwd=self.cwd,
        )
        assert marked(self.mark) == []
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done


@asynccontextmanager
async def terminal(pi: PiInstall, folder: Path, script: Script) -> AsyncIterator[Terminal]:
    async with open_model_server(script) as model:
        mark = {"PI_TRIO_TEST": uuid.uuid4().hex}
        env = {
            **os.environ,
            **model.configure(folder / "agent"),
            **mark,
            "PI_TRIO_PI": str(pi.path),
            "HOME": str(folder),
            "PI_TRIO_HOME": str(folder / "data"),
            "PYTHONPATH": str(Path(__file__).parent.parent.parent),
        }
        yield Terminal(env, model, mark, folder)


MODEL = ("--provider", "scripted", "--model", "scripted-1", "--no-session")


def test_run_streams_text_to_stdout_and_tools_to_stderr(pi: PiInstall, tmp_path: Path) -> None:
    def script(request: ModelRequest) -> Turn:
        if request.tool_result is None:
            return Turn("Let me see.", tools=[ToolUse("bash", {"command": "echo [bold]tool"})])
        return Turn(f"It said {request.tool_result.strip()}.")

    async def main() -> None:
        async with terminal(pi, tmp_path, script) as term:
            done = await term.pitrio("run", "Look", *MODEL)
            assert (done.returncode, done.stdout.decode()) == (0, "Let me see.\nIt said [bold]tool.\n")
            assert done.stderr.decode() == "> bash(command='echo [bold]tool')\n"
            assert term.model.requests[0].prompt == "Look"

    run(main)


def test_run_json_prints_pis_records(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with terminal(pi, tmp_path, [Turn("Hi \u2028 there.")]) as term:
            done = await term.pitrio("run", "-", "--json", *MODEL, "--cwd", str(tmp_path), stdin="Grüß Gott\n".encode())
            assert done.returncode == 0
            records = [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]
            assert records[0]["type"] == "agent_start"
            assert records[-1]["type"] == "agent_settled"
            assert term.model.requests[0].prompt == "Grüß Gott\n"

    run(main)


def test_arguments_reach_pi(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with terminal(pi, tmp_path, [Turn("One."), Turn("Two.")]) as term:
            model = ("--provider", "scripted", "--model", "scripted-1")
            extra = ("--", "--append-system-prompt", "Be a teapot.")
            assert (
                await term.pitrio("run", "1", *model, "--session", "abc", "--tools", "read", *extra)
            ).returncode == 0
            assert (await term.pitrio("run", "2", *model, "--session", "abc", "--thinking", "off")).returncode == 0
            first, second = term.model.requests
            assert [tool["function"]["name"] for tool in first.body["tools"]] == ["read"]
            assert "Be a teapot." in str(first.messages[0])
            assert "One." in str(second.messages)  # the same session

    run(main)


def test_a_failing_model_is_exit_code_1_with_its_words(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with terminal(pi, tmp_path, lambda _: Turn("no such luck", status=400)) as term:
            done = await term.pitrio("run", "Hi", *MODEL)
            assert done.returncode == 1
            assert "no such luck" in done.stderr.decode()

    run(main)


def test_a_wrong_model_is_exit_code_4_with_pis_words(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with terminal(pi, tmp_path, []) as term:
            done = await term.pitrio("run", "Hi", "--provider", "nobody", "--model", "none")
            assert done.returncode == 4
            assert "nobody" in done.stderr.decode()

    run(main)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_stops_pi_politely(pi: PiInstall, tmp_path: Path, number: signal.Signals, code: int) -> None:
    goodbye = tmp_path / "goodbye"
    farewell = tmp_path / "farewell.js"
    farewell.write_text(
        "import fs from 'node:fs';\n"
        "export default function (pi) {\n"
        f"  pi.on('session_shutdown', () => fs.writeFileSync({json.dumps(str(goodbye))}, 'bye\\n'));\n"
        "}\n"
    )

    async def main() -> None:
        endless = Turn(text=[f"word{n} " for n in range(100_000)], chunk_delay=0.005)
        async with terminal(pi, tmp_path, [endless]) as term:
            async with trio.open_nursery() as nursery:
                command = [*PITRIO, "run", "Talk", *MODEL, "--", "-e", str(farewell)]
                process: trio.Process = await nursery.start(
                    lambda task_status: trio.run_process(
                        command,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        check=False,
                        env=term.env,
                        start_new_session=True,
                        task_status=task_status,
                    )
                )
                assert process.stdout is not None
                assert process.stderr is not None
                assert b"word" in await process.stdout.receive_some()
                os.killpg(process.pid, number)  # as a terminal does: to the whole group
                errors = b"".join([chunk async for chunk in process.stderr])
            assert process.returncode == code
            assert errors.decode() == f"pitrio: stopped by {number.name}\n"
            assert goodbye.read_text() == "bye\n"
            assert marked(term.mark) == []

    run(main)


def test_demo_works_and_leaves_nothing(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with terminal(pi, tmp_path, []) as term:
            done = await term.pitrio("demo")
            said = done.stdout.decode()
            assert done.returncode == 0, said
            assert "scripted model" in said
            assert "tool bash(command='wc -c *')" in said
            assert "The longest is long.txt, with 880 bytes." in said
            assert re.search(r"processes left:\s+0", said)
            assert "--provider anthropic" in said

    run(main)


def test_doctor_finds_everything(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with terminal(pi, tmp_path, []) as term:
            done = await term.pitrio("doctor", "--json")
            findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
            assert all(finding["ok"] for finding in findings.values())
            assert findings["Pi"]["found"].startswith(f"{pi.version} (PI_TRIO_PI)")
            assert b"Pi" in (await term.pitrio("doctor")).stdout

    run(main)


def test_doctor_names_the_command_that_mends(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with terminal(one_pi, tmp_path, []) as term:
            bare = attrs.evolve(term, env={**term.env, "PI_TRIO_PI": "/no/such/pi"})
            done = await bare.pitrio("doctor", "--json")
            assert done.returncode == 3
            (pi,) = [finding for finding in json.loads(done.stdout) if finding["what"] == "Pi"]
            assert (pi["ok"], pi["mend"]) == (False, "unset PI_TRIO_PI && pitrio setup")
            assert "pitrio setup" in (await bare.pitrio("doctor")).stdout.decode()

    run(main)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("run",), 2, "Missing argument 'PROMPT'"),
        (("run", "  "), 2, "the prompt is empty"),
        (("run", "two", "words"), 2, "unexpected extra argument"),
        (("run", "x", "--thinking", "very"), 2, "'very' is not one of"),
        (("run", "x", "--cwd", "/no/such/folder"), 2, "cwd is not a folder: /no/such/folder"),
        (("run", "x", "--session", "a", "--no-session"), 2, "exclude each other"),
        (("run", "x", "--", "--api-key", "secret"), 2, "--api-key: any user"),
        (("run", "x", "--", "--mode", "text"), 2, "--mode"),
        (("setup", "--pi-version", "newest"), 3, "'newest' is not a version"),
        (("nonsense",), 2, "No such command"),
    ],
)
def test_a_mistake_gets_a_clear_line(
    one_pi: PiInstall, tmp_path: Path, args: tuple[str, ...], code: int, said: str
) -> None:
    async def main() -> None:
        async with terminal(one_pi, tmp_path, []) as term:
            done = await term.pitrio(*args)
            assert (done.returncode, done.stdout) == (code, b"")
            assert said in done.stderr.decode()
            assert "secret" not in done.stderr.decode()

    run(main)


def test_a_missing_pi_is_exit_code_3(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with terminal(one_pi, tmp_path, []) as term:
            env = {name: value for name, value in term.env.items() if name != "PI_TRIO_PI"}
            folders = [part for part in env["PATH"].split(":") if not Path(part, "pi").exists()]
            bare = attrs.evolve(term, env={**env, "PATH": ":".join(folders)})
            done = await bare.pitrio("run", "Hi")
            assert done.returncode == 3
            assert done.stderr.decode().endswith("; mend it with: pitrio setup\n")

    run(main)


def test_setup_installs_pi_once(one_pi: PiInstall, tmp_path: Path) -> None:
    """On the real npm: what the test fixtures do through the library, the command does for a user."""

    async def main() -> None:
        async with terminal(one_pi, tmp_path, []) as term:
            env = {name: value for name, value in term.env.items() if name != "PI_TRIO_PI"}
            fresh = attrs.evolve(term, env=env)
            done = await fresh.pitrio("setup", "--pi-version", "1.5.2")
            assert done.returncode == 0, done.stderr.decode()
            installed = tmp_path / "data" / "pi" / "1.5.2"
            stamp = installed.stat().st_ctime_ns
            assert (await fresh.pitrio("setup", "--pi-version", "1.5.2")).returncode == 0
            assert installed.stat().st_ctime_ns == stamp
            (pi,) = [
                finding
                for finding in json.loads((await fresh.pitrio("doctor", "--json")).stdout)
                if finding["what"] == "Pi"
            ]
            assert "1.5.2 (setup)" in pi["found"] or "(PATH)" in pi["found"]

    run(main)


def test_version_and_help(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with terminal(one_pi, tmp_path, []) as term:
            assert (await term.pitrio("--version")).stdout.decode() == f"pitrio, version {__version__}\n"
            shown = (await term.pitrio("run", "--help")).stdout.decode()
            for code in EXIT_CODES:
                assert re.search(rf"^ +{code}  ", shown, re.MULTILINE)

    run(main)


def test_a_reader_that_goes_away_ends_the_command(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        endless = Turn(text=[f"word{n} " for n in range(100_000)], chunk_delay=0.001)
        async with terminal(one_pi, tmp_path, [endless]) as term:
            process = await trio.lowlevel.open_process(
                [*PITRIO, "run", "Talk", *MODEL],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=term.env,
            )
            assert process.stdout is not None
            assert process.stderr is not None
            await process.stdout.receive_some()
            await process.stdout.aclose()
            errors = b"".join([chunk async for chunk in process.stderr])
            await process.wait()
            assert b"Traceback" not in errors
            await until(lambda: not marked(term.mark))

    run(main)
