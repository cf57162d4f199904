"""Who gets a lease, when, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from ...lifecycle import CapacityChanged, InstanceState, Registered, StateChanged, Unregistered
from ...registry import LeastLoaded, PowerOfTwoChoices, RoundRobin
from ..trace import (
    CapacityReported,
    DiscoveryBegun,
    DiscoveryEnded,
    LeaseAsked,
    LeaseEnded,
    LeaseGranted,
    LeaseLeft,
    LeaseRefused,
    ResourceAcquired,
    ResourceReleased,
)
from .invariant import Finding, invariant
from .members import Members
from .placed import EPSILON, Placed
from .story import Story

__all__ = [
    "a_lost_lease_is_told",
    "leases_are_counted",
    "leases_are_given_back_at_once",
    "leases_fit_their_criteria",
    "nobody_is_overtaken",
    "nobody_waits_in_vain",
    "strategies_are_followed",
]

_RESOURCE = "lease of "
# A run that a body had is told to end first, and asked whether it did.
_LEAVING_SECONDS = 0.05


@attrs.define(eq=False)
class _Lease:
    """One lease, from when it was taken."""

    name: str
    instance: str
    taken: Placed[ResourceAcquired]
    released: Placed[ResourceReleased] | None = None
    left: Placed[LeaseLeft] | None = None
    ended: Placed[LeaseEnded] | None = None


@attrs.define(eq=False)
class _Asker:
    """Somebody who wanted one."""

    asked: Placed[LeaseAsked]
    lease: _Lease | None = None
    refused: Placed[LeaseRefused] | None = None

    def waits_at(self, index: int) -> bool:
        """Whether it had none yet, and had not gone."""
        if self.asked.index > index:
            return False
        end = self.lease.taken.index if self.lease else self.refused.index if self.refused else None
        return end is None or end > index

    @property
    def gone_at(self) -> float | None:
        """When it did not wait any more, with or without a lease."""
        return self.lease.taken.event.at if self.lease else self.refused.event.at if self.refused else None


class _Leases:
    """All that was asked and taken, by their names."""

    def __init__(self, story: Story) -> None:
        self.held: dict[str, _Lease] = {}
        for taken in story.all(ResourceAcquired):
            if taken.event.resource.startswith(_RESOURCE):
                name = taken.event.holder
                self.held[name] = _Lease(name, taken.event.resource.removeprefix(_RESOURCE), taken)
        for released in story.all(ResourceReleased):
            lease = self.held.get(released.event.holder)
            if lease is not None and lease.released is None:
                lease.released = released
        for left in story.all(LeaseLeft):
            self.held[left.event.lease].left = left
        for ended in story.all(LeaseEnded):
            self.held[ended.event.lease].ended = ended
        self.askers = {each.event.asker: _Asker(each) for each in story.all(LeaseAsked)}
        for granted in story.all(LeaseGranted):
            self.askers[granted.event.asker].lease = self.held[granted.event.lease]
        for refused in story.all(LeaseRefused):
            self.askers[refused.event.asker].refused = refused
        self.asker_of = {asker.lease.name: asker for asker in self.askers.values() if asker.lease is not None}


def _moments(story: Story, *others: Placed[Any]) -> Iterator[tuple[Members, Placed[Any]]]:
    """Each of these in its place, with the members as the registry's events told them until there."""
    members = Members()
    numbered = iter(story.numbered)
    event = next(numbered, None)
    for each in sorted(others, key=lambda placed: placed.index):
        while event is not None and event.index < each.index:
            members.take(event.event)
            event = next(numbered, None)
        yield members, each


@invariant(21)
def leases_fit_their_criteria(story: Story) -> Iterator[Finding]:
    """Who gets a lease gets it of an instance that is what it was asked to be: it runs, is well, has room, and its
    breaker is closed. Who is refused is so because nobody is of that kind, or because its time is up.
    """
    leases = _Leases(story)
    if not leases.askers and not leases.held:
        return
    taken = [lease.taken for lease in leases.held.values()]
    refused = [asker.refused for asker in leases.askers.values() if asker.refused is not None]
    for members, each in _moments(story, *taken, *refused):
        if isinstance(each.event, ResourceAcquired):
            yield from _fits(leases, members, Placed(each.index, each.event))
        else:
            yield from _is_refused_rightly(story, leases.askers[each.event.asker], members, each)


def _fits(leases: _Leases, members: Members, taken: Placed[ResourceAcquired]) -> Iterator[Finding]:
    lease = leases.held[taken.event.holder]
    member, asker = members.get(lease.instance), leases.asker_of.get(lease.name)
    if member is None:
        yield Finding(f"{lease.instance} was no member", taken)
    elif asker is None:
        if member.state is not InstanceState.RUNNING or member.in_use >= member.profile.max_concurrent:
            yield Finding(f"{lease.instance} is {member.state}, with {member.in_use} leases", taken)
    elif not member.matches(asker.asked.event.criteria) or lease.instance in asker.asked.event.criteria.exclude:
        yield Finding(f"{lease.instance} is not what was asked for", asker.asked, taken)


