"""The command line: measure how processes end, and print the tables of docs/process-death.md."""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs
import trio

from pi_trio import InstanceSpec, open_runtime
from pi_trio.abc import ProcessCommand, ProcessHost
from pi_trio.launch import PiInstall, find_pi
from pi_trio.process import DirectHost, list_processes, open_keeper_host
from pi_trio.process.procfs import read_process

WAYS = {
    "popen": "subprocess.Popen, own session",
    "asyncio": "asyncio.create_subprocess_exec",
    "trio": "trio.lowlevel.open_process",
    "rpc-client": "Pi's own RpcClient (Node.js)",
    "direct": "pi-trio, direct host",
    "keeper": "pi-trio, keeper host",
}

# Long enough for anybody who means to clean up; what is there then, stays.
_SETTLE = 2.0
_START_TIMEOUT = 30.0
_ROOT = Path(__file__).parents[2]


@attrs.frozen
class Started:
    """A program with a Pi whose tool runs."""

    program: subprocess.Popen[bytes]
    pi: int
    token: str

    def processes(self) -> list[int]:
        """The Pi and what its tool runs, as far as they are alive."""
        found = []
        for process in list_processes():
            try:
                command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            except OSError:
                continue
            mine = process.pid == self.pi or command == f"sleep\0{self.token}\0".encode()
            if process.alive and mine:
                found.append(process.pid)
        return found


def start(way: str, pi: PiInstall, folder: Path) -> Started:
    """Start a program that starts a Pi in this way."""
    token = f"{random.randrange(10**6, 10**7)}.5"
    folder = Path(tempfile.mkdtemp(dir=folder))
    assert pi.node is not None
    # RpcClient starts "node" by that name.
    path = f"{pi.node.path.parent}:{os.environ['PATH']}"
    plan: dict[str, Any] = {
        "argv": [*pi.command, "--mode", "rpc", "--no-session"],
        "pi": str(pi.path),
        "package": str(pi.path.parents[2]),
        "cwd": str(folder),
        "tool": str(folder / "tool"),
        "command": f"echo > {folder}/tool; exec sleep {token}",
        "env": {
            **os.environ,
            "PATH": path,
            "PI_CODING_AGENT_DIR": str(folder),
            "PI_OFFLINE": "1",
            "PI_TELEMETRY": "0",
        },
    }
    if way == "rpc-client":
        command = [str(pi.node.path), str(Path(__file__).with_name("rpc_client.mjs")), json.dumps(plan)]
    else:
        command = [sys.executable, "-m", "benchmarks.death.program", way, json.dumps(plan)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=_ROOT)
    assert program.stdout is not None
    if not select.select([program.stdout], [], [], _START_TIMEOUT)[0]:
        program.kill()
        raise SystemExit(f"{WAYS[way]} did not start a Pi within {_START_TIMEOUT:g} s")
    started = Started(program, int(program.stdout.readline()), token)
    while len(started.processes()) != 2:  # the shell says so just before it becomes the sleep
        time.sleep(0.01)
    return started


def survivors(way: str, pi: PiInstall, folder: Path, *, kill: str) -> int:
    """How many processes are left after a SIGKILL to the Pi, or to the program."""
    started = start(way, pi, folder)
    try:
        os.kill(started.pi if kill == "pi" else started.program.pid, signal.SIGKILL)
        time.sleep(_SETTLE)
        return len(started.processes())
    finally:
        started.program.kill()
        started.program.wait()
        for pid in started.processes():
            os.kill(pid, signal.SIGKILL)


def time_to_empty(pi: PiInstall, folder: Path) -> float:
    """Seconds from SIGKILL to the program until the Pi and its tool are dead."""
    started = start("keeper", pi, folder)
    poll = select.poll()
    pidfds = [os.pidfd_open(pid) for pid in started.processes()]
    assert len(pidfds) == 2
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    killed = time.perf_counter()
    started.program.kill()
    left = len(pidfds)
    while left:
        for pidfd, _ in poll.poll(10_000):
            poll.unregister(pidfd)
            left -= 1
    took = time.perf_counter() - killed
    for pidfd in pidfds:
        os.close(pidfd)
    started.program.wait()
    return took


def private_kib(pid: int) -> int:
    """The memory that a process shares with nobody."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))


async def spawn_seconds(host: ProcessHost, command: ProcessCommand) -> tuple[float, int]:
    """How long a spawn takes; and the private memory of what stands between us and the process."""
    began = time.perf_counter()
    tree = await host.spawn(command)
    took = time.perf_counter() - began
    info = read_process(tree.pid)
    keeper = 0 if info is None or info.ppid == os.getpid() else private_kib(info.ppid)
    tree.kill_tree()
    await tree.wait_empty()
    tree.close()
    return took, keeper


async def cost(rounds: int) -> tuple[float, float, float]:
    """Median spawn on the direct and on the keeper host, in ms, taken in turn; a keeper's private memory in MiB."""
    command = ProcessCommand(("sleep", "1000"), "/", dict(os.environ))
    direct, keeper, memory = [], [], []
    async with open_keeper_host() as host:
        for _ in range(rounds):
            direct.append((await spawn_seconds(DirectHost(), command))[0])
            took, kib = await spawn_seconds(host, command)
            keeper.append(took)
            memory.append(kib)
    return statistics.median(direct) * 1e3, statistics.median(keeper) * 1e3, statistics.median(memory) / 1024


