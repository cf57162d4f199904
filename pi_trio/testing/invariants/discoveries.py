"""Members that are somewhere else: who they are, and how they are watched."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import attrs

from ...lifecycle import (
    Breaker,
    BreakerChanged,
    BreakerState,
    DiscoveryBreakerChanged,
    DiscoveryFailed,
    Health,
    Registered,
    Unregistered,
)
from ..discovering import FOUND, WATCH
from ..trace import DiscoveryBegun, DiscoveryEnded, DiscoveryTold, Limited, MemberAnswered, MemberAsked
from .invariant import Finding, invariant
from .members import Member, Members
from .placed import EPSILON, Placed
from .story import Story

__all__ = [
    "discoveries_are_run_again",
    "members_are_what_discoveries_tell",
    "the_far_are_watched",
    "the_silent_are_out",
]


@invariant(0)
def members_are_what_discoveries_tell(story: Story) -> Iterator[Finding]:
    """What a discovery tells of is a member from then on, and what it does not tell of any more is none, nor is anything
    that it found when it is not wanted any more. Who was told by another first is theirs.
    """
    if not story.all(DiscoveryBegun):
        return
    told: dict[str, Placed[DiscoveryTold]] = {}
    theirs: dict[str, set[str]] = {}  # told by it, and somebody else's
    out: set[str] = set()  # silent, and out for it
    for members, each in _moments(story):
        event = each.event
        if isinstance(event, DiscoveryTold):
            theirs[event.discovery] = _of_others(members, told, theirs, event)
            told[event.discovery] = Placed(each.index, event)
        elif isinstance(event, DiscoveryEnded):
            told.pop(event.discovery, None)
        elif isinstance(event, Unregistered):
            out = out | {event.instance_id} if "unhealthy" in event.reason else out
        elif isinstance(event, Registered):
            out.discard(event.instance_id)
        elif event is None:
            for found in _compare(members, told, theirs, out):
                yield found
                return


def _of_others(
    members: Members, told: dict[str, Placed[DiscoveryTold]], theirs: dict[str, set[str]], event: DiscoveryTold
) -> set[str]:
    """Who is somebody else's when this is told; or was, and has not been told of again."""
    own = event.discovery
    others = {name for name, member in members.items() if member.profile.source != own}
    for other, last in told.items():  # silent ones among them
        others |= {found.instance_id for found in last.event.members} if other != own else set()
    return (others | theirs.get(own, set())) & {found.instance_id for found in event.members}


def _compare(
    members: Members, told: dict[str, Placed[DiscoveryTold]], theirs: dict[str, set[str]], out: set[str]
) -> Iterator[Finding]:
    for discovery, last in told.items():
        for found in last.event.members:
            name = found.instance_id
            if name in theirs[discovery] or name in out:
                continue
            if name not in members:
                yield Finding(f"{name} is no member", last)
            elif attrs.evolve(found.profile, source=discovery) != members[name].profile:
                yield Finding(f"{name} is a member as it was before: {members[name].profile}", last)
    for name, member in members.items():
        source = member.profile.source
        names = {found.instance_id for found in told[source].event.members} if source in told else set()
        if source.startswith(FOUND) and name not in names:
            yield Finding(f"{name} is a member, and {source} does not tell of it", told.get(source))


def _moments(story: Story) -> Iterator[tuple[Members, Placed[Any]]]:
    """All that matters here, in order, with the members then; and ``None`` where time passes behind it."""
    kinds = (DiscoveryTold, DiscoveryEnded)
    own: list[Placed[Any]] = [each for kind in kinds for each in story.all(kind)]
    own += [each for each in story.numbered if isinstance(each.event, Registered | Unregistered)]
    own.sort(key=lambda each: each.index)
    members = Members()
    events = story.trace.events
    for at, each in enumerate(own):
        if isinstance(each.event, Registered | Unregistered):
            members.take(each.event)
        yield members, each
        following = own[at + 1].event.at if at + 1 < len(own) else story.end_at
        if following > events[each.index].at + story.slack:
            yield members, Placed(each.index, None)


# Behind a failure at least, whatever its breaker says.
_PAUSE = 1.0


@invariant(0)
def discoveries_are_run_again(story: Story) -> Iterator[Finding]:
    """A discovery that failed is run again: a second later, or when its breaker allows; and it tells what is there."""
    ends: list[Placed[Any]] = [each for each in (story.left.get("runtime"),) if each is not None]
    for each in story.numbered:
        if not isinstance(each.event, DiscoveryFailed):
            continue
        name, failed = each.event.discovery, each.event
        changes = [
            other.event.breaker
            for other in story.numbered
            if isinstance(other.event, DiscoveryBreakerChanged)
            and (other.event.discovery, other.event.at) == (name, failed.at)
            and other.index >= each.index
        ]
        retry_at = changes[-1].retry_at if changes else None
        due = max(failed.at + _PAUSE, 0.0 if retry_at is None else retry_at)
        over = [end.event.at for end in ends] + [
            end.event.at for end in story.all(DiscoveryEnded) if end.event.discovery == name
        ]
        told = [one for one in story.all(DiscoveryTold) if one.event.discovery == name and one.index > each.index]
        if told and told[0].event.at < due - EPSILON:
            yield Finding(f"it was to be run again at {due:g}", each, told[0])
        elif min([*over, story.end_at]) > due + story.slack and (not told or told[0].event.at > due + story.slack):
            yield Finding(f"it was to be run again at {due:g}", each, *told[:1])


