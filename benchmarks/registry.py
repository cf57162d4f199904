"""The registry: events folded and fanned out, selecting among many, leases, and what a warm pool saves."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter

import trio
import trio.testing

from pi_trio import open_runtime
from pi_trio.abc import Profile
from pi_trio.errors import NoMatchingInstance
from pi_trio.lifecycle import Health, HealthChanged, InstanceState, Registered, RegistryEvent, StateChanged
from pi_trio.registry import (
    CapabilityMatch,
    Criteria,
    LeastLoaded,
    Numbered,
    PowerOfTwoChoices,
    Random,
    Registry,
    RoundRobin,
    Sticky,
    Strategy,
)
from pi_trio.registry.selection import Index

from .comparison import Bar, Comparison, Measure, compare, in_turn
from .pi import open_spec

__all__ = ["REGISTRY"]

_EVENTS_PER_SECOND = 100_000
_SUBSCRIBERS = 8
_INSTANCES = 10_000
_SELECT_US = 200.0
_LEASE_US = 60.0
_WARM_US = 1000.0

_CRITERIA = Criteria(provider="p1", region="eu", exclude=frozenset(("pi-1",)))


def _against(measure: str, unit: str, samples: list[float], asked: float, *, at_least: bool = False) -> Comparison:
    """A line whose baseline is what is asked for."""
    ours = statistics.median(samples)
    ratios = tuple(each / asked for each in samples)
    return Comparison(measure, unit, ours, asked, statistics.median(ratios), Bar(1.0, at_least=at_least), ratios)


# --- events --------------------------------------------------------------------------------------------


def _health_events(count: int) -> list[RegistryEvent]:
    return [
        HealthChanged(f"pi-{number % 100}", float(number), 1, (Health.HEALTHY, Health.DEGRADED)[number // 100 % 2], 0.1)
        for number in range(count)
    ]


async def _through_registry(events: list[RegistryEvent], *, criteria_in_use: int = 0) -> float:
    """Events a second, from the first send to the moment the last of eight subscribers has read the last."""
    registry = Registry()
    for number in range(criteria_in_use):
        with suppress(NoMatchingInstance):
            registry.select(Criteria(exclude=("nobody",), health=Health, min_free=number + 1))
    sender = registry.sender()
    last = 200 + len(events)

    async def read(task_status: trio.TaskStatus[None]) -> None:
        with registry.subscribe(capacity=len(events) + 300) as feed:
            task_status.started()
            async for item in feed:
                if isinstance(item, Numbered) and item.seq == last:
                    return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.serve)
        for number in range(100):
            sender.send_nowait(Registered(f"pi-{number}", 0.0, profile=Profile(max_concurrent=4)))
            sender.send_nowait(StateChanged(f"pi-{number}", 0.0, state=InstanceState.RUNNING, incarnation=1))
        await registry.catch_up()
        async with trio.open_nursery() as readers:
            for _ in range(_SUBSCRIBERS):
                await readers.start(read)
            began = perf_counter()
            for start in range(0, len(events), 500):  # as they come: not all at once
                for event in events[start : start + 500]:
                    sender.send_nowait(event)
                await trio.lowlevel.checkpoint()
        took = perf_counter() - began
        sender.close()
        registry.close()
    return len(events) / took


async def _through_channels(events: list[RegistryEvent]) -> float:
    """The same with nothing but a memory channel for each reader: no table, no numbers, no bound."""

    async def read(channel: trio.MemoryReceiveChannel[RegistryEvent]) -> None:
        async for _ in channel:
            pass

    async with trio.open_nursery() as nursery:
        sends = []
        for _ in range(_SUBSCRIBERS):
            send, receive = trio.open_memory_channel[RegistryEvent](len(events))
            sends.append(send)
            nursery.start_soon(read, receive)
        await trio.testing.wait_all_tasks_blocked()
        began = perf_counter()
        for start in range(0, len(events), 500):
            for event in events[start : start + 500]:
                for send in sends:
                    send.send_nowait(event)
            await trio.lowlevel.checkpoint()
        for send in sends:
            send.close()
    return len(events) / (perf_counter() - began)


async def _fan_out(quick: bool) -> list[Comparison]:
    events = _health_events(5_000 if quick else 50_000)
    ours: list[float] = []
    selecting: list[float] = []
    channels: list[float] = []
    for _ in range(3 if quick else 9):
        ours.append(await _through_registry(events))
        selecting.append(await _through_registry(events, criteria_in_use=4))
        channels.append(await _through_channels(events))
    name = f"events folded and fanned out to {_SUBSCRIBERS}"
    return [
        _against(f"{name}, of those asked for", "events/s", ours, _EVENTS_PER_SECOND, at_least=True),
        compare(f"{name}, of plain memory channels", "events/s", ours, channels),
        compare("the same with 4 criteria in use", "events/s", selecting, channels),
    ]


# --- selecting -----------------------------------------------------------------------------------------


def _full_registry(*, room: int = 4) -> Registry:
    registry = Registry()
    for number in range(_INSTANCES):
        profile = Profile(
            capabilities=frozenset(f"c{each}" for each in range(number % 5)),
            region=("eu", "us")[number % 2],
            tags=frozenset(("t",)) if number % 3 else frozenset(),
            max_concurrent=room,
        )
        name = f"pi-{number}"
        registry.enter(
            Registered(name, 0.0, provider=f"p{number % 3}", model="m", profile=profile),
            StateChanged(name, 0.0, state=InstanceState.RUNNING, incarnation=1),
        )
    return registry


def _scan(registry: Registry) -> str:
    """What a plain dict would be asked for each selection: everybody, one by one."""
    matching = [
        entry
        for name, entry in registry.instances.items()
        if _CRITERIA.matches(entry) and name not in _CRITERIA.exclude
    ]
    return min(matching, key=lambda entry: entry.load).instance_id


async def _select(quick: bool) -> list[Comparison]:
    registry = _full_registry()
    keys = iter(range(10**9))
    strategies: dict[str, Callable[[], Strategy]] = {
        "least-loaded": LeastLoaded,
        "round-robin": RoundRobin,
        "random": lambda: Random(1),
        "capability-match": lambda: CapabilityMatch(["c1", "c3"]),
        "power of two choices": lambda: PowerOfTwoChoices(1),
        "sticky, a new key each time": lambda: Sticky(f"key {next(keys)}"),
    }
    comparisons = []
    for name, make in strategies.items():

        async def ours(make: Callable[[], Strategy] = make) -> float:
            # One instance changes between two selections, as it would: by the lease that was selected for.
            took = 0.0
            for _ in range(100):
                strategy = make()
                began = perf_counter()
                selection = registry.select(_CRITERIA, strategy)
                took += perf_counter() - began
                async with registry.lease(selection.instance_id):
                    pass
            return took / 100 * 1e6

        def baseline() -> float:
            began = perf_counter()
            _scan(registry)
            return (perf_counter() - began) * 1e6

        mine, theirs = await in_turn(3 if quick else 15, ours, baseline)
        comparisons += [
            _against(f"select of {_INSTANCES:,}: {name}", "us", mine, _SELECT_US),
            compare(f"select of {_INSTANCES:,}: {name}, of a scan", "us", mine, theirs),
        ]
    return [*comparisons, _first_selection(registry)]


def _first_selection(registry: Registry) -> Comparison:
    """The first with criteria that are not in use looks at everybody, like a scan."""
    samples = []
    for number in range(20):
        criteria = Criteria(
            tags=("t",), health=list(Health), min_free=1 + number % 4, region=("eu", "us")[number // 4 % 2]
        )
        index = Index(registry.instances)
        began = perf_counter()
        index.select(criteria, LeastLoaded(), alternatives=3)
        samples.append((perf_counter() - began) * 1e6)
    return Comparison(f"select of {_INSTANCES:,}: the first with its criteria", "us", statistics.median(samples), None)


# --- leases ----------------------------------------------------------------------------------------------


async def _lease(quick: bool) -> list[Comparison]:
    registry = _full_registry()
    samples = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.serve)
        for _ in range(5 if quick else 30):
            began = perf_counter()
            for _ in range(500):
                async with registry.acquire(_CRITERIA):
                    pass
            samples.append((perf_counter() - began) / 500 * 1e6)
        registry.close()
    return [_against("acquire and release", "us", samples[1:], _LEASE_US)]


async def _warm(quick: bool) -> list[Comparison]:
    """How long until somebody has an instance: from the reserve, against a start."""
    samples: list[float] = []
    with open_spec() as spec:
        async with open_runtime() as runtime:
            began = perf_counter()
            await runtime.spawn(spec)
            cold = (perf_counter() - began) * 1e6
            async with runtime.warm_pool(spec, size=2) as pool:
                for _ in range(10 if quick else 50):
                    await pool.wait_full()
                    began = perf_counter()
                    async with pool.acquire():
                        samples.append((perf_counter() - began) * 1e6)
    ratio = statistics.median(samples) / cold
    return [
        _against("warm acquire", "us", samples, _WARM_US),
        Comparison("warm acquire, of a spawn", "us", statistics.median(samples), cold, ratio),
    ]


async def _measure(quick: bool) -> list[Comparison]:
    return [*await _fan_out(quick), *await _select(quick), *await _lease(quick), *await _warm(quick)]


REGISTRY = Measure("registry", _measure)
