"""The name of a run, and the stamp, say whose it is; and are never wrong about who lives."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import attrs
import pytest

from pi_trio.process import run_id as module
from pi_trio.process.procfs import read_process
from pi_trio.process.run_id import RunOwner, new_run_id, owner_of, pid_namespace
from pi_trio.process.stamp import SERIALS, make_stamp, read_stamp, stamped_by_the_dead

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")


@pytest.fixture
def zombie() -> Iterator[RunOwner]:
    """A process that has ended and was not reaped."""
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    info = read_process(process.pid)
    assert info is not None
    yield RunOwner(process.pid, info.started, pid_namespace())
    process.wait()


HERE = RunOwner.this_process()


def test_a_run_id_names_its_owner_and_is_new_each_time() -> None:
    names = {new_run_id() for _ in range(100)}
    assert len(names) == 100
    assert {owner_of(name) for name in names} == {HERE}
    assert pid_namespace() > 0
    assert os.getpid() == HERE.pid


@pytest.mark.parametrize(
    "name",
    [
        "",
        "5d41402abc4b2a765d41402abc4b2a76",
        "5d41402abc4b2a76-0-1-1",
        "5d41402abc4b2a76-1-1",
        "5d41402abc4b2a76--1-1-1",
        "5d41402abc4b2a76-1-1-1\n",
        "5d41402abc4b2a76-1-1-1-1",
        " 5d41402abc4b2a76-1-1-1",
        "5D41402ABC4B2A76-1-1-1",
        "5d41402abc4b2a76-\u0661-1-1",
        f"5d41402abc4b2a76-{'9' * 40}-1-1",
    ],
)
def test_other_names_have_no_owner(name: str) -> None:
    assert owner_of(name) is None


def test_the_living_are_not_dead_and_the_dead_are(zombie: RunOwner) -> None:
    assert not HERE.is_dead()
    assert zombie.is_dead()
    assert attrs.evolve(HERE, started=HERE.started - 1).is_dead(), "the pid was given to somebody else"
    assert attrs.evolve(HERE, pid=2**22 - 1).is_dead()


def test_nobody_of_another_namespace_is_dead() -> None:
    assert not attrs.evolve(HERE, pid=2**22 - 1, namespace=HERE.namespace - 1).is_dead()
    assert not attrs.evolve(HERE, pid=2**22 - 1, namespace=0).is_dead()


def test_nothing_is_dead_where_it_cannot_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "pid_namespace", lambda: 0)
    assert not attrs.evolve(HERE, pid=2**22 - 1, namespace=0).is_dead()


def test_stamps_of_the_living_are_not_of_the_dead(zombie: RunOwner) -> None:
    for serial in range(SERIALS):
        assert not stamped_by_the_dead(make_stamp(HERE, serial))
        assert stamped_by_the_dead(make_stamp(zombie, serial))
    assert len({make_stamp(HERE, serial) for serial in range(SERIALS)}) == SERIALS
    assert stamped_by_the_dead(make_stamp(attrs.evolve(HERE, started=HERE.started - 1), 0))
    assert stamped_by_the_dead(make_stamp(attrs.evolve(HERE, pid=2**22 - 1), 0))
    assert not stamped_by_the_dead(make_stamp(attrs.evolve(HERE, pid=2**22 - 1, namespace=HERE.namespace - 1), 0))


def test_every_part_of_a_stamp_has_its_own_bits() -> None:
    largest = RunOwner(pid=2**22 - 1, started=2**14 - 1, namespace=2**20 - 1)
    nothing = RunOwner(pid=0, started=0, namespace=0)
    assert make_stamp(nothing, 0) == 2**62
    assert make_stamp(largest, SERIALS - 1) == 2**63 - 1
    parts = [
        make_stamp(attrs.evolve(nothing, pid=largest.pid), 0),
        make_stamp(attrs.evolve(nothing, started=largest.started), 0),
        make_stamp(attrs.evolve(nothing, namespace=largest.namespace), 0),
        make_stamp(nothing, SERIALS - 1),
    ]
    assert sum(part - 2**62 for part in parts) == 2**62 - 1


@pytest.mark.parametrize(("limit", "stamp"), [(-1, None), (4096, None), (2**62 + 7, 2**62 + 7)])
def test_a_stamp_is_read_from_the_limits(limit: int, stamp: int | None) -> None:
    script = f"import resource; resource.setrlimit(10, ({limit}, -1)); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        assert read_stamp(process.pid) == stamp
        process.stdin.write(b"\n")
    assert read_stamp(process.pid) is None
