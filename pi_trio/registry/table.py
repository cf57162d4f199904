"""What is known of every instance, folded from its events. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ..abc import ExitStatus
from ..lifecycle import (
    Exited,
    Health,
    HealthChanged,
    InstanceEvent,
    InstanceState,
    Ready,
    Registered,
    RestartScheduled,
    StateChanged,
)

__all__ = ["Entry", "fold"]


@attrs.frozen
class Entry:
    """One instance, as its events tell."""

    instance_id: str
    provider: str | None
    model: str | None
    cwd: str
    state: InstanceState = InstanceState.STARTING
    health: Health = Health.UNKNOWN
    incarnation: int = 0
    pid: int | None = None
    session_id: str | None = None
    exit_status: ExitStatus | None = None
    restart_at: float | None = None
    """When its next process is due, on the Trio clock, while it is backing off."""
    reason: str = ""
    """Why it is in its state."""
    since: float = 0.0
    """When it got there, on the Trio clock."""


def fold(table: Mapping[str, Entry], event: InstanceEvent) -> dict[str, Entry]:
    """The table after ``event``. An event of an instance that was never registered changes nothing."""
    name = event.instance_id
    if isinstance(event, Registered):
        return {**table, name: Entry(name, event.provider, event.model, event.cwd, since=event.at)}
    entry = table.get(name)
    if entry is None:
        return dict(table)
    if isinstance(event, StateChanged):
        entry = attrs.evolve(
            entry,
            state=event.state,
            incarnation=event.incarnation,
            restart_at=None,
            reason=event.reason,
            since=event.at,
        )
    elif isinstance(event, Ready):
        entry = attrs.evolve(entry, pid=event.pid, session_id=event.session_id)
    elif isinstance(event, Exited):
        entry = attrs.evolve(entry, pid=None, exit_status=event.status)
    elif isinstance(event, HealthChanged):
        entry = attrs.evolve(entry, health=event.health)
    elif isinstance(event, RestartScheduled):
        entry = attrs.evolve(entry, restart_at=event.at + event.delay)
    return {**table, name: entry}