@invariant(21)
def strategies_are_followed(story: Story) -> Iterator[Finding]:
    """Of those that match, the least loaded is taken where that is wanted, the less loaded of two, or each in its turn."""
    leases = _Leases(story)
    asked = [asker.asked.event.strategy for asker in leases.askers.values()]
    if not any(isinstance(each, LeastLoaded | PowerOfTwoChoices | RoundRobin) for each in asked):
        return
    turns: dict[str, int] = {}  # when each had its last turn in a rotation, whatever the criteria were; or came
    for members, taken in _moments(story, *story.all(ResourceAcquired), *story.numbered):
        if isinstance(taken.event, Registered):
            turns[taken.event.instance_id] = -taken.index  # no turn yet
        asker = leases.asker_of.get(taken.event.holder) if isinstance(taken.event, ResourceAcquired) else None
        if asker is None:
            continue
        criteria, name = asker.asked.event.criteria, taken.event.resource.removeprefix(_RESOURCE)
        others = [
            each
            for each, member in members.items()
            if each not in (name, *criteria.exclude) and member.matches(criteria)
        ]
        if name not in members:
            continue
        loads = [members[each].load for each in others]
        match asker.asked.event.strategy:
            case LeastLoaded() if loads and min(loads) < members[name].load - EPSILON:
                yield Finding(f"{name} is not the least loaded", asker.asked, taken)
            case PowerOfTwoChoices() if loads and max(loads) < members[name].load - EPSILON:
                yield Finding(f"{name} is the most loaded of all", asker.asked, taken)
            case RoundRobin():
                waiting = [each for each in others if abs(turns[each]) < turns[name]]
                if waiting:
                    yield Finding(f"it was the turn of {min(waiting)}", asker.asked, taken)
                turns[name] = taken.index


def _is_refused_rightly(
    story: Story, asker: _Asker, members: Members, refused: Placed[LeaseRefused]
) -> Iterator[Finding]:
    asked, waited = asker.asked.event, refused.event.at - asker.asked.event.at
    if refused.event.outcome == "AcquireTimeout":
        if asked.timeout is None or not asked.timeout - EPSILON <= waited <= asked.timeout + story.slack:
            yield Finding(f"a time-out of {asked.timeout} s took {waited:g} s", asker.asked, refused)
    elif refused.event.outcome == "NoMatchingInstance":
        # It was decided in this instant; others may have come in it.
        fitting = [
            name for name, each in members.items() if each.fits(asked.criteria) and each.since < refused.event.at
        ]
        if set(fitting) - asked.criteria.exclude:
            yield Finding(f"{fitting[0]} is of that kind", asker.asked, refused)
        elif asked.newcomers and _is_looked_for(story, refused.index):
            yield Finding("a discovery runs, and may bring one", asker.asked, refused)


@invariant(21)
def nobody_is_overtaken(story: Story) -> Iterator[Finding]:
    """Those who wait for a lease are served in the order they came: who gets one gets it before nobody who came earlier
    and could have used it, too; nor takes a place on the only instance that somebody waits for more room on.
    """
    leases = _Leases(story)
    if not leases.askers:
        return
    for members, taken in _moments(story, *(lease.taken for lease in leases.held.values())):
        asker, instance = leases.asker_of.get(taken.event.holder), leases.held[taken.event.holder].instance
        member = members.get(instance)
        if asker is None or member is None:
            continue
        for other in leases.askers.values():
            criteria = other.asked.event.criteria
            if (
                other.asked.index >= asker.asked.index
                or not other.waits_at(taken.index)
                or (other.gone_at is not None and other.lease is None and other.gone_at <= taken.event.at + EPSILON)
            ):
                continue
            if member.matches(criteria) and instance not in criteria.exclude:
                yield Finding("somebody came before, and could have used it", other.asked, asker.asked, taken)
            elif [name for name in members if members.lacks_room(name, criteria)] == [instance]:
                yield Finding("somebody who came before waits for more room on it", other.asked, asker.asked, taken)


@invariant(21)
def nobody_waits_in_vain(story: Story) -> Iterator[Finding]:
    """Nobody waits for a lease while there is an instance that could be had and is not kept for who came before, nor when
    nobody of that kind is left, nor longer than the time-out says. The report says how many wait.
    """
    leases = _Leases(story)
    if not leases.askers:
        return
    askers = list(leases.askers.values())
    quiet = [each for each in _before_time_passes(story) if any(asker.waits_at(each.index) for asker in askers)]
    for members, each in _moments(story, *quiet, *story.all(CapacityReported)):
        waiting = [asker for asker in askers if asker.waits_at(each.index)]
        if isinstance(each.event, CapacityReported):
            # Who goes in this instant may have gone already.
            staying = sum(asker.gone_at is None or asker.gone_at > each.event.at + EPSILON for asker in waiting)
            if not staying <= each.event.report.waiting <= len(waiting):
                yield Finding(f"there are {len(waiting)} who wait", each)
            continue
        for asker in waiting:
            criteria, timeout = asker.asked.event.criteria, asker.asked.event.timeout
            free = _not_kept(members, asker, waiting)
            if free is not None:
                yield Finding(f"{free} could be had", asker.asked, each)
            elif not members.hopeful(criteria) and not (
                asker.asked.event.newcomers and _is_looked_for(story, each.index)
            ):
                yield Finding("there is nobody of that kind any more", asker.asked, each)
            elif timeout is not None and each.event.at > asker.asked.event.at + timeout + story.slack:
                yield Finding(f"its time-out of {timeout:g} s is over", asker.asked, each)


