"""How the instances are: asked now, and for those without a supervisor here, asked again and again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs
import trio

from ..abc import Found
from ..errors import InstanceNotFound
from ..lifecycle import (
    Health,
    HealthChanged,
    HealthPolicy,
    HealthState,
    ModelChanged,
    Probe,
    SessionChanged,
    Unregistered,
    after_probe,
)
from ..protocol import State
from .membership import Member
from .table import Entry

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


@attrs.frozen
class _Answer:
    state: State | None = None
    latency: float | None = None
    error: str | None = None


class Pulse:
    """Asks instances how they are, each by a real request through its client."""

    def __init__(self, registry: Registry, watch: Watch) -> None:
        self._registry = registry
        self._watch = watch
        # Of those that are not supervised here.
        self._states: dict[str, HealthState] = {}
        self._reports: dict[str, HealthReport] = {}

    async def check(self, instance_id: str) -> HealthReport:
        """Ask it now; see :meth:`Registry.check_health`."""
        member = self._registry._members.get(instance_id)
        if member is None:
            raise InstanceNotFound(instance_id, known=tuple(self._registry.instances))
        return await self._check(instance_id, member)

    async def _check(self, instance_id: str, member: Member) -> HealthReport:
        answer = await self._ask(member)
        after = after_probe(self._watch.health, self._states.get(instance_id, HealthState()), Probe(answer.latency))
        report = HealthReport(instance_id, after.health, answer.latency, answer.error)
        if member.found is not None and self._registry._members.get(instance_id) is member:  # still
            self._states[instance_id], self._reports[instance_id] = after, report
            if answer.state is not None and instance_id not in self._registry.instances:
                self._registry.enter_found(member.found)  # it is back
            self._publish(instance_id, after, answer)
            if answer.state is None:
                self._registry.report_failure(instance_id)
            else:
                self._registry.report_success(instance_id)
        return report

    def _publish(self, instance_id: str, after: HealthState, answer: _Answer) -> None:
        """What is new of a member; of one that is out for its silence, nothing."""
        entry, now = self._registry.instances.get(instance_id), trio.current_time()
        if entry is None:
            return
        if entry.health is not after.health:
            change = HealthChanged(instance_id, now, entry.incarnation, after.health, answer.latency, answer.error)
            self._registry.enter(change)
        if answer.state is not None:
            self._publish_state(entry, answer.state, now)

    def _publish_state(self, entry: Entry, state: State, now: float) -> None:
        """As a supervisor does: which model answers counts, not which was listed; there may be none chosen yet."""
        if entry.session_id != state.session_id:
            self._registry.enter(SessionChanged(entry.instance_id, now, state.session_id))
        if state.model is not None and (entry.provider, entry.model) != (state.model.provider, state.model.id):
            self._registry.enter(ModelChanged(entry.instance_id, now, state.model.provider, state.model.id))

    async def _ask(self, member: Member) -> _Answer:
        timeout = self._watch.health.timeout
        asked_at = trio.current_time()
        answer = _Answer(error=f"no answer within {timeout:g} s")
        try:
            with trio.move_on_after(timeout):
                async with member.open_client() as client:
                    state = await client.get_state(timeout=None)
                    answer = _Answer(state, trio.current_time() - asked_at)  # whatever becomes of the connection
        except* Exception as group:  # how it is reached may be anybody's function: see OpenClient
            if answer.state is None:
                answer = _Answer(error="; ".join(_messages(group)))
        return answer

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
                elif unhealthy_since is None:
                    unhealthy_since = now
                elif now - unhealthy_since >= self._watch.remove_after and name in self._registry.instances:
                    why = f"it has been unhealthy for {now - unhealthy_since:.0f} s: {report.error}"
                    self._registry.enter(Unregistered(name, now, why))
                await trio.sleep(self._watch.health.period)

    def forget(self, instance_id: str) -> None:
        """It is not watched any more."""
        self._states.pop(instance_id, None)
        self._reports.pop(instance_id, None)

    def last(self, instance_id: str) -> HealthReport | None:
        """See :meth:`Registry.last_report`."""
        return self._reports.get(instance_id)


def _messages(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [message for each in error.exceptions for message in _messages(each)]
    return [str(error) or type(error).__name__]
