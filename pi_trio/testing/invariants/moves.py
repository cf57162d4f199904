"""When members that are somewhere else come and go."""

from __future__ import annotations

from ...lifecycle import Registered, Unregistered
from ..discovering import FAR
from .story import Story

__all__ = ["Moves"]


class Moves:
    """When who is somewhere else becomes a member, and when it is none any more.

    Its breaker is that of its endpoint, which counts on while the table has yet to follow: what a discovery decides is in
    the table a turn later. So in that moment the two may differ.
    """

    def __init__(self, story: Story) -> None:
        self._slack = story.slack
        self._moved_at: dict[str, list[float]] = {}
        for each in story.numbered:
            if isinstance(each.event, Registered | Unregistered) and each.event.instance_id.startswith(FAR):
                self._moved_at.setdefault(each.event.instance_id, []).append(each.event.at)

    def are_near(self, name: str, at: float) -> bool:
        """Whether this one comes or goes in this moment."""
        return any(abs(at - moved_at) <= self._slack for moved_at in self._moved_at.get(name, ()))
