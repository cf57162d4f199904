"""The helper and its keepers by themselves: plain sockets, no Trio, nothing of the host."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from pi_trio.process.keeper import helper
from pi_trio.process.keeper.helper import kernel
from pi_trio.process.keeper.helper.messages import Lines, as_text, encode
from pi_trio.process.procfs import read_process
from pi_trio.process.run_id import RunOwner
from pi_trio.process.stamp import make_stamp, read_stamp
from tests.process.keeper.trees import (
    PATIENCE,
    is_alive,
    new_token,
    settled,
    size_of,
    tree_command,
    wait_for,
    with_token,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="keepers are made of what only Linux has")

PROGRAM = Path(helper.__file__).parent / "__main__.py"


@attrs.define(eq=False)
class Agent:
    """The runtime's ends of one agent."""

    control: socket.socket
    stdin: int
    stdout: int
    stderr: int
    lines: Lines = attrs.field(factory=Lines)
    said: list[dict[str, Any]] = attrs.field(factory=list)

    def hear(self) -> dict[str, Any] | None:
        """The next message; ``None`` at the end of the file."""
        while not self.said:
            data = self.control.recv(65536)
            if not data:
                return None
            self.said += self.lines.feed(data)
        return self.said.pop(0)

    def hear_all(self) -> list[dict[str, Any]]:
        return list(iter(self.hear, None))

    def started(self) -> tuple[int, int]:
        """Wait until it runs; the pids of agent and keeper."""
        message = self.hear()
        assert message is not None
        assert "started" in message, message
        return message["started"][0], message["keeper"][0]

    def say(self, message: dict[str, Any]) -> None:
        self.control.sendall(encode(message))

    def output(self) -> bytes:
        """All that it writes to stdout."""
        with open(self.stdout, "rb") as file:
            self.stdout = -1
            return file.read()

    def close(self) -> None:
        self.control.close()
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.stdin = self.stdout = self.stderr = -1


@attrs.define(eq=False)
class Helper:
    """A helper, and what was asked of it."""

    process: subprocess.Popen[bytes]
    sock: socket.socket
    agents: list[Agent] = attrs.field(factory=list)

    def request(self, *, grace: float = 5.0) -> Agent:
        """Ask for a keeper. Nothing has been said to it yet."""
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        their_in, our_in = os.pipe()
        our_out, their_out = os.pipe()
        our_err, their_err = os.pipe()
        fds = [theirs.fileno(), their_in, their_out, their_err]
        socket.send_fds(self.sock, [encode({"grace": grace})], fds)
        theirs.close()
        for fd in fds[1:]:
            os.close(fd)
        agent = Agent(ours, our_in, our_out, our_err)
        self.agents.append(agent)
        return agent

    def start(
        self,
        *argv: str,
        env: Mapping[bytes, bytes] | None = None,
        cwd: str = "/",
        grace: float = 5.0,
        stamp: int | None = None,
    ) -> Agent:
        agent = self.request(grace=grace)
        env = os.environb if env is None else env
        agent.say(
            {
                "start": {
                    "argv": [as_text(os.fsencode(argument)) for argument in argv],
                    "env": {as_text(name): as_text(value) for name, value in env.items()},
                    "cwd": cwd,
                    "grace": grace,
                    "stamp": stamp,
                }
            }
        )
        return agent

    def start_tree(self, token: str, shape: str, manner: str, *, grace: float = 5.0, stamp: int | None = None) -> Agent:
        agent = self.start(*tree_command(token, shape, manner).argv, grace=grace, stamp=stamp)
        wait_for(lambda: settled(with_token(token)) == size_of(shape, manner))
        return agent

    def wait(self) -> int:
        return self.process.wait(PATIENCE)


