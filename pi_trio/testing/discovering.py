"""Takes the steps of a plan that have to do with members somewhere else: discoveries, and prompts that anybody may have."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import trio

from ..abc import Discovery, Found, Mode, Profile, Sightings
from ..client import PiClient
from ..lifecycle import HealthPolicy
from ..registry import Registry, Watch
from ..supervisor import Instance
from .plans import RunSomewhere, Tell
from .trace import DiscoveryBegun, DiscoveryEnded, DiscoveryTold, Record

__all__ = ["FAR", "FAR_URL", "FOUND", "WATCH", "Discovering"]

FOUND = "discovery "
"""How the names of a plan's discoveries begin."""

FAR, FAR_URL = "far ", "ws://far/"
"""How the names of the members begin that they find, and their URLs."""

WATCH = Watch(
    health=HealthPolicy(period=1.0, timeout=0.3, slow_after=0.15, misses=2, action="report"), remove_after=2.5
)
"""How members are watched that are not supervised in the plan's runtime."""

OpenMember = Callable[[Instance], AbstractAsyncContextManager[PiClient]]


class _Failed(Exception):
    """What a simulated discovery fails with."""


class _SimDiscovery(Discovery):
    """Tells what it is told to tell. Runs again from what is there then."""

    def __init__(self, name: str, record: Record, open_member: OpenMember) -> None:
        self._name = name
        self._record = record
        self._open_member = open_member
        self._there: dict[str, tuple[Found, Instance]] = {}
        self._sightings: Sightings | None = None
        self._failing = trio.Event()
        self.leave = trio.Event()

    @property
    def name(self) -> str:
        return self._name

    def opener(self, found: Found) -> Callable[[], AbstractAsyncContextManager[PiClient]]:
        return partial(self._open_member, self._there[found.instance_id][1])

    async def run(self, sightings: Sightings) -> None:
        self._failing = trio.Event()
        self._sightings = sightings
        try:
            self.tell("snapshot", ())
            await self._failing.wait()
        finally:
            self._sightings = None
        raise _Failed("it was to fail")

    def fail(self) -> None:
        self._failing.set()

    def know(self, found: Found, instance: Instance) -> None:
        self._there[found.instance_id] = found, instance

    def forget_others(self, names: set[str]) -> None:
        self._there = {name: each for name, each in self._there.items() if name in names}

    def tell(self, how: str, names: tuple[str, ...]) -> None:
        """Tell what is new; while it does not run, it is told when it does."""
        if self._sightings is None:
            return
        there = tuple(found for found, _ in self._there.values())
        self._record(DiscoveryTold(trio.current_time(), self._name, there))
        if how == "snapshot":
            self._sightings.snapshot(there)
        for name in names if how != "snapshot" else ():
            if how == "found":
                self._sightings.found(self._there[name][0])
            else:
                self._sightings.lost(name, "it is gone")


class Discovering:
    """Runs discoveries in one runtime's registry, and takes down what they tell."""

    def __init__(self, registry: Registry, note: Record, open_member: OpenMember) -> None:
        self._registry = registry
        self._note = note
        self._open_member = open_member
        self._discoveries: list[_SimDiscovery] = []

    async def discover(self, begin: Callable[[_SimDiscovery], None]) -> None:
        """Run another discovery, until :meth:`leave`. ``begin`` is told of it before."""
        discovery = _SimDiscovery(f"{FOUND}{len(self._discoveries) + 1}", self._note, self._open_member)
        self._discoveries.append(discovery)
        begin(discovery)
        self._note(DiscoveryBegun(trio.current_time(), discovery.name))
        try:
            async with self._registry.discover(discovery):
                await discovery.leave.wait()
        finally:
            self._note(DiscoveryEnded(trio.current_time(), discovery.name))

    def tell(self, step: Tell, instances: list[Instance]) -> None:
        """Let one tell of these."""
        if self._discoveries:
            tell(self._discoveries[step.discovery % len(self._discoveries)], step, instances)

    def fail(self, number: int) -> None:
        """Let one fail."""
        if self._discoveries:
            self._discoveries[number % len(self._discoveries)].fail()

    def leave(self, number: int | None = None) -> None:
        """Leave the scope of one, or of all."""
        if self._discoveries:
            some = self._discoveries if number is None else [self._discoveries[number % len(self._discoveries)]]
            for discovery in some:
                discovery.leave.set()

    async def run(self, step: RunSomewhere, prompt: str) -> str:
        """Have a prompt run by anybody; return the reply's text."""
        reply = await self._registry.run(
            prompt,
            step.criteria,
            step.strategy,
            timeout=step.timeout,
            acquire_timeout=step.acquire_timeout,
            attempts=step.attempts,
        )
        return reply.text


def tell(discovery: _SimDiscovery, step: Tell, instances: list[Instance]) -> None:
    """Let a discovery know of these, or of these no more, and tell it."""
    names = tuple(f"{FAR}{instance.id}" for instance in instances)
    if step.how == "lost":
        discovery.forget_others({*discovery._there} - {*names})
    else:
        if step.how == "snapshot":
            discovery.forget_others(set(names))
        for name, instance in zip(names, instances, strict=True):
            profile = Profile(
                mode=Mode.REMOTE, url=f"{FAR_URL}{instance.id}", region=step.region, max_concurrent=step.room
            )
            discovery.know(Found(name, step.provider, None, profile), instance)
    discovery.tell(step.how, tuple(dict.fromkeys(names)))
