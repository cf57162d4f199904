"""What the registry makes of the events that it is sent."""

from __future__ import annotations

from collections.abc import Iterator

from ...lifecycle import Breaker, BreakerState, DiscoveryBreakerChanged, Registered, StateChanged
from ...registry import Capacity
from ..discovering import FAR_URL
from ..trace import CapacityReported, Folded
from .invariant import Finding, invariant
from .members import Members
from .moves import Moves
from .story import Story

__all__ = ["events_are_numbered_as_they_came", "members_are_what_they_were_asked_to_be", "the_report_adds_up"]


@invariant(23)
def events_are_numbered_as_they_came(story: Story) -> Iterator[Finding]:
    """The registry takes in each event that a supervisor sends, once, at once, in the order they were sent."""
    if not story.all(Folded):
        return
    sent = iter(story.published)
    due = next(sent, None)
    for each in story.numbered:
        # Between them stand those that are the registry's own.
        if due is not None and each.event is due.event.event:
            if story.trace.events[each.index].at - due.event.at > story.slack:
                yield Finding("it was not taken in at once", due, each)
            due = next(sent, None)
        elif isinstance(each.event, Registered | StateChanged) and story.life(each.event.instance_id) is not None:
            yield Finding("that is not what was sent next", due, each)
    over = story.scope_exits.get("runtime")
    if due is not None and over is not None:
        yield Finding("that was never taken in", due, over)


@invariant(21)
def members_are_what_they_were_asked_to_be(story: Story) -> Iterator[Finding]:
    """An instance is registered as its spec describes it: how many leases it has room for, and what it is chosen by."""
    for life in story.lives:
        registered = life.published[0] if life.published else None
        if life.spec is None or registered is None or not isinstance(registered.event, Registered):
            continue
        for name in ("max_concurrent", "region", "tags", "capabilities", "selectable"):
            told = getattr(registered.event.profile, name)
            if told != getattr(life.spec, name):
                yield Finding(f"{name} of {life.instance} should be {getattr(life.spec, name)!r}", registered)


@invariant(23)
def the_report_adds_up(story: Story) -> Iterator[Finding]:
    """At every event the report of capacity is the sum of what the members have: free, in use, and unavailable."""
    reports = story.all(CapacityReported)
    members, moves = Members(), Moves(story)
    discoveries: dict[str, Breaker] = {}
    numbered = iter(story.numbered)
    event = next(numbered, None)
    for each in reports:
        while event is not None and event.index < each.index:
            members.take(event.event)
            if isinstance(event.event, DiscoveryBreakerChanged):
                discoveries[event.event.discovery] = event.event.breaker
            event = next(numbered, None)
        for what, says, expected in _sums(members, discoveries, each.event, moves):
            if says != expected:
                yield Finding(f"{what} should be {expected}, not {says}", each)
                return


def _sums(
    members: Members, discoveries: dict[str, Breaker], reported: CapacityReported, moves: Moves
) -> Iterator[tuple[str, object, object]]:
    report = reported.report
    yield "the total", report.total, _sum(members, list(members))
    for what, groups in (
        ("provider", report.by_provider),
        ("model", report.by_model),
        ("region", report.by_region),
    ):
        for group in {*groups, *(_group(members, name, what) for name in members)}:
            names = [name for name in members if _group(members, name, what) == group]
            yield f"{what} {group}", groups.get(group), _sum(members, names) if names else None
    yield "the breakers", *_breakers(members, discoveries, reported, moves)


def _breakers(
    members: Members, discoveries: dict[str, Breaker], reported: CapacityReported, moves: Moves
) -> tuple[object, object]:
    """Those that are not closed, as they are told and as they should be, but for endpoints where nobody is who stays."""
    staying = {name: each for name, each in members.items() if not moves.are_near(name, reported.at)}
    breakers = {each.profile.url or name: each.breaker for name, each in staying.items()} | discoveries
    broken = {name: each for name, each in breakers.items() if each.state is not BreakerState.CLOSED}
    told = reported.report.breakers
    return {name: each for name, each in told.items() if name in breakers or not name.startswith(FAR_URL)}, broken


def _group(members: Members, name: str, what: str) -> str | None:
    member = members[name]
    return member.profile.region if what == "region" else member.provider if what == "provider" else member.model


def _sum(members: Members, names: list[str]) -> Capacity:
    total = sum(members[name].profile.max_concurrent for name in names)
    in_use = sum(members[name].in_use for name in names)
    free = sum(members[name].profile.max_concurrent - members[name].in_use for name in names if members[name].usable)
    return Capacity(len(names), total, in_use, free, total - in_use - free)
