"""The sweep finds what dead runs left, and nothing else.

Other runtimes on this machine sweep too, whenever one starts. So what stands for a dead run here carries the
marks of a living one, this process, and only these tests take it for dead. (``test_run_id`` has who is dead.)
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping

import attrs
import pytest

from pi_trio.process import sweep as module
from pi_trio.process.procfs import ProcessInfo
from pi_trio.process.run_id import RUN_VARIABLE, RunOwner, new_run_id, owner_of
from pi_trio.process.stamp import make_stamp, stamped_by_the_dead
from pi_trio.process.sweep import sweep_dead_runs
from tests.process.keeper.trees import is_alive, new_token, settled, wait_for, with_token

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")

HERE = RunOwner.this_process()
DEAD = attrs.evolve(HERE, started=HERE.started - 1)
ELSEWHERE = attrs.evolve(DEAD, namespace=HERE.namespace - 1)

DEAD_RUN = new_run_id()
DEAD_STAMP = make_stamp(HERE, 63)

LIVING_RUN = new_run_id()
LIVING_STAMP = make_stamp(HERE, 62)


@pytest.fixture(autouse=True)
def one_dead_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def stamped(stamp: int) -> bool:
        return stamp == DEAD_STAMP or stamped_by_the_dead(stamp)

    monkeypatch.setattr(module, "owner_of", lambda name: DEAD if name == DEAD_RUN else owner_of(name))
    monkeypatch.setattr(module, "stamped_by_the_dead", stamped)


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


def leave(token: str, script: str, env: Mapping[str, str], *, stamp: int = 0, count: int = 1) -> None:
    """Run a script that ends, with this environment and this stamp; what it leaves is init's, not ours.

    Waits until ``count`` more processes with this token sleep.
    """
    there = settled(with_token(token))
    environ = {name: value for name, value in os.environ.items() if name != RUN_VARIABLE} | dict(env)
    command = [sys.executable, "-c", _START, str(stamp), script, token]
    subprocess.run(command, env=environ, check=True, timeout=30, stdin=subprocess.DEVNULL)
    wait_for(lambda: settled(with_token(token)) == there + count)


def daemons(token: str, count: int = 1) -> str:
    """A script that leaves so many of them."""
    return f"for i in {' '.join(map(str, range(count)))}; do setsid sleep 3600.{token} & done"


def swept(token: str) -> list[ProcessInfo]:
    """What a sweep killed of those with this token. It may find others, too."""
    before = {(process.pid, process.started): process for process in with_token(token)}
    killed = {(process.pid, process.started) for process in sweep_dead_runs()}
    return [process for key, process in before.items() if key in killed]


@pytest.mark.parametrize("mark", ["variable", "stamp", "both"])
def test_what_a_dead_run_left_is_killed(token: str, mark: str) -> None:
    env = {RUN_VARIABLE: DEAD_RUN} if mark != "stamp" else {}
    leave(token, daemons(token, 3), env, stamp=DEAD_STAMP if mark != "variable" else 0, count=3)
    assert len(swept(token)) == 3
    assert with_token(token) == []


def test_so_is_what_descends_from_it_and_carries_no_mark(token: str) -> None:
    unmarked = f"env -u {RUN_VARIABLE} sh -c 'sleep 3600.{token} & sleep 3600.{token}'"
    leave(token, f'setsid sh -c "{unmarked}; :" &', {RUN_VARIABLE: DEAD_RUN}, count=2)
    swept(token)
    assert with_token(token) == []


@pytest.mark.parametrize(
    ("variable", "stamp"),
    [
        (None, 0),
        ("", 0),
        ("some-name", 0),
        ("5d41402abc4b2a765d41402abc4b2a76", 0),
        (LIVING_RUN, 0),
        (name_of(ELSEWHERE), 0),
        (None, LIVING_STAMP),
        (None, make_stamp(ELSEWHERE, 3)),
        (LIVING_RUN, DEAD_STAMP),  # a living runtime in the tree of a dead one
        (DEAD_RUN, LIVING_STAMP),
    ],
    ids=["no", "empty", "other", "uuid", "living", "elsewhere", "living-s", "elsewhere-s", "nested", "odd"],
)
def test_whatever_may_be_somebodys_is_left_alone(token: str, variable: str | None, stamp: int) -> None:
    leave(token, daemons(token), {} if variable is None else {RUN_VARIABLE: variable}, stamp=stamp)
    assert swept(token) == []
    assert len(with_token(token)) == 1


def test_so_is_what_descends_from_it(token: str) -> None:
    """Though it carries no mark itself, and further up there is a dead run."""
    inner = f"env {RUN_VARIABLE}={LIVING_RUN} sh -c 'env -u {RUN_VARIABLE} sleep 3600.{token} & wait'"
    leave(token, f'setsid sh -c "{inner}; :" &', {RUN_VARIABLE: DEAD_RUN})
    swept(token)
    assert settled(with_token(token)) == 1


def test_a_run_whose_runtime_dies_with_the_sweep_is_swept_too(token: str) -> None:
    """A runtime in the tree of a dead one is killed; then its own agents are what a dead runtime left."""
    leave(token, daemons(token), {RUN_VARIABLE: DEAD_RUN})
    (nested,) = with_token(token)
    owner = RunOwner(nested.pid, nested.started, HERE.namespace)
    leave(token, daemons(token), {RUN_VARIABLE: name_of(owner)}, stamp=make_stamp(owner, 0))
    swept(token)
    assert with_token(token) == []


_SWEEP = """
import os, subprocess, sys
from pi_trio.process import sweep
from pi_trio.process.run_id import RunOwner
dead_run, token, other = sys.argv[1:]
owner_of = sweep.owner_of
sweep.owner_of = lambda name: RunOwner(1, 1, owner_of(name).namespace) if name == dead_run else owner_of(name)
child = subprocess.Popen(["sleep", f"3600.{token}"])
swept = [process.pid for process in sweep.sweep_dead_runs()]
print(child.pid in swept, os.getpid() in swept, os.getppid() in swept, int(other) in swept)
child.kill()
child.wait()
"""


def test_the_sweeping_process_its_ancestors_and_descendants_are_left_alone(token: str) -> None:
    leave(token, daemons(token), {RUN_VARIABLE: DEAD_RUN})
    (other,) = with_token(token)
    env = {**os.environ, RUN_VARIABLE: DEAD_RUN, "PYTHONPATH": os.pathsep.join(sys.path)}
    inner = [sys.executable, "-c", _SWEEP, DEAD_RUN, token, str(other.pid)]
    command = ["sh", "-c", '"$@"; exit $?', "sh", *inner]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    assert done.stdout == "False False False True\n"


def test_nothing_is_swept_where_proc_is_not_ours(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(token, daemons(token), {RUN_VARIABLE: DEAD_RUN})
    monkeypatch.setattr(module, "proc_is_ours", lambda: False)
    assert sweep_dead_runs() == ()
    assert len(with_token(token)) == 1


def test_what_it_killed_is_dead_when_it_returns(token: str) -> None:
    leave(token, daemons(token, 20), {RUN_VARIABLE: DEAD_RUN}, count=20)
    killed = swept(token)
    assert len(killed) == 20
    assert not any(is_alive(process.pid) for process in killed)
