"""What spoils a process of the simulated world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from .kernel import Program
from .system import System

__all__ = ["Cut", "Fault", "FaultsFor", "Way"]

Way: TypeAlias = Literal["out", "back"]
"""On a connection: from the client to the process, or to the client."""

Cut: TypeAlias = Literal["within", "behind"]
"""Where a connection drops: in the middle of a record, which is lost with it; or when that has arrived."""


class Fault:
    """Something that goes wrong with a process. Faults are frozen values: see :mod:`pi_trio.testing.faults`.

    A new one is a class that overrides one of the four methods.
    """

    def delay_spawn(self) -> float:
        """How many seconds longer the spawn takes."""
        return 0.0

    def check_spawn(self) -> None:
        """Called when the process would be started; an :class:`OSError` from here is what the spawn raises."""

    async def run(self, system: System, program: Program, acted: Callable[[], None]) -> int:
        """Run the program, and spoil it; call ``acted`` when that is done. Returns the exit code.

        What ``program`` is may have been spoilt by another fault already: they are put around each other.
        """
        del acted
        return await program(system)

    def cut(self, way: Way, record: int, end: int) -> Cut | None:
        """Whether a connection to the process drops now. Asked about each record that goes some way on it.

        Args:
            way: which.
            record: how many have gone that way, with this one: 1 is the first.
            end: how many bytes that is.
        """
        del way, record, end
        return None


FaultsFor = Callable[[str, int], Sequence[Fault]]
"""Given an instance and the number of its incarnation, what goes wrong with that one."""
