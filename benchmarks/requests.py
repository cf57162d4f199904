"""Requests: how long one takes, and how many go through when many are under way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import perf_counter

import trio

from pi_trio import Instance

from .comparison import Bar, Comparison, Measure, compare, in_turn, percentile
from .pi import open_both, open_spec

__all__ = ["IN_FLIGHT", "ROUND_TRIP"]

_ROUND_TRIP_BAR = Bar(1.25)
_IN_FLIGHT_BAR = Bar(0.9, at_least=True)

_IN_FLIGHT = 32

# V8 compiles what has run some thousand times: a young Pi answers three times slower than a warm one.
_WARM_UP = 3000


def _request(instance: Instance, *, typed: bool) -> Callable[[], Awaitable[object]]:
    """One request. Like the baseline's it ends with the decoded response, or ``typed``, with a ``State``."""
    client = instance.client
    return client.get_state if typed else partial(client.request, "get_state")


async def _round_trips(
    quick: bool, *, apart: bool = True, typed: bool = False
) -> tuple[Sequence[list[float]], Sequence[list[float]]]:
    """Blocks of round trips in microseconds, ours and the baseline's."""
    block = 200
    mine: list[list[float]] = []
    theirs: list[list[float]] = []
    with open_spec() as spec:
        async with open_both(spec, apart=apart) as (instance, bare):
            request = _request(instance, typed=typed)

            async def ours() -> float:
                took = []
                for _ in range(block):
                    began = perf_counter()
                    await request()
                    took.append((perf_counter() - began) * 1e6)
                mine.append(took)
                return sum(took)

            def baseline() -> float:
                took = []
                for _ in range(block):
                    began = perf_counter()
                    bare.get_state()
                    took.append((perf_counter() - began) * 1e6)
                theirs.append(took)
                return sum(took)

            warm_up, rounds = _WARM_UP // block, 10 if quick else 50
            await in_turn(warm_up + rounds, ours, baseline)
    return mine[-rounds:], theirs[-rounds:]


async def _round_trip(quick: bool) -> list[Comparison]:
    mine, theirs = await _round_trips(quick)
    mine_typed, theirs_typed = await _round_trips(quick, typed=True)
    mine_on_one, theirs_on_one = await _round_trips(quick, apart=False)
    return [
        compare("get_state round trip, p50", "us", _at(50, mine), _at(50, theirs), _ROUND_TRIP_BAR),
        compare("get_state round trip, p99", "us", _at(99, mine), _at(99, theirs)),
        compare("get_state round trip, typed, p50", "us", _at(50, mine_typed), _at(50, theirs_typed)),
        compare("get_state round trip on one CPU, p50", "us", _at(50, mine_on_one), _at(50, theirs_on_one)),
    ]


def _at(percent: float, blocks: Sequence[list[float]]) -> list[float]:
    return [percentile(block, percent) for block in blocks]


async def _in_flight(quick: bool) -> list[Comparison]:
    name = f"{_IN_FLIGHT} requests in flight"
    return [
        await _many(quick, name, _IN_FLIGHT_BAR, typed=False),
        await _many(quick, f"{name}, typed", None, typed=True),
    ]


async def _many(quick: bool, name: str, bar: Bar | None, *, typed: bool) -> Comparison:
    repeats = 20
    requests = repeats * _IN_FLIGHT
    with open_spec() as spec:
        async with open_both(spec) as (instance, bare):
            request = _request(instance, typed=typed)

            async def ask() -> None:
                for _ in range(repeats):
                    await request()

            async def ours() -> float:
                began = perf_counter()
                async with trio.open_nursery() as nursery:
                    for _ in range(_IN_FLIGHT):
                        nursery.start_soon(ask)
                return requests / (perf_counter() - began)

            def baseline() -> float:
                began = perf_counter()
                for _ in range(repeats):
                    bare.get_states(_IN_FLIGHT)
                return requests / (perf_counter() - began)

            await in_turn(_WARM_UP // requests, ours, baseline)
            mine, theirs = await in_turn(10 if quick else 40, ours, baseline)
    return compare(name, "requests/s", mine, theirs, bar)


ROUND_TRIP = Measure("round-trip", _round_trip)
IN_FLIGHT = Measure("in-flight", _in_flight)
