"""Processes that a Pi leaves behind."""

from __future__ import annotations

from typing import Literal

import attrs

from ..world import Fault, Program, System
from .filter import Acted

__all__ = ["Grandchild"]


@attrs.frozen
class Grandchild(Fault):
    """The process starts another, which stays: for ever, or for so many seconds."""

    kind: Literal["child", "setsid", "daemon"] = "daemon"
    """A plain child; one in a session of its own; or one that is nobody's child any more."""
    holds_stdout: bool = False
    """Whether it keeps the pipes open, so that they do not end with their process."""
    seconds: float = 0.0
    """When it is started."""
    lives: float | None = None
    ignores_signals: bool = True
    """All but SIGKILL."""

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        async def stay(other: System) -> int:
            if self.ignores_signals:
                other.process.block("SIGTERM", "SIGINT", "SIGHUP")
            if not self.holds_stdout:
                for fd in (0, 1, 2):
                    other.close(fd)
            await other.sleep(float("inf") if self.lives is None else self.lives)
            return 0

        async def fork_twice(other: System) -> int:
            other.spawn(stay, "daemon", new_session=True)
            return 0

        async def start() -> None:
            await system.sleep(self.seconds)
            acted()
            if self.kind == "daemon":
                await system.wait(system.spawn(fork_twice, "fork", new_session=True))
            else:
                await system.wait(system.spawn(stay, self.kind, new_session=self.kind == "setsid"))

        system.start_soon(start)
        return await program(system)
