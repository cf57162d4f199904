"""What goes wrong before a Pi is ready."""

from __future__ import annotations

import errno
import os
from typing import Literal

import attrs

from ..world import Fault, Program, System
from .filter import Acted

__all__ = ["BadSpawn", "HangingStart", "SlowSpawn", "SlowStart"]


@attrs.frozen
class BadSpawn(Fault):
    """The system refuses to start the process."""

    error: Literal["EAGAIN", "EACCES", "EMFILE", "ENOENT", "ENOMEM", "ENOSPC"] = "EAGAIN"

    def check_spawn(self) -> None:
        """Raise that error."""
        number = getattr(errno, self.error)
        raise OSError(number, os.strerror(number))


@attrs.frozen
class SlowSpawn(Fault):
    """The system takes its time until the process runs."""

    seconds: float

    def delay_spawn(self) -> float:
        """As long as it says."""
        return self.seconds


@attrs.frozen
class SlowStart(Fault):
    """The program takes its time until it does anything."""

    seconds: float

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        """See :class:`Fault`, here and below."""
        acted()
        await system.sleep(self.seconds)
        return await program(system)


@attrs.frozen
class HangingStart(Fault):
    """The program never does anything."""

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        del program
        acted()
        await system.sleep(float("inf"))
        return 0
