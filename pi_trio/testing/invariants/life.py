"""One instance, from its ``Registered`` to its terminal event: what was published of it, and its process trees."""

from __future__ import annotations

from functools import cached_property

import attrs

from ...launch import InstanceSpec
from ...lifecycle import Exited, InstanceEvent, InstanceState, Ready, StateChanged
from ..trace import RecordsDelivered, SpawnFailed, StopAsked
from .launch import Launch
from .placed import Placed

__all__ = ["TERMINAL_STATES", "Life"]

TERMINAL_STATES = frozenset({InstanceState.STOPPED, InstanceState.FAILED})


@attrs.define(eq=False)
class Life:
    """One instance."""

    instance: str
    registered: int
    """The place of its ``Registered``."""
    spec: InstanceSpec | None
    tree: str | None
    published: list[Placed[InstanceEvent]] = attrs.field(factory=list)
    launches: list[Launch] = attrs.field(factory=list)
    failed_spawns: list[tuple[int, Placed[SpawnFailed]]] = attrs.field(factory=list)
    """With the incarnation, as the runtime counts."""
    stops: list[Placed[StopAsked]] = attrs.field(factory=list)
    """What was asked of it, the end of the runtime's scope included."""
    delivered: list[Placed[RecordsDelivered]] = attrs.field(factory=list)

    @cached_property
    def states(self) -> list[Placed[StateChanged]]:
        """What was published of its states."""
        return [Placed(each.index, each.event) for each in self.published if isinstance(each.event, StateChanged)]

    @cached_property
    def readies(self) -> list[Placed[Ready]]:
        """What was published of its getting ready."""
        return [Placed(each.index, each.event) for each in self.published if isinstance(each.event, Ready)]

    @cached_property
    def exits(self) -> dict[int, Placed[Exited]]:
        """What was published first of the end of each incarnation."""
        found: dict[int, Placed[Exited]] = {}
        for each in self.published:
            if isinstance(each.event, Exited):
                found.setdefault(each.event.incarnation, Placed(each.index, each.event))
        return found

    @cached_property
    def terminal(self) -> Placed[StateChanged] | None:
        """Its end, if that was published."""
        return next((each for each in self.states if each.event.state in TERMINAL_STATES), None)

    def lives_at(self, index: int) -> bool:
        """Whether it had been registered, and was not over, at this place."""
        return self.registered < index and (self.terminal is None or self.terminal.index > index)

    def state_at(self, index: int) -> InstanceState:
        """What had been published last at this place."""
        state = InstanceState.STARTING
        for each in self.states:
            if each.index > index:
                break
            state = each.event.state
        return state

    def launch_of(self, incarnation: int) -> Launch | None:
        """Its process tree with this number, as the runtime counts."""
        return next((each for each in self.launches if each.incarnation == incarnation), None)

    def asked_before(self, index: int) -> bool:
        """Whether its end had been asked for."""
        return any(stop.index < index for stop in self.stops)
