"""The sweep finds what dead runs left, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping

import attrs
import pytest

from pi_trio.process import sweep as module
from pi_trio.process.procfs import ProcessInfo, read_process
from pi_trio.process.run_id import RUN_VARIABLE, RunOwner, new_run_id
from pi_trio.process.stamp import make_stamp
from pi_trio.process.sweep import sweep_dead_runs
from tests.process.keeper.trees import command_line, is_alive, new_token, wait_for, with_token

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")

HERE = RunOwner.this_process()
DEAD = attrs.evolve(HERE, started=HERE.started - 1)
ELSEWHERE = attrs.evolve(DEAD, namespace=HERE.namespace - 1)

# Sets the stamp, if there is one, and becomes a shell that runs a script.
_START = """
import os, resource, sys
stamp, script, token = sys.argv[1:]
if int(stamp):
    resource.setrlimit(10, (int(stamp), resource.getrlimit(10)[1]))
os.execvp("sh", ["sh", "-c", script, token])
"""


def name_of(owner: RunOwner) -> str:
    return f"{'0' * 16}-{owner.pid}-{owner.started}-{owner.namespace}"


@pytest.fixture
def token() -> Iterator[str]:
    """What carries it is gone after the test."""
    token = new_token()
    yield token
    for process in with_token(token):
        os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: with_token(token) == [])


def start(token: str, script: str, env: Mapping[str, str], *, stamp: int = 0) -> None:
    """Run a script that ends; what it leaves in the background is init's, not ours."""
    environ = {name: value for name, value in os.environ.items() if name != RUN_VARIABLE} | dict(env)
    command = [sys.executable, "-c", _START, str(stamp), script, token]
    subprocess.run(command, env=environ, check=True, timeout=30, stdin=subprocess.DEVNULL)


def leave(token: str, env: Mapping[str, str], *, stamp: int = 0, prefix: str = "", count: int = 1) -> None:
    """Leave daemons with this environment and this stamp."""
    there = len(with_token(token))
    start(
        token,
        f"for i in {' '.join(map(str, range(count)))}; do {prefix} setsid sleep 3600.{token} & done",
        env,
        stamp=stamp,
    )
    wait_for(lambda: len(with_token(token)) == there + count)


def swept(token: str) -> list[ProcessInfo]:
    """What a sweep killed of those with this token. Others may sweep, and leave things, at the same time."""
    before = with_token(token)
    killed = sweep_dead_runs()
    return [
        process for process in before if any((it.pid, it.started) == (process.pid, process.started) for it in killed)
    ]


@pytest.mark.parametrize("mark", ["variable", "stamp", "both"])
def test_what_a_dead_run_left_is_killed(token: str, mark: str) -> None:
    env = {RUN_VARIABLE: name_of(DEAD)} if mark != "stamp" else {}
    leave(token, env, stamp=make_stamp(DEAD, 3) if mark != "variable" else 0, count=3)
    assert len(swept(token)) == 3
    assert with_token(token) == []


def test_so_is_what_descends_from_it_and_carries_no_mark(token: str) -> None:
    script = f"(env -u {RUN_VARIABLE} sh -c 'sleep 3600.{token} & exec sleep 3600.{token}'; :) & sleep 0.01"
    start(token, f'setsid sh -c "{script}; wait" {token} & :', {RUN_VARIABLE: name_of(DEAD)})
    wait_for(lambda: sum(b"sleep\x003600" in command_line(process) for process in with_token(token)) == 2)
    assert len(swept(token)) >= 3
    assert with_token(token) == []


@pytest.mark.parametrize(
    ("variable", "stamp"),
    [
        (None, 0),
        ("", 0),
        ("some-name", 0),
        ("5d41402abc4b2a765d41402abc4b2a76", 0),
        (name_of(HERE), 0),
        (name_of(ELSEWHERE), 0),
        (None, make_stamp(HERE, 3)),
        (None, make_stamp(ELSEWHERE, 3)),
        (name_of(HERE), make_stamp(DEAD, 3)),  # a living runtime in the tree of a dead one
        (name_of(DEAD), make_stamp(HERE, 3)),
    ],
)
def test_whatever_may_be_somebodys_is_left_alone(token: str, variable: str | None, stamp: int) -> None:
    leave(token, {} if variable is None else {RUN_VARIABLE: variable}, stamp=stamp)
    assert swept(token) == []
    assert len(with_token(token)) == 1


def test_so_is_what_descends_from_it(token: str) -> None:
    """A dead run's name further down does not count against a living owner, nor its lack for a dead one."""
    inner = f"env {RUN_VARIABLE}={new_run_id()} sh -c 'env -u {RUN_VARIABLE} sleep 3600.{token} & wait' {token}"
    start(token, f'setsid sh -c "{inner}" & :', {RUN_VARIABLE: name_of(DEAD)})
    wait_for(lambda: any(b"sleep\x003600" in command_line(process) for process in with_token(token)))
    swept(token)
    left = [command_line(process) for process in with_token(token)]
    assert any(b"sleep\x003600" in line for line in left)


def test_a_run_whose_runtime_dies_with_the_sweep_is_swept_too(token: str) -> None:
    """A runtime in the tree of a dead one is killed; then its own agents are what a dead runtime left."""
    start(token, f"setsid sh -c 'echo $$ > /dev/null; exec sleep 3600.{token}' & :", {RUN_VARIABLE: name_of(DEAD)})
    wait_for(lambda: any(b"sleep\x003600" in command_line(process) for process in with_token(token)))
    (nested,) = with_token(token)
    owner = RunOwner(nested.pid, nested.started, HERE.namespace)
    leave(token, {RUN_VARIABLE: name_of(owner)}, stamp=make_stamp(owner, 0))
    assert len(swept(token)) == 2
    assert with_token(token) == []


def test_the_sweeping_process_its_ancestors_and_descendants_are_left_alone(token: str) -> None:
    sweep = "from pi_trio.process.sweep import sweep_dead_runs as sweep; import os, subprocess, sys; "
    sweep += f"child = subprocess.Popen(['sleep', '3600.{token}']); swept = [it.pid for it in sweep()]; "
    sweep += "print(child.pid in swept, os.getpid() in swept, os.getppid() in swept); child.kill(); child.wait()"
    env = {**os.environ, RUN_VARIABLE: name_of(DEAD), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = ["sh", "-c", f'{sys.executable} -c "{sweep}"; exit $?', token]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False False False\n"


def test_nothing_is_swept_where_proc_is_not_ours(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(token, {RUN_VARIABLE: name_of(DEAD)})
    monkeypatch.setattr(module, "proc_is_ours", lambda: False)
    assert sweep_dead_runs() == ()
    assert len(with_token(token)) == 1


def test_what_it_killed_is_dead_when_it_returns(token: str) -> None:
    leave(token, {RUN_VARIABLE: name_of(DEAD)}, count=20)
    killed = swept(token)
    assert len(killed) == 20
    for process in killed:
        now = read_process(process.pid)
        assert now is None or now.started != process.started or not is_alive(process.pid)
