"""Requests: how long one takes, and how many go through when many are under way."""

from __future__ import annotations

from time import perf_counter

import trio

from .comparison import Bar, Comparison, Measure, compare, in_turn, percentile
from .pi import both, open_spec

__all__ = ["IN_FLIGHT", "ROUND_TRIP"]

_ROUND_TRIP_BAR = Bar(1.4)
_IN_FLIGHT_BAR = Bar(0.7, at_least=True)

_IN_FLIGHT = 32

# V8 compiles what has run some thousand times: a young Pi answers three times slower than a warm one.
_WARM_UP = 3000


async def _round_trip(quick: bool) -> list[Comparison]:
    block = 200
    mine_all: list[list[float]] = []
    theirs_all: list[list[float]] = []
    with open_spec() as spec:
        async with both(spec) as (_, instance, _, bare):
            client = instance.client

            async def ours() -> float:
                took = []
                for _ in range(block):
                    began = perf_counter()
                    await client.get_state()
                    took.append((perf_counter() - began) * 1e6)
                mine_all.append(took)
                return percentile(took, 50)

            def baseline() -> float:
                took = []
                for _ in range(block):
                    began = perf_counter()
                    bare.get_state()
                    took.append((perf_counter() - began) * 1e6)
                theirs_all.append(took)
                return percentile(took, 50)

            await in_turn(_WARM_UP // block, ours, baseline)
            mine_all.clear()
            theirs_all.clear()
            mine, theirs = await in_turn(10 if quick else 50, ours, baseline)
    tails, their_tails = ([percentile(took, 99) for took in blocks] for blocks in (mine_all, theirs_all))
    return [
        compare("get_state round trip, p50", "us", mine, theirs, _ROUND_TRIP_BAR),
        compare("get_state round trip, p99", "us", tails, their_tails),
    ]


async def _in_flight(quick: bool) -> list[Comparison]:
    repeats = 20
    requests = repeats * _IN_FLIGHT
    with open_spec() as spec:
        async with both(spec) as (_, instance, _, bare):
            client = instance.client

            async def ask() -> None:
                for _ in range(repeats):
                    await client.get_state()

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
    return [compare(f"{_IN_FLIGHT} requests in flight", "requests/s", mine, theirs, _IN_FLIGHT_BAR)]


ROUND_TRIP = Measure("round-trip", _round_trip)
IN_FLIGHT = Measure("in-flight", _in_flight)
