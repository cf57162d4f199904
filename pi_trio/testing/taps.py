"""Looking at what a runtime does from outside: what it publishes, what its registry makes of it, who holds what.

The runtime knows nothing of it. What its supervisors send passes through here on its way into the registry's channel, so
that a trace has it where it happened, and not where somebody heard of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import trio

from ..lifecycle import InstanceEvent, RegistryEvent
from ..registry import Criteria, Lease, Registry
from ..runtime import Runtime
from .discovering import FAR
from .outcomes import how_it_ended
from .trace import (
    CapacityReported,
    Folded,
    LeaseAsked,
    LeaseGranted,
    LeaseLeft,
    LeaseRefused,
    MemberAnswered,
    MemberAsked,
    ProbeSent,
    Published,
    Record,
    ResourceAcquired,
    ResourceReleased,
)

__all__ = ["LeaseNames", "tap"]


class LeaseNames(dict[Lease, str]):
    """What each lease is called in the trace."""

    def __init__(self) -> None:
        super().__init__()
        self.driven: set[Lease] = set()
        """Those whose body takes down its own end."""


class _Tap:
    """Stands in for a ``MemorySendChannel``, and takes down what is sent."""

    def __init__(
        self, channel: trio.MemorySendChannel[InstanceEvent], publish: Callable[[InstanceEvent], None]
    ) -> None:
        self._channel = channel
        self._publish = publish

    def clone(self) -> _Tap:
        return _Tap(self._channel.clone(), self._publish)

    def send_nowait(self, event: InstanceEvent) -> None:
        # Discoveries have clones of the same channel. What they tell is taken down where they tell it.
        if not getattr(event, "instance_id", FAR).startswith(FAR):
            self._publish(event)
        self._channel.send_nowait(event)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Slots:
    """Stands in for a ``CapacityLimiter``, and takes down who holds a token."""

    def __init__(self, limiter: trio.CapacityLimiter, record: Record) -> None:
        self._limiter = limiter
        self._record = record
        self._holders: dict[object, str] = {}

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        await self._limiter.acquire_on_behalf_of(borrower)
        name = self._holders.setdefault(borrower, f"start {len(self._holders) + 1}")
        limit = int(self._limiter.total_tokens)
        self._record(ResourceAcquired(trio.current_time(), "start slot", name, limit))

    def release_on_behalf_of(self, borrower: object) -> None:
        name = self._holders.get(borrower, "nobody")
        self._record(ResourceReleased(trio.current_time(), "start slot", name))
        self._limiter.release_on_behalf_of(borrower)


def tap(runtime: Runtime, record: Record, seen: Callable[[InstanceEvent], None], *, reports: bool) -> LeaseNames:
    """Take down what a runtime does from now on. ``seen`` is called with each event that is published, at once.

    With ``reports``, the registry's report of capacity is taken down behind each event, too.
    """

    def publish(event: InstanceEvent) -> None:
        record(Published(trio.current_time(), event))
        seen(event)

    registry: Any = runtime._registry
    registry._send = _Tap(registry._send, publish)
    anyway: Any = runtime
    anyway._starts = _Slots(runtime._starts, record)
    _tap_events(registry, record, reports=reports)
    _tap_watching(registry, record)
    names = LeaseNames()
    _tap_leases(registry, record, names)
    return names


def _tap_events(registry: Registry, record: Record, *, reports: bool) -> None:
    anyway: Any = registry
    enter, check_health = registry.enter, registry.check_health
    depth = 0

    def tapped(*events: RegistryEvent) -> None:
        nonlocal depth
        record(Folded(trio.current_time(), events))
        depth += 1
        try:
            enter(*events)
        finally:
            depth -= 1
        if reports and not depth:  # what follows from an event belongs to it
            record(CapacityReported(trio.current_time(), registry.capacity()))

    def check(instance_id: str) -> Any:
        record(ProbeSent(trio.current_time(), instance_id))
        return check_health(instance_id)

    anyway.enter, anyway.check_health = tapped, check


def _tap_watching(registry: Registry, record: Record) -> None:
    pulse: Any = registry._pulse
    ask = pulse._ask

    async def tapped(member: Any) -> Any:
        if member.found is None:
            return await ask(member)
        name = member.found.instance_id
        record(MemberAsked(trio.current_time(), name))
        answer = await ask(member)
        if registry._members.get(name) is member:  # still
            record(MemberAnswered(trio.current_time(), name, answer.latency))
        return answer

    pulse._ask = tapped


def _tap_leases(registry: Registry, record: Record, names: LeaseNames) -> None:
    leases: Any = registry._leases
    acquire, take, give_back = leases.acquire, leases.take, leases.give_back
    asked = taken = 0

    async def tapped(criteria: Criteria, strategy: Any, timeout: float | None, **options: Any) -> Lease:
        nonlocal asked
        asked += 1
        asker = asked
        now, newcomers = trio.current_time(), options.get("newcomers", True)
        record(LeaseAsked(now, asker, criteria, timeout, strategy, newcomers))
        try:
            lease: Lease = await acquire(criteria, strategy, timeout, **options)
        except BaseException as error:
            how = "cancelled" if isinstance(error, trio.Cancelled) else type(error).__name__
            record(LeaseRefused(trio.current_time(), asker, how))
            raise
        record(LeaseGranted(trio.current_time(), asker, names[lease], lease.instance_id))
        return lease

    def tapped_take(entry: Any) -> Lease:
        nonlocal taken
        taken += 1
        name = f"lease {taken}"  # others may be taken before this returns
        resource = f"lease of {entry.instance_id}"
        record(ResourceAcquired(trio.current_time(), resource, name, entry.max_concurrent))
        lease: Lease = take(entry)
        names[lease] = name
        return lease

    def tapped_give_back(lease: Lease, error: BaseException | None) -> None:
        resource = f"lease of {lease.instance_id}"
        if lease not in names.driven and lease in names:
            left = how_it_ended(error)
            record(LeaseLeft(trio.current_time(), names[lease], lease.instance_id, left, lease._blamed))
        record(ResourceReleased(trio.current_time(), resource, names.get(lease, "nobody")))
        give_back(lease, error)

    leases.acquire, leases.take, leases.give_back = tapped, tapped_take, tapped_give_back
