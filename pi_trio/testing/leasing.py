"""Takes the steps of a plan that have to do with the registry: leases, breakers, members that are let go."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, suppress

import trio

from ..errors import ConnectionClosed, InstanceNotFound
from ..registry import Lease, Registry
from .outcomes import BodyRaised, how_it_ended
from .plans import Acquire, Report
from .taps import LeaseNames
from .trace import BreakerTold, LeaseEnded, LeaseLeft, Record

__all__ = ["Leasing"]


class Leasing:
    """Takes leases in one runtime's registry, and takes down what becomes of them."""

    def __init__(self, registry: Registry, note: Record, names: LeaseNames) -> None:
        self._registry = registry
        self._note = note
        self._names = names

    async def hold(self, step: Acquire, instance: str | None) -> str:
        """Take a lease, of this very instance if one is given; hold it; give it back. Returns which it was."""
        held: Lease | None = None
        outcome = "ok"
        try:
            async with self._wanted(step, instance) as held:
                self._names.driven.add(held)
                await self._body(step, held)
        except BaseException as error:
            outcome = how_it_ended(error)
            raise
        finally:
            if held is not None:
                self._note(LeaseEnded(trio.current_time(), self._names[held], held.instance_id, outcome))
        return held.instance_id

    def _wanted(self, step: Acquire, instance: str | None) -> AbstractAsyncContextManager[Lease]:
        if instance is not None:
            return self._registry.lease(instance)
        return self._registry.acquire(step.criteria, step.strategy, timeout=step.timeout)

    async def _body(self, step: Acquire, lease: Lease) -> None:
        how = "returned"
        try:
            await self._use(step, lease)
        except BaseException as error:
            how = how_it_ended(error)
            raise
        finally:
            blamed = step.use == "blame"
            self._note(LeaseLeft(trio.current_time(), self._names[lease], lease.instance_id, how, blamed))

    async def _use(self, step: Acquire, lease: Lease) -> None:
        if step.use == "blame":
            lease.blame()
        if step.use == "prompt":
            async with lease.open_client() as client:
                await client.send("Say it, in a lease", check=False)
            return
        await trio.sleep(step.seconds)
        if step.use == "raise":
            raise BodyRaised
        if step.use == "break":
            raise ConnectionClosed("broken in the body of a lease")

    def report(self, step: Report, instance: str) -> None:
        """Tell an instance's breaker how it did."""
        self._note(BreakerTold(trio.current_time(), instance, step.worked))
        if step.worked:
            self._registry.report_success(instance)
        else:
            self._registry.report_failure(instance)

    def unregister(self, instance: str) -> None:
        """Let an instance be a member no more, if it is one."""
        with suppress(InstanceNotFound):
            self._registry.unregister(instance, "let go")
