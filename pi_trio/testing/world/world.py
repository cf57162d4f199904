"""What a plan needs of a world, simulated or real."""

from __future__ import annotations

from abc import abstractmethod

from ...abc import ProcessHost
from .fault import FaultsFor

__all__ = ["World"]


class World(ProcessHost):
    """A host whose processes a plan can reach: the simulated world, or a real system that is recorded."""

    faults: FaultsFor
    """What goes wrong with the incarnations that are started from now on."""

    @property
    @abstractmethod
    def open_ends(self) -> int:
        """How many ends of pipes the runtime has open."""

    @abstractmethod
    def signal_root(self, instance: str, name: str) -> None:
        """Send a signal to the root of an instance's youngest tree, as somebody at a terminal would.

        Nothing happens when there is none, or it was reaped.
        """

    def kill_keeper(self, instance: str) -> None:
        """Kill the keeper of an instance's youngest tree, where its host has any that can be reached."""
        del instance
