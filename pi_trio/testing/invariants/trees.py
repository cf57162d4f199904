"""Supervision trees: the order in which children rise and fall."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from ...lifecycle import InstanceState, RestartScheduled, RestartType, StateChanged
from ...supervisor import Strategy
from ..trace import TreeOpened
from .invariant import Finding, invariant
from .life import TERMINAL_STATES, Life
from .placed import EPSILON, Placed
from .story import Story

__all__ = [
    "a_spent_budget_ends_the_tree",
    "children_restart_together",
    "children_rise_and_fall_in_order",
    "the_right_ones_fall_together",
]

_S = InstanceState


def _children(story: Story, tree: TreeOpened) -> list[Life]:
    """Those that were started, in the order of the tree."""
    lives = [story.life(name) for name in tree.children]
    return [life for life in lives if life is not None and life.tree == tree.scope]


@invariant(20)
def children_rise_and_fall_in_order(story: Story) -> Iterator[Finding]:
    """Children start in order and become ready in order; they are stopped in the reverse of it, side by side where the
    strategy allows. None is left when their tree's scope has exited.
    """
    for scope, opened in story.trees.items():
        children = _children(story, opened.event)
        for first, second in pairwise(children):
            ready = first.readies[0] if first.readies else None
            if ready is None or ready.index > second.registered:
                says = f"{second.instance} was started before {first.instance} was ready"
                yield Finding(says, ready, second.published[0])
        for place, life in enumerate(children):
            yield from _stand_before(children[:place], life, story.slack)
        over = story.scope_exits.get(scope)
        for life in children:
            if over is not None and (life.terminal is None or life.terminal.index > over.index):
                yield Finding(f"the scope of its tree is over, and {life.instance} is not", life.terminal, over)
        if opened.event.strategy is not Strategy.ONE_FOR_ONE and scope in story.left:
            yield from _fall_in_reverse(children, story.left[scope].index)


def _stand_before(others: list[Life], life: Life, slack: float) -> Iterator[Finding]:
    """Those before a child stand when it is started, and not only stood once."""
    at = life.published[0].event.at if life.published else 0.0
    for other in others:
        last = _last(other, life.registered)
        # One that falls in this very instant may be noticed too late.
        if last and last[0].event.state in (_S.BACKING_OFF, _S.STARTING) and last[0].event.at < at - slack:
            yield Finding(f"{other.instance} did not stand when {life.instance} was started", *last, life.published[0])


def _fall_in_reverse(children: list[Life], left: int) -> Iterator[Finding]:
    standing = [life for life in children if life.state_at(left) not in (*TERMINAL_STATES, _S.STOPPING)]
    for first, second in pairwise(standing):
        stopping = next((each for each in first.states if each.index > left and each.event.state is _S.STOPPING), None)
        if stopping is None or any(stop.index < stopping.index for stop in first.stops):
            continue  # it ended by itself, or somebody else asked
        if second.terminal is None or second.terminal.index > stopping.index:
            says = f"{first.instance} was stopped before {second.instance} was gone"
            yield Finding(says, stopping, second.terminal)


@invariant(17)
def a_spent_budget_ends_the_tree(story: Story) -> Iterator[Finding]:
    """When the restarts of a supervision tree are spent, and not before that, its body is cancelled at once, and
    ``RestartIntensityExceeded`` comes out of it.
    """
    for scope, opened in story.trees.items():
        failed = [
            Placed(each.index, each.event)
            for life in _children(story, opened.event)
            for each in life.states
            if each.event.state is _S.FAILED
        ]
        entered, left, over = story.entered.get(scope), story.left.get(scope), story.scope_exits.get(scope)
        first = min(failed, key=lambda each: each.index, default=None)
        if first is None or entered is None or entered.index > first.index:
            continue
        yield from _is_spent(story, opened, first)
        if left is None or left.event.at > first.event.at + story.slack:
            yield Finding("the body of its tree went on", first, left)
        elif (
            left.index > first.index
            and left.event.how == "cancelled"
            and over is not None
            and over.event.how not in ("RestartIntensityExceeded", "cancelled")
        ):
            yield Finding("that is not why the tree was given up", first, over)


def _is_spent(story: Story, opened: Placed[TreeOpened], failed: Placed[StateChanged]) -> Iterator[Finding]:
    """Whether there were as many restarts as it may have. Those that are taken down with another do not count."""
    since = failed.event.at - opened.event.period
    counted = 0
    for life in _children(story, opened.event):
        backing = [each for each in life.states if each.event.state is _S.BACKING_OFF and each.index < failed.index]
        due = [each.event for each in life.published if isinstance(each.event, RestartScheduled)]
        for down, scheduled in zip(backing, due, strict=False):
            own = not down.event.reason.startswith("goes down with")
            counted += own and scheduled.at + scheduled.delay > since
    if counted < opened.event.intensity:
        yield Finding(f"there were {counted} restarts, of {opened.event.intensity}", opened, failed)


@invariant(20)
def children_restart_together(story: Story) -> Iterator[Finding]:
    """A child that is started again with others finds those before it standing, and those behind it down."""
    for opened in story.trees.values():
        strategy = opened.event.strategy
        if strategy is Strategy.ONE_FOR_ONE:
            continue
        children = _children(story, opened.event)
        for place, life in enumerate(children):
            for launch in life.launches[1:]:
                spawned = launch.root.spawned
                for other in children[:place]:
                    if other.state_at(spawned.index) not in (_S.RUNNING, _S.STOPPING, *TERMINAL_STATES):
                        yield Finding(f"{other.instance} did not stand yet", spawned, *_last(other, spawned.index))
                for other in children[place + 1 :]:
                    if any(each.lives_at(spawned.index) for each in other.launches):
                        yield Finding(f"{other.instance} was not down yet", spawned, *_last(other, spawned.index))


def _last(life: Life, index: int) -> list[Placed[StateChanged]]:
    return [Placed(each.index, each.event) for each in life.states if each.index < index][-1:]


@invariant(20)
def the_right_ones_fall_together(story: Story) -> Iterator[Finding]:
    """A child that has to be started again takes those with it that the strategy says: nobody, those that were started
    after it, or everybody; and nobody else. A temporary child is never started again.
    """
    for opened in story.trees.values():
        children = _children(story, opened.event)
        for place, life in enumerate(children):
            for end in life.states:
                if end.event.state is not _S.BACKING_OFF:
                    continue
                if life.spec is not None and life.spec.restart.type is RestartType.TEMPORARY:
                    yield Finding(f"{life.instance} is temporary", end)
                elif _fell_by_itself(life, end):
                    yield from _others(opened.event.strategy, children, place, end, story.slack)


def _fell_by_itself(life: Life, end: Placed[StateChanged]) -> bool:
    """Whether nobody here had told it to, be it that it was dying already."""
    launch = life.launch_of(end.event.incarnation)
    if launch is None or launch.exited is None:
        return False
    index = launch.exited.index
    return not any(each.event.sender == "runtime" and each.index < index for each in launch.signals)


def _others(
    strategy: Strategy, children: list[Life], place: int, end: Placed[StateChanged], slack: float
) -> Iterator[Finding]:
    first = {Strategy.ONE_FOR_ONE: len(children), Strategy.REST_FOR_ONE: place + 1, Strategy.ONE_FOR_ALL: 0}[strategy]
    for number, other in enumerate(children):
        if number == place or other.state_at(end.index) is not _S.RUNNING:
            continue
        ended = _ended_from_here_at(other, end, slack)
        if number >= first and not ended and not _is_doomed_at(other, end):
            yield Finding(f"{other.instance} should have gone down with {children[place].instance}", end)
        elif (
            number < first
            and slack <= EPSILON  # else nobody knows what came of what
            and any(abs(act.event.at - end.event.at) <= EPSILON for act in ended)
            and not _has_another_cause(children, other, end)
        ):
            yield Finding(f"{other.instance} went down with {children[place].instance}", end, *ended[:1])


def _ended_from_here_at(life: Life, end: Placed[StateChanged], slack: float) -> list[Placed[Any]]:
    """What ended the instance in that moment."""
    ends: list[Placed[Any]] = []
    for launch in life.launches:
        acts = [*launch.sent("SIGTERM"), *launch.sent("SIGKILL")]
        if launch.root.lives_at(end.index) or (launch.exited and abs(launch.exited.event.at - end.event.at) <= slack):
            ends += [act for act in acts if act.event.at <= end.event.at + slack]
            ends += [launch.exited] if launch.exited and launch.exited.event.at <= end.event.at + slack else []
    return ends


def _is_doomed_at(life: Life, end: Placed[StateChanged]) -> bool:
    """Whether it has no process any more, or somebody else had ended that: nobody has noticed yet."""
    if not any(launch.root.lives_at(end.index) for launch in life.launches):
        return True
    return any(
        each.event.signal in ("SIGTERM", "SIGKILL") and each.event.at <= end.event.at + EPSILON
        for launch in life.launches
        if launch.root.lives_at(end.index)
        for each in launch.signals
    )


def _has_another_cause(children: list[Life], other: Life, end: Placed[StateChanged]) -> bool:
    """Whether it was asked for, or was being ended already, or somebody else fell in the same moment."""
    asked = any(stop.event.at <= end.event.at + EPSILON for stop in other.stops)
    if asked or (other.spec is not None and other.spec.health is not None):
        return True
    fallen = [
        each
        for child in children
        for each in child.states
        if each.event.state in (_S.BACKING_OFF, *TERMINAL_STATES) and abs(each.event.at - end.event.at) <= EPSILON
    ]
    return len(fallen) > 1
