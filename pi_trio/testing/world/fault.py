"""What spoils a process of the simulated world."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .kernel import Program
from .system import System

__all__ = ["Fault", "FaultsFor"]


class Fault:
    """Something that goes wrong with a process. Faults are frozen values: see :mod:`pi_trio.testing.faults`.

    A new one is a class that overrides one of the three methods.
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


FaultsFor = Callable[[str, int], Sequence[Fault]]
"""Given an instance and the number of its incarnation, what goes wrong with that one."""
