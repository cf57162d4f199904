"""Endpoints against the pipe: the same Pi, the same records, once through the client and once through the door beside it."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from time import perf_counter, process_time

import trio

from pi_trio import Instance, Runtime, Scope, WhenFull, open_runtime

from . import endpoint_client, endpoint_peer
from .comparison import Bar, Comparison, Measure, compare
from .flood import open_flood
from .pi import open_spec

__all__ = ["ENDPOINT"]

_ROUND_TRIP_BAR = Bar(3.0)
_BATCH_BAR = Bar(0.5, at_least=True)
# Not a ratio to the pipe: a rate, in records a second, against this one.
_SINGLE_RATE = 15_000.0
_SINGLE_BAR = Bar(1.0, at_least=True)
_EIGHT_BAR = Bar(8.0)

# V8 compiles what has run some thousand times.
_WARM_UP = 3000

_FLOODS = (
    ("client", "one client of ours", _BATCH_BAR),
    ("batch", "one peer, batch", _BATCH_BAR),
    ("single", "one peer, single", None),
)


class _Peer:
    """A child process that is a peer."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout

    async def line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            data = await self._stdout.receive_some(4096)
            if not data:
                raise RuntimeError("a peer ended: see what it complained about")
            line += bytes(data)
        return line

    async def go(self) -> None:
        await self._stdin.send_all(b"go\n")

    async def took(self) -> float:
        return float(json.loads(await self.line()))


@asynccontextmanager
async def _open_peer(runtime: Runtime, instance: Instance, mode: str, count: int) -> AsyncIterator[_Peer]:
    assert instance.endpoint is not None
    token = runtime.endpoints.issue_token(Scope.CONTROL)
    if mode == "client":
        script = [str(Path(endpoint_client.__file__))]
    else:
        script = ["-I", str(Path(endpoint_peer.__file__)), mode]
    command = [sys.executable, *script, instance.endpoint.url, token, str(count)]
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            lambda task_status: trio.run_process(
                command, stdin=PIPE, capture_stdout=False, stdout=PIPE, check=False, task_status=task_status
            )
        )
        try:
            peer = _Peer(process)
            assert (await peer.line()) == b"ready\n"
            yield peer
        finally:
            nursery.cancel_scope.cancel()


async def _in_turn(
    rounds: int, ours: Callable[[], Awaitable[float]], baseline: Callable[[], Awaitable[float]]
) -> tuple[list[float], list[float]]:
    await ours()
    await baseline()
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        mine.append(await ours())
        theirs.append(await baseline())
    return mine, theirs


async def _round_trips(quick: bool, mode: str) -> tuple[list[float], list[float]]:
    block = 300
    with open_spec() as spec:
        async with open_runtime() as runtime:
            instance = await runtime.spawn(spec, endpoint=True)
            async with _open_peer(runtime, instance, mode, block) as peer:

                async def ours() -> float:
                    await peer.go()
                    return await peer.took() / block * 1e6

                async def pipe() -> float:
                    began = perf_counter()
                    for _ in range(block):
                        await instance.client.request("get_state")
                    return (perf_counter() - began) / block * 1e6

                for _ in range(_WARM_UP // block):
                    await pipe()
                    await ours()
                return await _in_turn(10 if quick else 20, ours, pipe)


async def _round_trip(quick: bool) -> list[Comparison]:
    name = "get_state over the endpoint"
    return [
        compare(f"{name}, to the pipe", "us", *await _round_trips(quick, "requests"), _ROUND_TRIP_BAR),
        compare(f"{name}, for a peer with json", "us", *await _round_trips(quick, "requests-json")),
    ]


async def _flood_pipe(instance: Instance, count: int) -> float:
    began = perf_counter()
    left = count
    with instance.client.subscribe(when_full=WhenFull.WAIT) as events:
        await instance.client.prompt("go")
        async for _ in events.text():
            left -= 1
            if not left:
                break
    return count / (perf_counter() - began)


async def _flood_peers(instance: Instance, peers: Sequence[_Peer], count: int) -> tuple[float, float]:
    """Records a second that reached every peer, and the seconds of processor time that took this process."""
    for peer in peers:
        await peer.go()
    began, spent = perf_counter(), process_time()
    await instance.client.prompt("go")
    for peer in peers:
        await peer.took()
    return count / (perf_counter() - began), process_time() - spent


async def _flood_once(runtime: Runtime, instance: Instance, mode: str, peers: int, count: int) -> tuple[float, float]:
    """With peers that are there for this flood only: one that does not read the next would be dropped."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(_open_peer(runtime, instance, mode, count)) for _ in range(peers)]
        return await _flood_peers(instance, opened, count)


async def _floods(quick: bool) -> list[Comparison]:
    count = 20_000 if quick else 100_000
    rounds = 3 if quick else 7
    made: list[Comparison] = []
    with open_flood(count) as (spec, _):
        async with open_runtime() as runtime:
            instance = await runtime.spawn(spec, endpoint=True)

            async def pipe() -> float:
                return await _flood_pipe(instance, count)

            for mode, who, bar in _FLOODS:

                async def ours(mode: str = mode) -> float:
                    return (await _flood_once(runtime, instance, mode, 1, count))[0]

                mine, theirs = await _in_turn(rounds, ours, pipe)
                made.append(compare(f"flood to {who}, to the pipe", "records/s", mine, theirs, bar))
            bars = [_SINGLE_RATE] * len(mine)
            made.append(compare("flood to one peer, single, to the bar", "records/s", mine, bars, _SINGLE_BAR))

            async def spent(peers: int) -> float:
                return (await _flood_once(runtime, instance, "single", peers, count))[1]

            many, one = await _in_turn(rounds, lambda: spent(8), lambda: spent(1))
    made.append(compare("processor time for eight peers, to one", "s", many, one, _EIGHT_BAR))
    return made


async def _measure(quick: bool) -> list[Comparison]:
    return [*await _round_trip(quick), *await _floods(quick)]


ENDPOINT = Measure("endpoint", _measure)
