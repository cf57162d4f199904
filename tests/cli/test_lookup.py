"""``pitrio discover`` and ``pitrio select`` as a person runs them, against the Pis of a ``pitrio serve``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from click.testing import CliRunner, Result

from pi_trio import Criteria, FileDiscovery, Health, LeastLoaded
from pi_trio.cli import main as pitrio
from pi_trio.cli.select import Wish, make_strategy, select_command
from pi_trio.launch import PiInstall
from pi_trio.openclaw import GatewayOptions, open_gateway
from pi_trio.registry import Strategy
from tests.cli.test_cli import MODEL, PITRIO, Terminal, terminal
from tests.cli.test_serve import line_of
from tests.openclaw.gateways import TOKEN, VERSIONS
from tests.openclaw.standin import open_standin
from tests.support import run

CLOSED = "ws://127.0.0.1:9"
"""The port of the discard service, which is nowhere any more."""


AWHILE = 180.0
"""Seconds after which a test has hung that starts many processes, each of which takes a while on a busy machine."""


def listed(name: str, url: str, **more: Any) -> str:
    return f"[[instance]]\nid = '{name}'\nurl = '{url}'\n" + "".join(
        f"{key} = {value!r}\n" for key, value in more.items()
    )


@attrs.frozen
class Served:
    """Two Pis at endpoints, a file that lists them, and one that nobody is at."""

    here: Terminal
    urls: list[str]
    token_file: str
    process: trio.Process
    file: Path


@asynccontextmanager
async def served(pi: PiInstall, folder: Path) -> AsyncIterator[Served]:
    async with terminal(pi, folder, []) as here, trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            lambda task_status: trio.run_process(
                [*PITRIO, "serve", "-n", "2", "--json", *MODEL],
                stdout=subprocess.PIPE,
                stdin=b"",
                check=False,
                env=here.env,
                cwd=here.cwd,
                task_status=task_status,
            )
        )
        told = json.loads(await line_of(process))
        urls, token_file = [each["url"] for each in told["instances"]], told["token_file"]
        file = folder / "pis.toml"
        file.write_text(
            listed("a", urls[0], token_file=token_file, region="eu", max_concurrent=2)
            + listed("b", urls[1], token_file=token_file, region="us", capabilities=["gpu"], tags=["ci"])
            + listed("gone", CLOSED, region="us")
        )
        mark = {"PI_TRIO_TEST": uuid.uuid4().hex}  # what serves goes on while these are asked
        yield Served(attrs.evolve(here, mark=mark, env={**here.env, **mark}), urls, token_file, process, file)
        process.send_signal(signal.SIGINT)


def test_who_is_there(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with served(one_pi, tmp_path) as them:
            done = await them.here.pitrio("discover", *them.urls, "--token-file", them.token_file, "--json")
            told = json.loads(done.stdout)
            assert done.returncode == 0
            assert [each["url"] for each in told["instances"]] == them.urls
            assert {(each["health"], each["provider"], each["model"]) for each in told["instances"]} == {
                ("healthy", "scripted", "scripted-1")
            }
            assert told["discoveries"] == [{"name": "command line", "told": True, "error": None}]

            token = Path(them.token_file).read_text().strip()
            shown = attrs.evolve(them.here, env={**them.here.env, "PI_TRIO_TOKEN": token})
            done = await shown.pitrio("discover", them.urls[0])
            assert f"{them.urls[0]}  healthy" in done.stdout.decode()
            assert token not in (done.stdout + done.stderr).decode()

            done = await them.here.pitrio("discover", them.urls[0])
            assert done.returncode == 0, "it was looked, and what there is is not well"
            assert "unhealthy" in done.stdout.decode()
            assert "HTTP 401: it wants a token" in done.stdout.decode()

            done = await them.here.pitrio("discover", "--file", str(them.file))
            lines = done.stdout.decode().splitlines()
            assert done.returncode == 0
            heads = ["id", "where", "health", "took", "model", "region", "capabilities", "tags", "room"]
            assert lines[0].split() == heads
            assert [line.split()[0] for line in lines[1:4]] == ["a", "b", "gone"]
            assert lines[4].startswith(f"gone: no connection to {CLOSED}")

    run(main, patience=AWHILE)


def test_who_would_be_taken_and_why(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with served(one_pi, tmp_path) as them:

            async def select(*criteria: str) -> subprocess.CompletedProcess[bytes]:
                return await them.here.pitrio("select", "--file", str(them.file), *criteria)

            wanted = ("--capability", "gpu", "--tag", "ci", "--model", "scripted-1", "--provider", "scripted")
            done = await select(*wanted, "--json")
            told = json.loads(done.stdout)
            assert (done.returncode, told["instance"]["id"]) == (0, "b")
            assert told["refused"] == {"a": "capabilities", "gone": "provider"}

            done = await select()
            first, why, then, refused = done.stdout.decode().splitlines()
            assert first == f"a  {them.urls[0]}  scripted/scripted-1"
            assert why == "why: least loaded: 0 of 2 in use; 2 of 3 instances match"
            assert then == "next: b"
            assert refused.startswith("not gone: health (no connection")

            done = await select("--region", "eu", "--min-free", "3")
            assert (done.returncode, done.stdout) == (5, b"")
            said = done.stderr.decode().splitlines()
            assert said[0].endswith("none had the right free capacity")
            assert said[1:] == ["not a: free capacity (2)", "not b: region (us)", "not gone: region (us)"]

            done = await select("--provider", "other", "--json")
            told = json.loads(done.stdout)
            assert done.returncode == 5
            assert (told["instance"], told["criterion"]) == (None, "provider")
            assert told["passed"] == {"registered": 3, "selectable": 3, "provider": 0}

    run(main, patience=AWHILE)


def test_each_criterion_and_strategy_counts(
    one_pi: PiInstall, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        async with served(one_pi, tmp_path) as them:

            async def pick(strategy: Strategy | None = None, **criteria: Any) -> Any:
                wish = Wish(Criteria(**criteria), strategy or LeastLoaded(), 3)
                code = await select_command([FileDiscovery(them.file)], wish, timeout=10, as_json=True)
                assert code == 0
                return json.loads(capsys.readouterr().out)

            told = await pick()
            assert (told["instance"]["id"], told["alternatives"], told["refused"]) == ("a", ["b"], {"gone": "health"})
            assert (await pick(min_free=2))["instance"]["id"] == "a"
            assert (await pick(exclude={"a"}))["instance"]["id"] == "b"
            assert (await pick(region="us"))["instance"]["id"] == "b"
            assert (await pick(health=Health.UNHEALTHY))["instance"]["id"] == "gone"
            for name, key, seed in (
                ("sticky", "user 7", None),
                ("random", None, 3),
                ("two-choices", None, 3),
                ("round-robin", None, None),
            ):
                strategy = make_strategy(name, key=key, seed=seed, prefer=())
                once, again = await pick(strategy), await pick(strategy)
                assert (once["instance"]["id"], once["why"]) == (again["instance"]["id"], again["why"])
            preferring = make_strategy("capability-match", key=None, seed=None, prefer=("gpu",))
            assert (await pick(preferring))["instance"]["id"] == "b"

    run(main, patience=AWHILE)


def test_it_is_watched_until_an_interrupt(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with served(one_pi, tmp_path) as them, trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                lambda task_status: trio.run_process(
                    [*PITRIO, "discover", "--file", str(them.file), "--watch", "--json"],
                    stdout=subprocess.PIPE,
                    stdin=b"",
                    check=False,
                    env=them.here.env,
                    cwd=them.here.cwd,
                    task_status=task_status,
                )
            )
            told = json.loads(await line_of(process))
            assert [each["id"] for each in told["instances"]] == ["a", "b", "gone"]
            them.file.write_text(listed("b", them.urls[1], token_file=them.token_file))
            while [each["id"] for each in told["instances"]] != ["b"] or told["instances"][0]["health"] != "healthy":
                told = json.loads(await line_of(process))
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130

    run(main, patience=AWHILE)


# --- other sources, and mistakes -----------------------------------------------------------------


SOURCES = """
import trio
from pi_trio import Discovery, Found, Profile, StaticDiscovery

