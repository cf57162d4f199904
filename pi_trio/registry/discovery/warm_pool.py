"""Instances that are ready before anybody asks for one."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import trio

from ...abc import Discovery, Found, Sightings
from ...errors import AcquireTimeout, InstanceNotFound, NoMatchingInstance
from ..capacity import is_usable
from .spare import Spare, look_at, renew

if TYPE_CHECKING:
    from ..leases import Lease
    from ..registry import Registry

__all__ = ["WarmPool"]


class WarmPool(Discovery):
    """Keeps ``size`` instances ready, so that nobody waits for a start. Made by ``runtime.warm_pool``.

    Each is handed out with a fresh session, and while it runs, is not unhealthy and its breaker is closed; one that is not
    well is ended, and another takes its place. One that comes back gets another and returns to the reserve, unless there is
    enough in it, or its model or another of its settings was changed: then it is ended. The instances cannot be had by
    criteria. A spawn that fails is a failure of this discovery, so its breaker decides when to try again; when it is
    ended, so are its instances.

    Args:
        registry: where the instances register themselves.
        spawn: starts one, and returns its id when it is ready.
        stop: ends the one with this id, and returns when nothing of it is left.
        size: how many to keep in reserve.
        max_instances: how many there may be in all, those that are handed out among them; ``size`` by default.
        name: the discovery's name.
    """

    def __init__(
        self,
        registry: Registry,
        spawn: Callable[[], Awaitable[str]],
        stop: Callable[[str], Awaitable[None]],
        *,
        size: int,
        max_instances: int | None = None,
        name: str = "warm-pool",
    ) -> None:
        self._size = size
        self._max_instances = size if max_instances is None else max_instances
        if size < 1 or self._max_instances < size:
            raise ValueError(f"size must be from 1 to max_instances, not {size} of {self._max_instances}")
        self._registry = registry
        self._spawn = spawn
        self._stop = stop
        self._name = name
        self._reserve: dict[str, Spare] = {}
        self._line = trio.StrictFIFOLock()  # whoever has it is the first of those who want one
        self._over = False
        self._at_work = False  # whether there is somebody else who cleans
        self._fresh: set[str] = set()  # those of which nobody knows yet what they are like
        self._out: dict[str, Spare] = {}
        self._returned: dict[str, Spare] = {}
        self._cleaning: dict[str, Spare] = {}
        self._ending: set[str] = set()
        self._starting = 0
        self._failures: list[Exception] = []
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"<WarmPool {len(self._reserve)} ready, {len(self._out)} out, {self._starting} starting>"

    @property
    def name(self) -> str:
        """As it was given."""
        return self._name

    @property
    def ready(self) -> int:
        """How many are in reserve now, and well."""
        return sum(map(self._is_well, self._reserve))

    async def wait_full(self) -> None:
        """Wait until the reserve is as large as it is meant to be. Raises :class:`trio.ClosedResourceError` behind its end."""
        await trio.lowlevel.checkpoint()
        while self.ready < self._size:
            await self._wait_change()

    async def _wait_change(self) -> None:
        if self._over:
            raise trio.ClosedResourceError(f"{self._name} is over")
        await self._changed.wait()

    # --- for whoever takes one -----------------------------------------------------------------------

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[Lease]:
        """An instance with a fresh session, for the body. Waits for one when the reserve is empty, first come first served.

        Raises:
            AcquireTimeout: there was none in time.
            LeaseLost: the instance was lost during the body.
            trio.ClosedResourceError: the pool is over.
        """
        deadline = math.inf if timeout is None else trio.current_time() + timeout
        async with AsyncExitStack() as body:
            if not await self._came_by(deadline, self._wait_turn):
                raise AcquireTimeout(timeout or 0.0, waiting=self._line.statistics().tasks_waiting)
            try:  # the first in the line stays that until it has one
                lease = None
                while lease is None:
                    if not await self._came_by(deadline, self._wait_well):
                        raise AcquireTimeout(timeout or 0.0, waiting=self._line.statistics().tasks_waiting)
                    lease = await self._lease_next(body)
            finally:
                self._line.release()
            yield lease

    async def _came_by(self, deadline: float, wait: Callable[[], Awaitable[None]]) -> bool:
        with trio.move_on_at(deadline):
            await wait()
            return True
        return False

    async def _wait_turn(self) -> None:
        if self._line.locked():
            await self._line.acquire()
        else:
            self._line.acquire_nowait()

    async def _wait_well(self) -> None:
        while self._over or not self.ready:
            if self._returned and not self._at_work:  # a spawn failed, and it is too early for another
                await self._clean(self._take_returned(next(iter(self._returned))))
            else:
                await self._wait_change()

    async def _lease_next(self, body: AsyncExitStack) -> Lease | None:
        """A lease of the first that is well, for the body; ``None``, if that is over in this very moment."""
        spare = self._reserve.pop(next(filter(self._is_well, self._reserve)))
        self._out[spare.instance_id] = spare
        body.callback(self._come_back, spare)
        try:
            return await body.enter_async_context(self._registry.lease(spare.instance_id, well=True))
        except (InstanceNotFound, NoMatchingInstance):
            await body.aclose()
            return None

    def _come_back(self, spare: Spare) -> None:
        del self._out[spare.instance_id]
        self._returned[spare.instance_id] = spare
        self._look_again()

    def _is_well(self, instance_id: str) -> bool:
        entry = self._registry.instances.get(instance_id)
        return entry is not None and is_usable(entry)

    # --- the task ------------------------------------------------------------------------------------

    async def run(self, sightings: Sightings) -> None:
        """Fill the reserve and keep it full, until cancelled, or until a spawn failed. Raises what the spawn raised."""
        self._failures.clear()
        self._at_work = True
        try:
            await self._work(sightings)
        finally:
            self._at_work = False
            self._look_again()  # whoever waits may have to clean one
        if self._failures:
            raise self._failures[0]

    async def _work(self, sightings: Sightings) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            for name in tuple(self._ending):  # what a failed spawn cancelled the last time
                nursery.start_soon(self._end, name)
            while not self._failures or self._starting:
                changed = self._changed
                self._tidy(nursery)
                self._refill(nursery, sightings)
                await changed.wait()
            nursery.cancel_scope.cancel()

    async def close(self) -> None:
        """End the instances, side by side, and the waiting for them. The supervisors' own deadlines bound it."""
        self._over = True
        self._look_again()
        async with trio.open_nursery() as nursery:
            for name in {*self._fresh, *self._reserve, *self._out, *self._returned, *self._cleaning, *self._ending}:
                nursery.start_soon(self._stop, name)

    async def _follow(self) -> None:
        while True:
            self._look_again()  # at first for what changed before this was waiting
            await self._registry.wait_change()

    def _look_again(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _tidy(self, nursery: trio.Nursery) -> None:
        """Take those that died or are not well out of the reserve, and clean those that came back."""
        for name in [name for name in self._reserve if not self._is_well(name)]:
            del self._reserve[name]
            self._ending.add(name)
            nursery.start_soon(self._end, name)
        for name in tuple(self._returned):
            nursery.start_soon(self._clean, self._take_returned(name))

    def _take_returned(self, name: str) -> Spare:
        spare = self._cleaning[name] = self._returned.pop(name)
        return spare

    def _refill(self, nursery: trio.Nursery, sightings: Sightings) -> None:
        coming = len(self._reserve) + len(self._cleaning) + self._starting
        missing = min(self._size - coming, self._max_instances - coming - len(self._out) - len(self._ending))
        if not self._failures:
            for _ in range(missing):
                self._starting += 1
                nursery.start_soon(self._start_one, sightings)

    async def _start_one(self, sightings: Sightings) -> None:
        try:
            name = await self._spawn()
            self._fresh.add(name)  # what cancellation leaves in there, is ended with the pool
            await self._take_in(name)
            if name in self._registry.instances:  # it has registered itself; this says that spawning works
                sightings.found(Found(name))
        except Exception as error:
            self._failures.append(error)
        finally:
            self._starting -= 1
            self._look_again()

    async def _take_in(self, name: str) -> None:
        """Put a new one into the reserve. One that does not say how it is, is ended."""
        try:
            spare = await look_at(self._registry, name)
        except Exception:
            self._fresh.discard(name)
            await self._end(name)
            raise
        self._fresh.discard(name)
        self._put(spare)

    async def _clean(self, spare: Spare) -> None:
        name = spare.instance_id
        try:
            enough = len(self._reserve) + len(self._cleaning) + self._starting > self._size
            clean = not enough and self._is_well(name) and await renew(self._registry, spare) and self._is_well(name)
        except trio.Cancelled:
            self._returned[name] = self._cleaning.pop(name)
            raise
        del self._cleaning[name]
        if clean:
            self._put(spare)
        else:
            await self._end(name)

    async def _end(self, name: str) -> None:
        """End one. What cancellation leaves undone of it is done by the next :meth:`run`, or with the pool."""
        self._ending.add(name)
        await self._stop(name)
        self._ending.discard(name)
        self._look_again()  # there is a place for another

    def _put(self, spare: Spare) -> None:
        self._reserve[spare.instance_id] = spare
        self._look_again()
