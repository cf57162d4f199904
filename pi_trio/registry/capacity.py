"""How much there is, and how much of it is in use: sums over a table. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import attrs

from ..lifecycle import Breaker, BreakerState, Health, InstanceState
from .table import DiscoveryEntry, Entry

__all__ = ["Capacity", "CapacityReport", "report_capacity"]


@attrs.frozen
class Capacity:
    """The places on some instances. ``in_use + free + unavailable`` is always ``total``."""

    instances: int = 0
    total: int = 0
    """All places: the sum of ``max_concurrent``."""
    in_use: int = 0
    """Leased ones."""
    free: int = 0
    """Those that can be had now."""
    unavailable: int = 0
    """Those that cannot though nobody has them: their instance does not run, is unhealthy or retired, or its breaker is
    not closed."""

    def plus(self, entry: Entry) -> Capacity:
        """With this instance, too."""
        usable = is_usable(entry)
        return Capacity(
            self.instances + 1,
            self.total + entry.max_concurrent,
            self.in_use + entry.in_use,
            self.free + (entry.free if usable else 0),
            self.unavailable + (0 if usable else entry.free),
        )


@attrs.frozen
class CapacityReport:
    """The places on all instances, and by what they are. An instance that does not say stands under ``None``."""

    total: Capacity
    by_provider: Mapping[str | None, Capacity]
    by_region: Mapping[str | None, Capacity]
    by_model: Mapping[str | None, Capacity]
    waiting: int = 0
    """How many wait for a lease."""
    breakers: Mapping[str, Breaker] = attrs.field(factory=dict)
    """The breakers that are not closed, by the URL of the endpoint, the id of an instance that has none, or the name of the
    discovery."""


def is_usable(entry: Entry) -> bool:
    """Whether new work can be given to the instance, were there room."""
    return (
        entry.state is InstanceState.RUNNING
        and not entry.retired
        and entry.health is not Health.UNHEALTHY
        and entry.breaker.state is BreakerState.CLOSED
    )


_NONE: Mapping[str, Breaker] = MappingProxyType({})


def report_capacity(
    entries: Iterable[Entry],
    *,
    discoveries: Iterable[DiscoveryEntry] = (),
    waiting: int = 0,
    breakers: Mapping[str, Breaker] = _NONE,
) -> CapacityReport:
    """Sum the entries up. ``breakers`` are those of the endpoints, where nobody is at the moment among them."""
    entries = tuple(entries)
    breakers = {**breakers, **{each.name: each.breaker for each in discoveries}}
    return CapacityReport(
        total=_sum(entries, lambda _: None).get(None, Capacity()),
        by_provider=_sum(entries, lambda entry: entry.provider),
        by_region=_sum(entries, lambda entry: entry.profile.region),
        by_model=_sum(entries, lambda entry: entry.model),
        waiting=waiting,
        breakers={name: each for name, each in breakers.items() if each.state is not BreakerState.CLOSED},
    )


def _sum(entries: Iterable[Entry], group: Callable[[Entry], str | None]) -> dict[str | None, Capacity]:
    sums: dict[str | None, Capacity] = {}
    for entry in entries:
        sums[group(entry)] = sums.get(group(entry), Capacity()).plus(entry)
    return sums
