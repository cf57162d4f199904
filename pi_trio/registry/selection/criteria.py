"""What an instance must be, to be selected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs

from ...lifecycle import BreakerState, Health, InstanceState
from ..table import Entry

__all__ = ["CHECKS", "Criteria", "emptied_by", "hindrance", "refused_by", "several"]

_WELL: Final = frozenset(Health) - {Health.UNHEALTHY}


def several(value: Iterable[str]) -> frozenset[str]:
    """A set of strings, made of what a caller gave; a single string is a mistake."""
    if isinstance(value, str):
        raise ValueError(f"expected several strings, not the one string {value!r}; write {{{value!r}}}")
    return frozenset(value)


def _healths(value: Health | Iterable[Health]) -> frozenset[Health]:
    return frozenset((value,)) if isinstance(value, Health) else frozenset(value)


def _at_least_one(_instance: object, attribute: attrs.Attribute[int], value: object) -> None:
    if type(value) is not int or value < 1:
        raise ValueError(f"{attribute.name} must be a positive number, not {value!r}")


@attrs.frozen(kw_only=True, cache_hash=True)
class Criteria:
    """What an instance must be. With everything left out, any that runs, is not unhealthy and has room will do."""

    provider: str | None = None
    model: str | None = None
    """Its id, as Pi says it."""
    capabilities: frozenset[str] = attrs.field(default=frozenset(), converter=several)
    """It must have all of these."""
    region: str | None = None
    tags: frozenset[str] = attrs.field(default=frozenset(), converter=several)
    """It must have all of these."""
    exclude: frozenset[str] = attrs.field(default=frozenset(), converter=several)
    """Ids that are not wanted."""
    min_free: int = attrs.field(default=1, validator=_at_least_one)
    """It must have room for so many leases."""
    health: frozenset[Health] = attrs.field(default=_WELL, converter=_healths)
    """It must be in one of these."""
    lasting: Any = attrs.field(init=False, repr=False, eq=False)
    """Everything but ``exclude``: criteria that are alike in it share what the index knows."""

    def __attrs_post_init__(self) -> None:
        lasting = (self.provider, self.model, self.capabilities, self.region, self.tags, self.min_free, self.health)
        object.__setattr__(self, "lasting", lasting)

    def fits(self, entry: Entry) -> bool:
        """Whether the instance is of the kind that is wanted, however it is just now. ``exclude`` is not looked at."""
        profile = entry.profile
        return (
            profile.selectable
            and (self.provider is None or entry.provider == self.provider)
            and (self.model is None or entry.model == self.model)
            and (self.region is None or profile.region == self.region)
            and self.capabilities <= profile.capabilities
            and self.tags <= profile.tags
            and profile.max_concurrent >= self.min_free
        )

    def matches(self, entry: Entry) -> bool:
        """Whether the instance may be taken now. ``exclude`` is not looked at."""
        return (
            entry.state is InstanceState.RUNNING
            and not entry.retired
            and entry.free >= self.min_free
            and entry.health in self.health
            and entry.breaker.state is BreakerState.CLOSED
            and self.fits(entry)
        )


CHECKS: Final[tuple[tuple[str, Callable[[Criteria, Entry], bool]], ...]] = (
    ("selectable", lambda _, entry: entry.profile.selectable),
    ("provider", lambda wanted, entry: wanted.provider in (None, entry.provider)),
    ("model", lambda wanted, entry: wanted.model in (None, entry.model)),
    ("capabilities", lambda wanted, entry: wanted.capabilities <= entry.profile.capabilities),
    ("region", lambda wanted, entry: wanted.region in (None, entry.profile.region)),
    ("tags", lambda wanted, entry: wanted.tags <= entry.profile.tags),
    ("exclude", lambda wanted, entry: entry.instance_id not in wanted.exclude),
    ("state", lambda _, entry: entry.state is InstanceState.RUNNING),
    ("retired", lambda _, entry: not entry.retired),
    ("health", lambda wanted, entry: entry.health in wanted.health),
    ("breaker", lambda _, entry: entry.breaker.state is BreakerState.CLOSED),
    ("free capacity", lambda wanted, entry: entry.free >= wanted.min_free),
)
"""The criteria one by one, in the order in which an empty result is explained: what an instance is, before how it is."""


def refused_by(criteria: Criteria, entry: Entry) -> str | None:
    """The first check that the instance does not pass; ``None`` when it matches."""
    return next((name for name, check in CHECKS if not check(criteria, entry)), None)


_ANY: Final = Criteria()
_AT_ALL: Final = frozenset(("state", "retired", "free capacity"))
_WELL_TOO: Final = _AT_ALL | {"health", "breaker"}


def hindrance(entry: Entry, *, well: bool) -> str | None:
    """Which check keeps this very instance from being leased, whatever it is; its health and breaker count if ``well``."""
    wanted = _WELL_TOO if well else _AT_ALL
    return next((name for name, check in CHECKS if name in wanted and not check(_ANY, entry)), None)


def emptied_by(criteria: Criteria, entries: Iterable[Entry]) -> tuple[str, tuple[tuple[str, int], ...]]:
    """Which check let nobody through, and how many passed each one until there."""
    left = list(entries)
    passed = [("registered", len(left))]
    for name, check in CHECKS:
        if not left:
            break
        left = [entry for entry in left if check(criteria, entry)]
        passed.append((name, len(left)))
    return passed[-1][0], tuple(passed)
