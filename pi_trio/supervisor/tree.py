"""Supervision trees: instances that are started in order, fall and rise together, and stop in reverse.

The rules are OTP's. One restart budget counts for the whole tree; when it is spent, every child is stopped and
:class:`~pi_trio.errors.RestartIntensityExceeded` goes to whoever opened the tree.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator, Mapping, Sequence

import attrs
import trio

from ..errors import RestartIntensityExceeded, SpecError
from ..launch import InstanceSpec
from ..lifecycle import (
    GiveUp,
    InstanceState,
    Restart,
    RestartDecision,
    RestartHistory,
    RestartType,
    StayDown,
    StopManner,
    decide_restart,
)
from .incarnation import Ending
from .instance import Instance
from .supervisor import Kin, Supervisor

__all__ = ["ChildSpec", "Strategy", "SupervisionTree"]


class Strategy(enum.Enum):
    """Who is restarted with a child that has to be."""

    ONE_FOR_ONE = "one_for_one"
    """Nobody else."""
    REST_FOR_ONE = "rest_for_one"
    """Those that were started after it: they may depend on it."""
    ONE_FOR_ALL = "one_for_all"
    """Everybody: they depend on each other."""


def _name(_instance: object, _attribute: attrs.Attribute[str], value: str) -> None:
    if not value or "\0" in value:
        raise SpecError(f"a child's id must be a non-empty string without NUL, not {value!r}")


@attrs.frozen
class ChildSpec:
    """A child of a tree."""

    id: str = attrs.field(validator=_name)
    """Its name, in the tree and in the runtime."""
    spec: InstanceSpec
    """What it is. Of ``spec.restart`` the type and the backoff count; intensity and period are the tree's."""


class SupervisionTree(Kin, Mapping[str, Instance]):
    """A running tree: its children by their ids, in the order they were started."""

    def __init__(self, strategy: Strategy, intensity: int, period: float) -> None:
        self.strategy = strategy
        self.intensity = intensity
        self.period = period
        self._children: list[tuple[Supervisor, Instance]] = []
        self._starts: tuple[float, ...] = ()
        self._rising: set[Supervisor] = set()  # down, and to be started again
        self._news = trio.Event()
        self.failure: RestartIntensityExceeded | None = None
        """Why the tree was given up, if it was."""
        self._closing = False

    def __repr__(self) -> str:
        children = ", ".join(f"{child.instance_id} {child.state}" for child, _ in self._children)
        return f"<SupervisionTree {self.strategy.value}: {children}>"

    def __getitem__(self, child_id: str) -> Instance:
        for supervisor, instance in self._children:
            if supervisor.instance_id == child_id:
                return instance
        raise KeyError(child_id)

    def __iter__(self) -> Iterator[str]:
        return iter([supervisor.instance_id for supervisor, _ in self._children])

    def __len__(self) -> int:
        return len(self._children)

    def add(self, supervisor: Supervisor, instance: Instance) -> None:
        """A child that is being started: behind all the others."""
        self._children.append((supervisor, instance))

    # --- what a child's supervisor asks -----------------------------------------------------------------

    def decide(self, supervisor: Supervisor, ending: Ending, ran_for: float) -> RestartDecision:
        """What follows the ending of a child; the others that have to fall with it are brought down."""
        history = RestartHistory(self._starts, supervisor.history.in_a_row)
        policy = attrs.evolve(supervisor.spec.restart, intensity=self.intensity, period=self.period)
        decision = decide_restart(
            policy,
            history,
            clean=ending.clean,
            ran_for=ran_for,
            now=trio.current_time(),
            random=random.random(),
        )
        if isinstance(decision, Restart):
            if self._closing:
                return StayDown()
            self._starts = decision.history.starts
            self._rising.add(supervisor)
            self._bring_down(supervisor)
        elif isinstance(decision, GiveUp):
            self.failure = RestartIntensityExceeded(
                instance_id=supervisor.instance_id,
                intensity=self.intensity,
                period=self.period,
                status=ending.status,
                stderr_tail=ending.stderr_tail,
            )
            self._announce()
        return decision

    def _bring_down(self, fallen: Supervisor) -> None:
        order = [child for child, _ in self._children]
        if self.strategy is Strategy.ONE_FOR_ONE:
            return
        first = order.index(fallen) + 1 if self.strategy is Strategy.REST_FOR_ONE else 0
        why = f"goes down with {fallen.instance_id}"
        for child in reversed(order[first:]):
            if child is fallen or child.state in _DOWN_FOR_GOOD or child.state is InstanceState.BACKING_OFF:
                continue
            if child.spec.restart.type is RestartType.TEMPORARY:
                child.request_stop(StopManner.PROMPT, why)
            else:
                self._rising.add(child)
                child.request_replacement(why)

    async def wait_turn(self, supervisor: Supervisor) -> None:
        """Return when those before it stand again, and those behind it are down."""
        while not self._is_its_turn(supervisor):
            await self._news.wait()

    async def wait_until_all_stand(self) -> None:
        """Return when no child has to be started again: the next one may depend on them."""
        while self._rising and not self._closing and self.failure is None:
            await self._news.wait()

    def _is_its_turn(self, supervisor: Supervisor) -> bool:
        if self._closing:
            return False  # its stop is on the way
        if self.strategy is Strategy.ONE_FOR_ONE:
            return True
        before = True
        for child, _ in self._children:
            if child is supervisor:
                before = False
            elif self._is_in_the_way(child, before=before):
                return False
        return True

    def _is_in_the_way(self, child: Supervisor, *, before: bool) -> bool:
        """Whether the start of another has to wait for this child, which stands ``before`` it, or behind."""
        if child.leaving:
            return not before or self.strategy is Strategy.ONE_FOR_ALL
        return child in self._rising and (before or child.state is not InstanceState.BACKING_OFF)

    def changed(self, supervisor: Supervisor) -> None:
        """A child is in another state."""
        if supervisor.state is InstanceState.RUNNING or supervisor.state in _DOWN_FOR_GOOD:
            self._rising.discard(supervisor)
        self._announce()

    def _announce(self) -> None:
        self._news.set()
        self._news = trio.Event()

    # --- the tree's own life ------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Wait for the end: returns when the tree is being closed.

        Raises:
            RestartIntensityExceeded: the budget is spent.
        """
        while not self._closing:
            if self.failure is not None:
                raise self.failure
            await self._news.wait()

    async def stop(self, manner: StopManner, why: str) -> None:
        """Stop the children, the last started first, each when the one behind it is gone.

        With ``one_for_one`` they do not depend on each other, and stop side by side.
        """
        self._closing = True
        self._announce()
        if self.strategy is Strategy.ONE_FOR_ONE:
            for child, _ in self._children:
                child.request_stop(manner, why)
        for child, _ in reversed(self._children):
            child.request_stop(manner, why)
            await child.wait_stopped()


_DOWN_FOR_GOOD = frozenset({InstanceState.STOPPING, InstanceState.STOPPED, InstanceState.FAILED})


def check_children(children: Sequence[ChildSpec]) -> None:
    """Refuse a tree that cannot be.

    Raises:
        SpecError: it has no child, or two with one id.
    """
    ids = [child.id for child in children]
    if not ids:
        raise SpecError("a supervision tree needs at least one child")
    twice = {child_id for child_id in ids if ids.count(child_id) > 1}
    if twice:
        raise SpecError(f"children of one tree need different ids; twice there: {', '.join(sorted(twice))}")
