"""How the instances are: asked now, and for those without a supervisor here, asked again and again."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import attrs
import trio

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
from .breakers import Breakers
from .membership import Member
from .table import Entry

if TYPE_CHECKING:
    from .registry import Registry

__all__ = ["HealthReport", "Pulse", "Watch"]

_log = logging.getLogger("pi_trio.registry")


def _at_least_one(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value >= 1:
        raise ValueError(f"{attribute.name} must be at least 1, not {value!r}")


@attrs.frozen(kw_only=True)
class Watch:
    """How an instance that is not supervised here is watched.

    As long as the breaker of where it is reached is closed. An open one is left alone until it sends its one probe; when
    that is not answered, it is a miss of everybody who is reached there.
    """

    health: HealthPolicy = attrs.field(factory=lambda: HealthPolicy(action="report"))
    """How often it is asked, and what is made of the answers. Its ``action`` has no meaning here: what does not run here
    cannot be ended from here."""
    remove_after: float = 60.0
    """Seconds for which it may be unhealthy before it is unregistered. It is asked on all the same, and registered again
    when it answers."""
    at_once: int = attrs.field(default=32, validator=_at_least_one)
    """How many are asked at the same time: each is a connection, and a descriptor, of this program. The others wait."""


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


@attrs.define(eq=False)
class _Known:
    """What is known of one that is not supervised here."""

    state: HealthState = attrs.field(factory=HealthState)
    report: HealthReport | None = None
    asked_at: float = -math.inf
    unhealthy_since: float | None = None


class Pulse:
    """Asks instances how they are, each by a real request through its client."""

    def __init__(
        self,
        registry: Registry,
        watch: Watch,
        breakers: Breakers,
        start_soon: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        self._registry = registry
        self._watch = watch
        self._breakers = breakers
        self._start_soon = start_soon
        self._turns = trio.CapacityLimiter(watch.at_once)
        self._known: dict[str, _Known] = {}

    def turn(self) -> AbstractAsyncContextManager[object]:
        """See :meth:`Registry.turn`."""
        return self._turns

    async def check(self, instance_id: str) -> HealthReport:
        """Ask it now; see :meth:`Registry.check_health`."""
        member = self._registry._members.get(instance_id)
        if member is None:
            raise InstanceNotFound(instance_id, known=tuple(self._registry.instances))
        return await self._check(instance_id, member)

    async def _check(self, instance_id: str, member: Member) -> HealthReport:
        if member.found is not None:
            await self._registry.catch_up()  # whoever found it may just have said so
        answer = await self._ask(member)
        if member.found is None or self._registry._members.get(instance_id) is not member:  # not any more
            health = after_probe(self._watch.health, HealthState(), Probe(answer.latency)).health
            return HealthReport(instance_id, health, answer.latency, answer.error)
        report = self._note(instance_id, member, answer)
        self._known[instance_id].asked_at = trio.current_time()
        if answer.state is None:
            self._registry.report_failure(instance_id)
        else:
            self._registry.report_success(instance_id)
        return report

    def missed(self, instance_id: str, error: str | None) -> None:
        """Nobody answered where it is reached, though another one was asked."""
        member = self._registry._members.get(instance_id)
        if member is not None:
            self._note(instance_id, member, _Answer(error=error))

    def _note(self, instance_id: str, member: Member, answer: _Answer) -> HealthReport:
        """What an answer, or that there was none, makes of a member."""
        assert member.found is not None
        known = self._known.setdefault(instance_id, _Known())
        known.state = after_probe(self._watch.health, known.state, Probe(answer.latency))
        known.report = HealthReport(instance_id, known.state.health, answer.latency, answer.error)
        if answer.state is not None and member.silent:
            member.silent = False
            self._registry.enter_found(member.found)  # it is back
        self._publish(instance_id, known.state, answer)
        self._count_down(instance_id, member, known)
        return known.report

    def _count_down(self, instance_id: str, member: Member, known: _Known) -> None:
        if known.state.health is not Health.UNHEALTHY:
            known.unhealthy_since = None
        elif known.unhealthy_since is None:
            known.unhealthy_since = since = trio.current_time()
            if self._watch.remove_after < math.inf:
                self._start_soon(lambda: self._remove_when_silent(instance_id, member, known, since))

    async def _remove_when_silent(self, instance_id: str, member: Member, known: _Known, since: float) -> None:
        """Let it be out when it has been unhealthy all the time, however often it was asked in it."""
        await trio.sleep_until(since + self._watch.remove_after)
        if known.unhealthy_since != since or self._known.get(instance_id) is not known:
            return
        assert known.report is not None
        member.silent = True
        now = trio.current_time()
        why = f"it has been unhealthy for {now - since:.0f} s: {known.report.error}"
        self._registry.enter(Unregistered(instance_id, now, why))

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

    async def watch(self, member: Member, instance_id: str, endpoint: str) -> None:
        """Ask it at regular intervals, until it is unregistered by somebody: while the breaker of its endpoint is closed.

        A first time at once: who was never asked is nobody to rely on.
        """
        with member.watching:
            while True:
                await trio.sleep_until(self._due_at(instance_id))
                await self._breakers.wait_closed(endpoint)
                async with self._turns:
                    # There may have been a long wait for either, and others ask, too.
                    if self._breakers.is_closed(endpoint) and self._due_at(instance_id) <= trio.current_time():
                        await self._check(instance_id, member)

    def _due_at(self, instance_id: str) -> float:
        known = self._known.get(instance_id)
        return 0.0 if known is None else known.asked_at + self._watch.health.period

    def forget(self, instance_id: str) -> None:
        """It is not watched any more."""
        self._known.pop(instance_id, None)

    def last(self, instance_id: str) -> HealthReport | None:
        """See :meth:`Registry.last_report`."""
        known = self._known.get(instance_id)
        return None if known is None else known.report


def _messages(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [message for each in error.exceptions for message in _messages(each)]
    return [str(error) or type(error).__name__]
