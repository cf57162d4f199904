"""How the instances are: asked now, and for those without a supervisor here, asked again and again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs
import trio

from ..abc import Found
from ..errors import InstanceNotFound, PiTrioError
from ..lifecycle import Health, HealthChanged, HealthPolicy, HealthState, Probe, Unregistered, after_probe
from .membership import Member

if TYPE_CHECKING:
    from .registry import Registry

__all__ = ["HealthReport", "Pulse", "Watch"]

_log = logging.getLogger("pi_trio.registry")


@attrs.frozen(kw_only=True)
class Watch:
    """How an instance that is not supervised here is watched."""

    health: HealthPolicy = attrs.field(factory=lambda: HealthPolicy(action="report"))
    """How often it is asked, and what is made of the answers. Its ``action`` has no meaning here: what does not run here
    cannot be ended from here."""
    remove_after: float = 60.0
    """Seconds for which it may be unhealthy before it is unregistered. It is asked on all the same, and registered again
    when it answers."""


@attrs.frozen
class HealthReport:
    """What came of asking an instance."""

    instance_id: str
    health: Health
    """What the answer, or that there was none, comes to."""
    latency: float | None
    """Seconds until the answer; ``None`` when there was none."""
    error: str | None = None
    """Why there was none, in words."""


class Pulse:
    """Asks instances how they are, each by a real request through its client."""

    def __init__(self, registry: Registry, watch: Watch) -> None:
        self._registry = registry
        self._watch = watch
        self._states: dict[str, HealthState] = {}  # of those that are not supervised here

    async def check(self, instance_id: str) -> HealthReport:
        """Ask it now; see :meth:`Registry.check_health`."""
        member = self._registry._members.get(instance_id)
        if member is None:
            raise InstanceNotFound(instance_id, known=tuple(self._registry.instances))
        return await self._check(instance_id, member)

    async def _check(self, instance_id: str, member: Member) -> HealthReport:
        policy = self._watch.health
        latency, error = await self._ask(member, policy)
        after = after_probe(policy, self._states.get(instance_id, HealthState()), Probe(latency))
        if member.found is not None and self._registry._members.get(instance_id) is member:  # still
            self._states[instance_id] = after
            self._publish(instance_id, after, latency)
            if latency is None:
                self._registry.report_failure(instance_id)
            else:
                self._registry.report_success(instance_id)
        return HealthReport(instance_id, after.health, latency, error)

    def _publish(self, instance_id: str, state: HealthState, latency: float | None) -> None:
        entry = self._registry.instances.get(instance_id)
        if entry is not None and entry.health is not state.health:
            now = trio.current_time()
            self._registry.enter(HealthChanged(instance_id, now, entry.incarnation, state.health, latency))

    async def _ask(self, member: Member, policy: HealthPolicy) -> tuple[float | None, str | None]:
        asked_at = trio.current_time()
        error: Exception
        try:
            with trio.move_on_after(policy.timeout):
                async with member.open_client() as client:
                    await client.get_state(timeout=None)
                    return trio.current_time() - asked_at, None
            return None, f"no answer within {policy.timeout:g} s"
        except* (PiTrioError, OSError, trio.BrokenResourceError) as group:
            error = group
        return None, "; ".join(_messages(error))

    async def watch(self, member: Member, found: Found) -> None:
        """Ask it at regular intervals, until it is unregistered by somebody. Out when it is silent for too long, and back.

        A first time at once: who was never asked is nobody to rely on.
        """
        name = found.instance_id
        unhealthy_since: float | None = None
        with member.watching:
            while True:
                report = await self._check(name, member)
                now = trio.current_time()
                if report.health is not Health.UNHEALTHY:
                    unhealthy_since = None
                    if report.latency is not None and name not in self._registry.instances:
                        self._registry.enter_found(member.found or found)
                        self._publish(name, self._states[name], report.latency)
                elif unhealthy_since is None:
                    unhealthy_since = now
                elif now - unhealthy_since >= self._watch.remove_after and name in self._registry.instances:
                    why = f"it has been unhealthy for {now - unhealthy_since:.0f} s: {report.error}"
                    self._registry.enter(Unregistered(name, now, why))
                await trio.sleep(self._watch.health.period)

    def forget(self, instance_id: str) -> None:
        """It is not watched any more."""
        self._states.pop(instance_id, None)


def _messages(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [message for each in error.exceptions for message in _messages(each)]
    return [str(error) or type(error).__name__]