def listed():
    return StaticDiscovery([Found("\\x1b[2J[bold]x", profile=Profile(url="ws://127.0.0.1:9"))], name="listed")

def broken():
    raise RuntimeError("not today")

class Silent(Discovery):
    name = "silent"
    async def run(self, sightings):
        await trio.sleep_forever()
"""


def other_package(folder: Path) -> None:
    info = folder / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[pi_trio.discoveries]\nlisted = other:listed\nbroken = other:broken\nagain = other:listed\nodd = builtins:dict\nsilent = other:Silent\nlost = nowhere:x\n"
    )
    (folder / "other.py").write_text(SOURCES)


def test_discoveries_of_other_packages(one_pi: PiInstall, tmp_path: Path) -> None:
    other_package(tmp_path)

    async def main() -> None:
        async with terminal(one_pi, tmp_path, []) as bare:
            path = f"{bare.env['PYTHONPATH']}{os.pathsep}{tmp_path}"
            here = attrs.evolve(bare, env={**bare.env, "PYTHONPATH": path})
            done = await here.pitrio("discover", "--discovery", "listed")
            assert done.returncode == 0
            assert b"\x1b" not in done.stdout, "a terminal takes no orders from what was found"
            assert "[2J[bold]x" in done.stdout.decode()

            done = await here.pitrio("discover", "--discovery", "silent", "--timeout", "0.1")
            assert (done.returncode, done.stdout) == (1, b"no instances\n")
            assert done.stderr == b"pitrio: silent: it has told nothing yet\n"

            done = await here.pitrio("discover", "--discovery", "broken")
            assert done.returncode == 1
            assert b"the discovery broken cannot be made: RuntimeError: not today" in done.stderr
            done = await here.pitrio("discover", "--discovery", "lost")
            assert done.returncode == 1
            assert b"the discovery lost cannot be imported: ModuleNotFoundError" in done.stderr
            done = await here.pitrio("discover", "--discovery", "odd")
            assert done.returncode == 1
            assert b"the discovery odd is a dict" in done.stderr
            done = await here.pitrio("discover", "--discovery", "listed", "--discovery", "again")
            assert done.returncode == 2
            assert b"two of the sources have one name" in done.stderr
            done = await here.pitrio("discover", "--discovery", "none")
            assert done.returncode == 2
            assert (
                b"no discovery 'none' is installed (there are: again, broken, listed, lost, odd, silent)" in done.stderr
            )

    run(main, patience=AWHILE)


def invoke(*arguments: str) -> Result:
    return CliRunner(env={"PI_TRIO_TOKEN": "hush", "OPENCLAW_GATEWAY_TOKEN": "hush", "COLUMNS": "500"}).invoke(
        pitrio, arguments
    )


@pytest.mark.parametrize("command", ["discover", "select"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say where to look"),
        (("http://127.0.0.1:4000",), "not a WebSocket URL"),
        (("ws://127.0.0.1:port",), "not a WebSocket URL"),
        (("ws://a..b",), "not a WebSocket URL"),
        (("ws://build.example",), "in the clear"),
        (("wss://me:hush@build.example",), "names a user"),
        ((CLOSED, CLOSED + "/"), "given twice"),
        ((CLOSED, "--token-file", "/nowhere"), "does not exist"),
        (("--file", "/nowhere"), "does not exist"),
        ((CLOSED, "--timeout", "0"), "is not in the range"),
        (("--openclaw", "http://127.0.0.1"), "not a WebSocket URL"),
        (("--openclaw", "ws://claw.example"), "in the clear"),
        (("--openclaw", CLOSED, "--openclaw-token-file", "/dev/null"), "does not hold a token"),
    ],
)
def test_a_mistake_gets_a_clear_line(command: str, arguments: tuple[str, ...], said: str) -> None:
    done = invoke(command, *arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert "hush" not in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--strategy", "sticky"), "needs a --key"),
        (("--key", "k"), "is for --strategy sticky"),
        (("--seed", "1"), "is for --strategy random"),
        (("--strategy", "random", "--prefer", "gpu"), "is for --strategy capability-match"),
        (("--strategy", "best"), "is not one of"),
        (("--min-free", "0"), "is not in the range"),
        (("--health", "fine"), "is not one of"),
    ],
)
def test_a_wish_that_cannot_be(arguments: tuple[str, ...], said: str) -> None:
    done = invoke("select", CLOSED, *arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_a_file_that_cannot_be_read_is_told_and_hides_nobody(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.toml", tmp_path / "good.toml"
    bad.write_text("[[")
    good.write_text(listed("gone", CLOSED) + listed("odd", "http://127.0.0.1"))
    done = invoke("discover", "--file", str(bad), "--file", str(good))
    assert done.exit_code == 1
    assert f"pitrio: file:{bad}: " in done.stderr
    assert f"pitrio: file:{good}: there is no way to 'odd'" in done.stderr
    assert "gone" in done.stdout
    done = invoke("select", "--file", str(bad))
    assert done.exit_code == 1, "who knows whom it lists"
    assert done.stderr.endswith("pitrio: there is no instance\n")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_sessions_of_a_gateway(one_pi: PiInstall, tmp_path: Path, version: str) -> None:
    async def main() -> None:
        async with terminal(one_pi, tmp_path, []) as bare, open_standin(version, TOKEN) as standin:
            here = attrs.evolve(bare, env={**bare.env, "OPENCLAW_GATEWAY_TOKEN": TOKEN})
            async with open_gateway(standin.url, GatewayOptions(token=TOKEN, scopes=("operator.admin",))) as gateway:
                for key in ("agent:main:one", "agent:main:two"):
                    await gateway.request("sessions.create", {"key": key, "model": "local/scripted-1"})
            name = f"openclaw:127.0.0.1:{standin.port}"
            ids = {f"{name}/agent:main:one", f"{name}/agent:main:two"}

            told = json.loads((await here.pitrio("discover", "--openclaw", standin.url, "--json")).stdout)
            assert {(each["id"], each["source"], each["health"]) for each in told["instances"]} == {
                (each, name, "healthy") for each in ids
            }
            wanted = ("--tag", "agent:main", "--exclude", f"{name}/agent:main:one", "--json")
            told = json.loads((await here.pitrio("select", "--openclaw", standin.url, *wanted)).stdout)
            assert told["instance"]["id"] == f"{name}/agent:main:two"
            assert told["refused"] == {f"{name}/agent:main:one": "exclude"}

            wrong = tmp_path / "wrong"
            wrong.write_text("not-it\n")
            done = await here.pitrio("discover", "--openclaw", standin.url, "--openclaw-token-file", str(wrong))
            assert (done.returncode, done.stdout) == (1, b"no instances\n")
            assert done.stderr.decode().startswith(f"pitrio: {name}: no connection to {standin.url}")
            assert "token" in done.stderr.decode()
            assert "not-it" not in done.stderr.decode()
            assert TOKEN not in done.stderr.decode()

    run(main, patience=AWHILE)


def test_a_gateway_that_is_not_there_is_told() -> None:
    done = invoke("discover", "--openclaw", CLOSED)
    assert (done.exit_code, done.stdout) == (1, "no instances\n")
    assert done.stderr.startswith(f"pitrio: openclaw:127.0.0.1:9: no connection to {CLOSED}")