async def polite_stop(pi: PiInstall, folder: Path, count: int) -> float:
    """Seconds that ``count`` ready Pis take to stop politely, side by side."""
    spec = InstanceSpec(
        pi=pi.path,
        cwd=folder,
        env={"PI_CODING_AGENT_DIR": str(folder), "PI_OFFLINE": "1", "PI_TELEMETRY": "0"},
        ephemeral=True,
        start_timeout=120.0,
        drain_timeout=10.0,
        health=None,
    )
    async with open_runtime(max_instances=count) as runtime:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(runtime.spawn, spec)
        began = trio.current_time()
    took = trio.current_time() - began
    assert all(instance.exit_status is not None and instance.exit_status.code == 0 for instance in runtime.list())
    return took


def bare_stop(pi: PiInstall, folder: Path, count: int) -> float:
    """The same without us: Popen, close stdin, wait. What is over one is Pi's own exit on these processors."""
    env = {**os.environ, "PI_CODING_AGENT_DIR": str(folder), "PI_OFFLINE": "1", "PI_TELEMETRY": "0"}
    command = [*pi.command, "--mode", "rpc", "--no-session"]
    processes = []
    for _ in range(count):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b'{"id":"1","type":"get_state"}\n')
        process.stdin.flush()
        process.stdout.readline()
        processes.append(process)
    began = time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    for process in processes:
        process.wait()
    return time.perf_counter() - began


async def deaf_stop(folder: Path, count: int) -> float:
    """Seconds that ``count`` processes take that have to be waited out: deaf to all but SIGKILL."""
    deaf = folder / "deaf"
    deaf.write_text(
        f"#!{sys.executable}\n"
        "import json, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "request = json.loads(sys.stdin.readline())\n"
        f"data = {_STATE!r}\n"
        "print(json.dumps({'type': 'response', 'id': request['id'], 'success': True, 'data': data}), flush=True)\n"
        "time.sleep(1000)\n"
    )
    deaf.chmod(0o755)
    spec = InstanceSpec(pi=deaf, cwd=folder, drain_timeout=0.5, grace_timeout=1.0, health=None, start_timeout=60.0)
    async with open_runtime(max_instances=count) as runtime:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(runtime.spawn, spec)
        began = trio.current_time()
    return trio.current_time() - began


_STATE = {
    "sessionId": "s",
    "thinkingLevel": "off",
    "isStreaming": False,
    "isCompacting": False,
    "steeringMode": "all",
    "followUpMode": "all",
    "autoCompactionEnabled": True,
    "messageCount": 0,
    "pendingMessageCount": 0,
}


async def probe_cost(pi: PiInstall, folder: Path, probes: int) -> float:
    """Seconds of a processor that one health probe takes, here and in Pi."""
    spec = InstanceSpec(
        pi=pi.path, cwd=folder, env={"PI_CODING_AGENT_DIR": str(folder), "PI_OFFLINE": "1"}, ephemeral=True, health=None
    )

    def pi_seconds(pid: int) -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async with open_runtime() as runtime:
        instance = await runtime.spawn(spec)
        assert instance.pid is not None
        await trio.sleep(1)  # Pi goes on loading for a while after it is ready
        before = pi_seconds(instance.pid) + time.process_time()
        for _ in range(probes):
            await instance.client.probe(timeout=10)
        return (pi_seconds(instance.pid) + time.process_time() - before) / probes


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.death", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="how often (%(default)s)")
    rounds = parser.parse_args().rounds
    pi = trio.run(find_pi)
    with tempfile.TemporaryDirectory(prefix="pi-trio-death-") as name:
        folder = Path(name)
        print(f"Pi {pi.version}\n\nprocesses left after SIGKILL, of 2      to the Pi   to the program")
        for way, title in WAYS.items():
            left = [survivors(way, pi, folder, kill=kill) for kill in ("pi", "program")]
            print(f"  {title:38} {left[0]:9}   {left[1]:14}", flush=True)
        times = sorted(time_to_empty(pi, folder) * 1e3 for _ in range(rounds))
        print(f"\nSIGKILL to the program until all is dead: median {statistics.median(times):.1f} ms", end="")
        print(f", worst {times[-1]:.1f} ms, of {rounds}", flush=True)
        direct, keeper, memory = trio.run(cost, 5 * rounds)
        print(f"spawn: direct host {direct:.1f} ms, keeper host {keeper:.1f} ms, {keeper - direct:.1f} ms more")
        print(f"a keeper's private memory: {memory:.2f} MiB", flush=True)
        one = statistics.median(trio.run(polite_stop, pi, folder, 1) for _ in range(5))
        many = trio.run(polite_stop, pi, folder, 30)
        print(
            f"polite stop: 1 takes {one * 1e3:.0f} ms, 30 take {many * 1e3:.0f} ms: {many / one:.2f} times", flush=True
        )
        bare_one = statistics.median(bare_stop(pi, folder, 1) for _ in range(5))
        bare_many = bare_stop(pi, folder, 30)
        print(f"  bare Popen: 1 takes {bare_one * 1e3:.0f} ms, 30 take {bare_many * 1e3:.0f} ms: ", end="")
        print(f"{bare_many / bare_one:.2f} times")
        deaf_one, deaf_many = (trio.run(deaf_stop, folder, count) for count in (1, 30))
        print(
            f"  deaf to SIGTERM: 1 takes {deaf_one:.2f} s, 30 take {deaf_many:.2f} s: {deaf_many / deaf_one:.2f} times"
        )
        probe = trio.run(probe_cost, pi, folder, 2000)
        print(f"a health probe: {probe * 1e6:.0f} us of a processor, {probe / 10:.5%} of one at the default period")
    return 0


if __name__ == "__main__":
    sys.exit(main())
