"""Instances that are found by starting them: as many as there is work for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import trio

from ...abc import Discovery, Found, Sightings
from ...lifecycle import TERMINAL, Grow, Keep, Retired, ScalingPolicy, Shrink, Staff, decide_scaling
from ..capacity import is_usable
from ..table import Entry

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["AutoSpawn"]


class AutoSpawn(Discovery):
    """Keeps between ``min_instances`` and ``max_instances``: spawns when there is too little room, shrinks after a while.

    Made by ``runtime.auto_spawn``. A spawn that fails is a failure of this discovery, so its breaker decides when to try
    again. When it is ended, so are its instances. Those who wait for a lease count when one of these would do; before there
    was one, whoever waits.

    Args:
        registry: where the instances register themselves.
        spawn: starts one, and returns its id when it is ready.
        stop: ends the one with this id, and returns when nothing of it is left.
        policy: how many.
        room_of_each: how many leases one has room for.
        name: the discovery's name.
    """

    def __init__(
        self,
        registry: Registry,
        spawn: Callable[[], Awaitable[str]],
        stop: Callable[[str], Awaitable[None]],
        *,
        policy: ScalingPolicy,
        room_of_each: int = 1,
        name: str = "auto-spawn",
    ) -> None:
        self._registry = registry
        self._spawn = spawn
        self._stop = stop
        self._policy = policy
        self._room_of_each = room_of_each
        self._name = name
        self._idle_since: dict[str, float | None] = {}  # of each of ours
        self._stopping: set[str] = set()
        self._alike: list[Entry] = []  # ours, or the last of them: another would be as they were
        self._starting = 0
        self._failures: list[Exception] = []
        self._changed = trio.Event()

    @property
    def name(self) -> str:
        """As it was given."""
        return self._name

    async def run(self, sightings: Sightings) -> None:
        """Spawn and stop, until cancelled, or until a spawn failed. Raises what the spawn raised."""
        self._failures.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            for name in tuple(self._stopping):  # what a failed spawn cancelled the last time
                nursery.start_soon(self._stop_one, name)
            while not self._failures or self._starting:
                await self._decide_once(nursery, sightings)
            nursery.cancel_scope.cancel()
        if self._failures:
            raise self._failures[0]

    async def close(self) -> None:
        """End the instances, side by side. The supervisors' own deadlines bound it."""
        async with trio.open_nursery() as nursery:
            for name in self._idle_since:
                nursery.start_soon(self._stop, name)

    async def _follow(self) -> None:
        while True:
            self._look_again()  # at first for what changed before this was waiting
            await self._registry.wait_change()

    def _look_again(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _decide_once(self, nursery: trio.Nursery, sightings: Sightings) -> None:
        decision = decide_scaling(
            self._policy,
            self._staff(self._registry.instances),
            starting=self._starting,
            stopping=len(self._stopping),
            room_of_each=self._room_of_each,
            waiting=self._waiting(),
            now=trio.current_time(),
        )
        changed = self._changed
        if isinstance(decision, Grow) and not self._failures:
            for _ in range(decision.count):
                self._starting += 1
                nursery.start_soon(self._start_one, sightings)
        elif isinstance(decision, Shrink):
            # In the breath of the decision: it has no lease, and until its supervisor says that it stops it would get one.
            self._stopping.add(decision.instance_id)
            why = f"{self._name} has more than it needs"
            self._registry.enter(Retired(decision.instance_id, trio.current_time(), why))
            nursery.start_soon(self._stop_one, decision.instance_id)
        else:
            with trio.move_on_at(decision.until if isinstance(decision, Keep) else float("inf")):
                await changed.wait()

    def _waiting(self) -> int:
        ours = [entry for name in self._idle_since if (entry := self._registry.instances.get(name)) is not None]
        self._alike = ours or self._alike
        return self._registry.count_waiting_for(self._alike) if self._alike else self._registry.waiting

    def _staff(self, table: Mapping[str, Entry]) -> list[Staff]:
        staff = []
        for name in tuple(self._idle_since):
            entry = table.get(name)
            if entry is None or entry.state in TERMINAL:
                del self._idle_since[name]
                self._stopping.discard(name)
                continue
            if entry.in_use:
                self._idle_since[name] = None
            elif self._idle_since[name] is None:
                self._idle_since[name] = trio.current_time()
            if name not in self._stopping:
                staff.append(Staff(name, entry.free if is_usable(entry) else 0, self._idle_since[name]))
        return staff

    async def _start_one(self, sightings: Sightings) -> None:
        try:
            name = await self._spawn()
        except Exception as error:
            self._failures.append(error)
        else:
            self._idle_since[name] = trio.current_time()
            if name in self._registry.instances:  # it has registered itself; this says that spawning works
                sightings.found(Found(name))
        finally:
            self._starting -= 1
            self._look_again()

    async def _stop_one(self, name: str) -> None:
        await self._stop(name)
        self._look_again()