@contextmanager
def serving(runtime: int | None = None) -> Iterator[Helper]:
    """A helper for the process ``runtime``; this one by default. Behind it, it is gone, and that is checked."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(PATIENCE)
    pidfd = os.pidfd_open(os.getpid() if runtime is None else runtime)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(PROGRAM), str(theirs.fileno()), str(pidfd)],
        pass_fds=(theirs.fileno(), pidfd),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
    )
    theirs.close()
    os.close(pidfd)
    serving_ = Helper(process, ours)
    try:
        assert json.loads(ours.recv(4096)) == {"ready": process.pid}
        yield serving_
    finally:
        for agent in serving_.agents:
            agent.close()
        ours.close()
        try:
            serving_.wait()
        finally:
            process.kill()
            process.wait()


def test_an_agents_life_is_told_in_three_messages() -> None:
    with serving() as helper:
        agent = helper.start("sh", "-c", "read line; echo got $line; exit 3")
        pid, keeper = agent.started()
        os.write(agent.stdin, b"it\n")
        assert agent.hear_all() == [{"exit": 3}, {"empty": True}]
        assert agent.output() == b"got it\n"
        wait_for(lambda: read_process(keeper) is None)
        assert read_process(pid) is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT, signal.SIGRTMIN + 3])
def test_a_signal_is_told_as_it_was(number: int) -> None:
    with serving() as helper:
        agent = helper.start("sleep", "3600")
        pid, _ = agent.started()
        os.kill(pid, number)
        assert agent.hear_all() == [{"exit": -number}, {"empty": True}]


def test_started_names_agent_and_keeper_for_ever() -> None:
    with serving() as helper:
        agent = helper.start("sleep", "3600")
        message = agent.hear()
        assert message is not None
        for role, parent in (("started", message["keeper"][0]), ("keeper", helper.process.pid)):
            pid, ticks = message[role]
            process = read_process(pid)
            assert process is not None
            assert (process.started, process.ppid) == (ticks, parent)
            assert process.session == pid


def test_what_cannot_be_started_is_refused_with_the_systems_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("#!/bin/sh\n")
    with serving() as helper:
        refused = [
            (helper.start("no-such-program", env={b"PATH": b"/usr/bin:/bin"}), errno.ENOENT, "program"),
            (helper.start(str(tmp_path / "file")), errno.EACCES, "program"),
            (helper.start("sh", cwd="/no/such/folder"), errno.ENOENT, "cwd"),
            (helper.start("sh", cwd=str(tmp_path / "file")), errno.ENOTDIR, "cwd"),
        ]
        for agent, number, of in refused:
            assert agent.hear_all() == [{"refused": number, "of": of}]
        wait_for(lambda: kernel.children(helper.process.pid) == [])


def test_an_agent_gets_the_bytes_it_was_given() -> None:
    env = {b"PATH": os.environb[b"PATH"], b"ODD": b"\xff\n=\xc3\xa4", b"LARGE": b"x" * 100_000}
    env |= {f"MANY_{number}".encode(): b"y" * 1000 for number in range(900)}
    show = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(b'%b=%b' % pair for pair in os.environb.items()))"
    with serving() as helper:
        agent = helper.start(sys.executable, "-S", "-c", show, "argument \udcff", env=env)
        agent.started()
        got = dict(pair.split(b"=", 1) for pair in agent.output().split(b"\0"))
        assert {name: value for name, value in got.items() if name != b"LC_CTYPE"} == env  # Python adds that one
        assert agent.hear_all() == [{"exit": 0}, {"empty": True}]


def test_an_agent_inherits_nothing_but_its_pipes() -> None:
    """Whatever the program ignores, blocks or has open; and that disturbs neither helper nor keeper."""
    ignored = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGALRM])
    try:
        with serving() as helper:
            helper.start("sleep", "3600")  # another keeper, with descriptors of its own
            agent = helper.start("cat", cwd="/usr")
            pid, _ = agent.started()
            os.write(agent.stdin, b"x")
            os.read(agent.stdout, 1)  # it is past its own start
            status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
            assert [status[name] for name in ("SigBlk", "SigIgn", "SigCgt")] == ["0" * 16] * 3
            assert os.readlink(f"/proc/{pid}/cwd") == "/usr"
            os.close(agent.stdin)
            agent.stdin = -1
            assert agent.hear_all() == [{"exit": 0}, {"empty": True}]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR2, ignored)


def test_an_agent_and_all_below_it_are_stamped() -> None:
    stamp = make_stamp(RunOwner.this_process(), 5)
    token = new_token()
    with serving() as helper:
        agent = helper.start_tree(token, "wiped", "lives", stamp=stamp)
        assert [read_stamp(process.pid) for process in with_token(token)] == [stamp, stamp]
        _, keeper = agent.started()
        assert read_stamp(keeper) is None


def test_the_end_of_the_control_socket_is_sigterm_then_patience_then_sigkill(tmp_path: Path) -> None:
    with serving() as helper:
        polite = helper.start(
            "sh", "-c", f"trap 'echo asked > {tmp_path}/polite; exit 0' TERM; echo; while :; do read x; done"
        )
        pid, _ = polite.started()
        os.read(polite.stdout, 1)
        os.kill(pid, signal.SIGSTOP)  # SIGCONT has to come, too
        polite.control.shutdown(socket.SHUT_WR)
        assert polite.hear_all() == [{"exit": 0}, {"empty": True}]
        assert (tmp_path / "polite").read_text() == "asked\n"

        deaf = helper.start_tree(token := new_token(), "alone", "deaf", grace=0.1)
        deaf.started()
        deaf.control.shutdown(socket.SHUT_WR)
        assert deaf.hear_all() == [{"exit": -signal.SIGKILL}, {"empty": True}]
        assert with_token(token) == []


def test_kill_does_not_wait_for_the_grace_period() -> None:
    with serving() as helper:
        agent = helper.start_tree(token := new_token(), "deaf below", "deaf", grace=3600.0)
        agent.started()
        agent.say({"kill": True})
        assert agent.hear_all() == [{"exit": -signal.SIGKILL}, {"empty": True}]
        assert with_token(token) == []


def test_kill_ends_the_patience_of_the_end_of_the_file() -> None:
    with serving() as helper:
        agent = helper.start_tree(new_token(), "alone", "deaf", grace=3600.0)
        agent.started()
        agent.say({"kill": True})
        agent.control.shutdown(socket.SHUT_WR)
        assert agent.hear_all() == [{"exit": -signal.SIGKILL}, {"empty": True}]


def test_a_plain_exit_takes_the_whole_tree_with_it() -> None:
    with serving() as helper:
        agent = helper.start_tree(token := new_token(), "double fork", "exits")
        agent.started()
        os.write(agent.stdin, b"\n")
        assert agent.hear_all() == [{"exit": 7}, {"empty": True}]
        assert with_token(token) == []


def test_orphans_are_reaped_while_the_agent_lives() -> None:
    with serving() as helper:
        agent = helper.start("sh", "-c", "(sleep 0.01 &); (sleep 0.01 &); echo; read x")
        pid, keeper = agent.started()
        os.read(agent.stdout, 1)
        wait_for(lambda: kernel.children(keeper) == [pid])


def test_the_death_of_the_runtime_ends_all_though_every_socket_stays_open() -> None:
    runtime = subprocess.Popen(["sleep", "3600"])
    try:
        with serving(runtime.pid) as helper:
            tokens = {manner: new_token() for manner in ("lives", "deaf", "stopped")}
            agents = [helper.start_tree(token, "wiped", manner, grace=0.1) for manner, token in tokens.items()]
            keepers = [agent.started()[1] for agent in agents]
            os.kill(keepers[0], signal.SIGSTOP)  # that does not save it
            runtime.kill()
            assert helper.wait() == 0
            assert [with_token(token) for token in tokens.values()] == [[], [], []]
            wait_for(lambda: not any(read_process(keeper) for keeper in keepers))
    finally:
        runtime.kill()
        runtime.wait()


def test_a_killed_keeper_is_stood_in_for() -> None:
    with serving() as helper:
        other = helper.start_tree(spared := new_token(), "double fork", "lives")
        agent = helper.start_tree(token := new_token(), "wiped", "deaf", grace=3600.0)
        pid, keeper = agent.started()
        os.kill(keeper, signal.SIGKILL)
        *exits, last = agent.hear_all()
        assert [message["exits"][str(pid)] for message in exits] == [-signal.SIGKILL]
        assert last == {"empty": True}
        assert with_token(token) == []
        assert len(with_token(spared)) == 2
        other.say({"kill": True})
        other.started()
        assert other.hear_all() == [{"exit": -signal.SIGKILL}, {"empty": True}]


def test_keepers_that_are_killed_together_are_all_stood_in_for() -> None:
    with serving() as helper:
        tokens = [new_token() for _ in range(5)]
        agents = [helper.start_tree(token, "double fork", "lives") for token in tokens]
        pids = [agent.started() for agent in agents]
        for _, keeper in pids:
            os.kill(keeper, signal.SIGKILL)
        for agent, (pid, _) in zip(agents, pids, strict=True):
            exits, last = agent.hear_all()
            assert exits["exits"][str(pid)] == -signal.SIGKILL
            assert last == {"empty": True}
        assert [with_token(token) for token in tokens] == [[]] * 5


def test_keepers_do_not_need_the_helper() -> None:
    with serving() as helper:
        agent = helper.start_tree(token := new_token(), "setsid", "lives")
        agent.started()
        helper.process.kill()
        helper.wait()
        agent.say({"kill": True})
        assert agent.hear_all() == [{"exit": -signal.SIGKILL}, {"empty": True}]
        assert with_token(token) == []


def test_with_helper_and_keeper_gone_the_control_socket_ends_without_a_last_word() -> None:
    with serving() as helper:
        agent = helper.start("sleep", "3600")
        pid, keeper = agent.started()
        helper.process.kill()
        os.kill(keeper, signal.SIGKILL)
        assert agent.hear_all() == []
        wait_for(lambda: not is_alive(pid))  # by the death of its keeper


def test_what_ends_a_group_or_a_service_does_not_end_a_helper() -> None:
    with serving() as helper:
        agent = helper.start("sh", "-c", "read x")
        _, keeper = agent.started()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(keeper, number)
            os.kill(helper.process.pid, number)
        os.write(agent.stdin, b"\n")
        assert agent.hear_all() == [{"exit": 0}, {"empty": True}]
        again = helper.start("true")
        again.started()
        assert again.hear_all() == [{"exit": 0}, {"empty": True}]


def test_the_end_of_the_helper_socket_waits_for_the_keepers() -> None:
    with serving() as helper:
        agent = helper.start("sh", "-c", "trap 'read x; exit 5' TERM; echo; while :; do sleep 0.01; done")
        agent.started()
        os.read(agent.stdout, 1)
        helper.sock.shutdown(socket.SHUT_RDWR)
        agent.control.shutdown(socket.SHUT_WR)
        os.write(agent.stdin, b"\n")
        assert helper.wait() == 0
        assert agent.hear_all() == [{"exit": 5}, {"empty": True}]


def test_a_runtime_that_goes_before_it_has_said_what_to_start_leaves_nothing() -> None:
    with serving() as helper:
        nothing, half = helper.request(), helper.request()
        half.control.sendall(b'{"start": {"argv": ["sleep"')
        wait_for(lambda: len(kernel.children(helper.process.pid)) == 2)
        nothing.control.shutdown(socket.SHUT_WR)
        half.control.shutdown(socket.SHUT_WR)
        assert nothing.hear_all() == half.hear_all() == []
        wait_for(lambda: kernel.children(helper.process.pid) == [])


def test_an_error_in_a_keeper_is_told_and_the_agent_does_not_survive_it() -> None:
    with serving() as helper:
        agent = helper.request()
        agent.say({"start": {"argv": ["sleep", "3600"], "env": {}, "cwd": "/", "stamp": None}})  # no grace
        pid, _ = agent.started()
        crashed, exits, last = agent.hear_all()
        assert "KeyError: 'grace'" in crashed["crashed"]
        assert exits["exits"][str(pid)] == -signal.SIGKILL
        assert last == {"empty": True}


def test_nothing_but_the_standard_library_is_imported() -> None:
    show = "import helper.serve, sys; print(*sorted(name for name in sys.modules if name.partition('.')[0]))"
    output = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(PROGRAM.parent.parent)!r}); {show}"],
        capture_output=True,
        check=True,
        timeout=PATIENCE,
    ).stdout.decode()
    roots = {name.partition(".")[0] for name in output.split()}
    assert roots - set(sys.stdlib_module_names) == {"helper", "__main__"} - set(sys.stdlib_module_names)


def test_both_ways_to_find_children_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    child = subprocess.Popen(["sleep", "3600"])
    try:
        quick = kernel.children(os.getpid())
        monkeypatch.setattr(kernel, "_has_children_files", lambda: False)
        slow = kernel.children(os.getpid())
    finally:
        child.kill()
        child.wait()
    assert child.pid in quick
    assert sorted(quick) == sorted(slow)


def test_messages_are_put_together_from_any_pieces() -> None:
    messages: Sequence[dict[str, Any]] = [{"kill": True}, {"exit": -9}, {"of": as_text(bytes(range(256)))}]
    stream = b"".join(map(encode, messages))
    lines = Lines()
    assert [message for number in range(len(stream)) for message in lines.feed(stream[number : number + 1])] == messages
