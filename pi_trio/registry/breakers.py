"""The breakers of the instances: told what went well and what did not, they say who is left alone for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from ..errors import InstanceNotFound
from ..lifecycle import (
    Breaker,
    BreakerChanged,
    BreakerPolicy,
    BreakerState,
    after_abandoned,
    after_failure,
    after_success,
    try_again,
)

if TYPE_CHECKING:
    from .registry import Registry

__all__ = ["Breakers"]


class Breakers:
    """One for each instance, kept in its entry. An open one sends a probe by itself when its time is up."""

    def __init__(
        self, registry: Registry, policy: BreakerPolicy, start_soon: Callable[[Callable[[], Awaitable[None]]], None]
    ) -> None:
        self._registry = registry
        self._policy = policy
        self._start_soon = start_soon

    def succeeded(self, instance_id: str) -> None:
        """It worked."""
        entry = self._registry.instances.get(instance_id)
        if entry is not None and (entry.breaker.failures or entry.breaker.state is not BreakerState.CLOSED):
            self._enter(instance_id, after_success(entry.breaker))

    def failed(self, instance_id: str) -> None:
        """It could not be reached, or broke down."""
        entry = self._registry.instances.get(instance_id)
        if entry is None:
            return
        breaker = after_failure(self._policy, entry.breaker, trio.current_time())
        if breaker != entry.breaker:
            self._enter(instance_id, breaker)
            if breaker.state is BreakerState.OPEN:
                self._start_soon(lambda: self._probe_when_due(instance_id, breaker))

    def _enter(self, instance_id: str, breaker: Breaker) -> None:
        self._registry.enter(BreakerChanged(instance_id, trio.current_time(), breaker))

    async def _probe_when_due(self, instance_id: str, opened: Breaker) -> None:
        """Send the one probe of this opening, and enter what comes of it."""
        assert opened.retry_at is not None
        await trio.sleep_until(opened.retry_at)
        entry = self._registry.instances.get(instance_id)
        if entry is None or entry.breaker != opened:
            return  # it is gone, or somebody found out that it works
        probing = try_again(opened, trio.current_time())
        assert probing is not None
        self._enter(instance_id, probing)
        try:
            report = await self._registry.check_health(instance_id)
        except InstanceNotFound:
            return  # its end is on its way into the table
        except BaseException:
            entry = self._registry.instances.get(instance_id)
            if entry is not None and entry.breaker == probing:
                self._enter(instance_id, after_abandoned(probing))
            raise
        entry = self._registry.instances.get(instance_id)
        if entry is None or entry.breaker != probing:
            # For one that is watched from here the check itself was entered. Or another has its name now.
            return
        if report.latency is None:
            self.failed(instance_id)
        else:
            self.succeeded(instance_id)