def _not_kept(members: Members, asker: _Asker, waiting: list[_Asker]) -> str | None:
    """An instance that this one could have, if there are more of them than may be kept for those who came before: one for
    each who wants more room on it than there is.
    """
    free = members.those_for(asker.asked.event.criteria)
    keepers = {
        other.asked.event.criteria
        for other in waiting
        if other.asked.index < asker.asked.index
        and any(members.lacks_room(name, other.asked.event.criteria) for name in free)
    }
    return free[0] if len(free) > len(keepers) else None


def _is_looked_for(story: Story, index: int) -> bool:
    """Whether a discovery runs then."""
    begun = {each.event.discovery for each in story.all(DiscoveryBegun) if each.index < index}
    return bool(begun - {each.event.discovery for each in story.all(DiscoveryEnded) if each.index < index})


def _before_time_passes(story: Story) -> Iterator[Placed[Any]]:
    """The last event of each instant: what follows from it in no time has followed."""
    events = story.trace.events
    for index, event in enumerate(events[:-1]):
        if events[index + 1].at > event.at + story.slack:
            yield Placed(index, event)


@invariant(21)
def leases_are_counted(story: Story) -> Iterator[Finding]:
    """What is published of an instance's leases is how many of them are held, and never more than it has room for."""
    holders: dict[str, set[str]] = {}
    moves: list[Placed[Any]] = [*story.all(ResourceAcquired), *story.all(ResourceReleased)]
    leases = [Placed(each.index, each.event) for each in moves if each.event.resource.startswith(_RESOURCE)]
    if not leases:
        return
    changes = [each for each in story.numbered if isinstance(each.event, CapacityChanged | Unregistered)]
    told: dict[str, Placed[Any]] = {}
    for members, each in _moments(story, *leases, *changes):
        if isinstance(each.event, CapacityChanged):
            name, member = each.event.instance_id, members.get(each.event.instance_id)
            held = holders.get(name, set())
            if each.event.in_use != len(held):
                yield Finding(f"{name} has {len(held)} leases", each, told.get(name))
            if member is not None and each.event.in_use > member.profile.max_concurrent:
                yield Finding(f"{name} has room for {member.profile.max_concurrent}", each)
            continue
        if isinstance(each.event, Unregistered):
            holders.pop(each.event.instance_id, None)
            continue
        name, holder = each.event.resource.removeprefix(_RESOURCE), each.event.holder
        told[name] = each
        if isinstance(each.event, ResourceAcquired):
            holders.setdefault(name, set()).add(holder)
        else:
            holders.setdefault(name, set()).discard(holder)


@invariant(21)
def leases_are_given_back_at_once(story: Story) -> Iterator[Finding]:
    """A lease is given back when its body is over, however that came about, and not before."""
    for lease in _Leases(story).held.values():
        if lease.left is not None and lease.released is not None and lease.released.index < lease.left.index:
            yield Finding("it was given back while its body was in it", lease.taken, lease.released, lease.left)
        if lease.ended is not None and (lease.released is None or lease.released.index > lease.ended.index):
            yield Finding("it was not given back", lease.taken, lease.ended, lease.released)


@invariant(21)
def a_lost_lease_is_told(story: Story) -> Iterator[Finding]:
    """When its instance is not running any more, or no member, the body of a lease is cancelled at once, and
    ``LeaseLost`` comes out of it; and only then.
    """
    for lease in _Leases(story).held.values():
        if lease.left is None or lease.ended is None:
            continue
        gone = _gone(story, lease)
        lost = lease.ended.event.outcome == "LeaseLost"
        if gone is None:
            if lost:
                yield Finding(f"{lease.instance} was there all the time", lease.taken, lease.ended)
            continue
        at = story.trace.events[gone.index].at
        if lease.left.event.at > at + _LEAVING_SECONDS + story.trace.lateness:
            yield Finding(f"the body went on without {lease.instance}", gone, lease.left)
        if lease.left.event.how == "cancelled" and lease.ended.event.outcome not in ("LeaseLost", "cancelled"):
            yield Finding("whoever had the lease was not told that it was lost", gone, lease.left, lease.ended)


def _gone(story: Story, lease: _Lease) -> Placed[Any] | None:
    """When the instance went, if it did while the body was in it."""
    assert lease.left is not None
    for each in story.numbered:
        if not lease.taken.index < each.index < lease.left.index:
            continue
        event = each.event
        if isinstance(event, Unregistered) and event.instance_id == lease.instance:
            return each
        if isinstance(event, StateChanged) and event.instance_id == lease.instance and not _runs(event):
            return each
    return None


def _runs(event: StateChanged) -> bool:
    return event.state is InstanceState.RUNNING