@attrs.define(eq=False)
class _Watched:
    """One member as the answers that came of it tell."""

    since: Placed[Any]
    health: Health = Health.UNKNOWN
    misses: int = 0
    unhealthy_since: float | None = None
    due: float = 0.0
    out: bool = False
    breaker: Breaker = attrs.field(factory=Breaker)
    """That of its endpoint, where nobody else is reached; as it was last told."""
    opens_at: int = 1
    """How many failures in a row open that."""

    @property
    def ask_at(self) -> float:
        """When it is to be asked again, at the latest."""
        if self.breaker.state is BreakerState.CLOSED:
            return self.due
        # An open breaker sends one probe. Of one that is out, nobody is told when the next one is due.
        probe_at = self.breaker.retry_at if self.breaker.state is BreakerState.OPEN and not self.out else None
        return math.inf if probe_at is None else probe_at

    def take_breaker(self, event: BreakerChanged) -> None:
        self.breaker = event.breaker
        self.due = max(self.due, event.at)

    def take(self, answered: MemberAnswered) -> None:
        policy = WATCH.health
        if answered.latency is not None:
            slow = answered.latency > policy.slow_after
            self.health, self.misses, self.unhealthy_since = Health.DEGRADED if slow else Health.HEALTHY, 0, None
        else:
            self.misses += 1
            self._fail_silently()
            self.health = Health.UNHEALTHY if self.misses >= policy.misses else Health.DEGRADED
        if self.health is Health.UNHEALTHY and self.unhealthy_since is None:
            self.unhealthy_since = answered.at
        self.due = answered.at + policy.period

    def _fail_silently(self) -> None:
        """While it is out, nobody is told of its breaker."""
        before = self.breaker
        if self.out and before.state is BreakerState.CLOSED:
            state = BreakerState.OPEN if before.failures + 1 >= self.opens_at else before.state
            self.breaker = attrs.evolve(before, state=state, failures=before.failures + 1)


@invariant(0)
def the_far_are_watched(story: Story) -> Iterator[Finding]:
    """A member that was found is asked at once how it is, and then so often as the policy says, for as long as it is one
    or may be one again; while its breaker is open, when that sends its probe. Its health is what came of that.
    """
    for name, each, watched, member in _watch(story):
        if each.event.at > watched.ask_at + story.slack:
            yield Finding(f"{name} was to be asked again at {watched.ask_at:g}", watched.since, each)
            return
        if member is not None and member.health is not watched.health:
            yield Finding(f"{name} is {watched.health}, not {member.health}", watched.since, each)
            return


@invariant(0)
def the_silent_are_out(story: Story) -> Iterator[Finding]:
    """A member that was found, and is unhealthy for longer than it may be, is no member any more; until it answers."""
    for name, each, watched, member in _watch(story):
        silent = watched.unhealthy_since
        late = silent is not None and each.event.at - silent > WATCH.remove_after + WATCH.health.period + _PROBE
        if late and member is not None:
            yield Finding(f"{name} has been unhealthy since {silent:g}", watched.since, each)
            return
        if silent is None and member is None and watched.health is not Health.UNKNOWN:
            yield Finding(f"{name} has answered, and is out", watched.since, each)
            return


_PROBE = WATCH.health.timeout + EPSILON


def _watch(story: Story) -> Iterator[tuple[str, Placed[Any], _Watched, Member | None]]:
    """Every found member at each moment behind which time passes, until the runtime is being closed."""
    if not story.all(DiscoveryBegun):
        return
    left = story.left.get("runtime")
    watched: dict[str, _Watched] = {}
    asked: dict[str, int] = defaultdict(int)  # how often, with no answer yet
    members = Members()
    opens_at = min((each.event.breaker.failures for each in story.all(Limited)), default=1)
    kinds = (MemberAsked, MemberAnswered, DiscoveryTold, DiscoveryEnded)
    events: list[Placed[Any]] = [*story.numbered]
    for kind in kinds:
        events += story.all(kind)
    events.sort(key=lambda each: each.index)
    for at, each in enumerate(events):
        if left is not None and each.index > left.index:
            return
        _note(watched, members, asked, each, opens_at)
        now = story.trace.events[each.index].at
        following = events[at + 1].event.at if at + 1 < len(events) else now
        if following > now + story.slack:
            for name, one in watched.items():
                if not asked[name]:
                    yield name, Placed(each.index, _At(now)), one, members.get(name)


@attrs.frozen
class _At:
    at: float


def _forget_silent(watched: dict[str, _Watched], event: DiscoveryTold | DiscoveryEnded) -> None:
    """Who is out, and not looked for any more, goes without a word."""
    there = {found.instance_id for found in event.members} if isinstance(event, DiscoveryTold) else set()
    for name, one in list(watched.items()):
        if one.out and one.since.event.profile.source == event.discovery and name not in there:
            del watched[name]


def _note(
    watched: dict[str, _Watched], members: Members, asked: dict[str, int], each: Placed[Any], opens_at: int
) -> None:
    event = each.event
    if isinstance(event, MemberAsked):
        asked[event.member] += 1
        return
    if isinstance(event, MemberAnswered):
        asked[event.member] = max(0, asked[event.member] - 1)
        if event.member in watched:
            watched[event.member].take(event)
        return
    if isinstance(event, DiscoveryTold | DiscoveryEnded):
        _forget_silent(watched, event)
        return
    members.take(event)
    if isinstance(event, BreakerChanged) and event.instance_id in watched:
        watched[event.instance_id].take_breaker(event)
    elif isinstance(event, Registered) and event.profile.source.startswith(FOUND):
        one = watched.get(event.instance_id)
        if one is not None and one.out and one.unhealthy_since is None:
            one.out = False  # it has answered, and is back
        else:
            watched[event.instance_id] = _Watched(each, due=event.at, opens_at=opens_at)
            asked[event.instance_id] = 0
    elif isinstance(event, Unregistered) and event.instance_id in watched:
        if "unhealthy" in event.reason:
            watched[event.instance_id].out = True
        else:
            del watched[event.instance_id]
