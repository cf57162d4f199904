"""What goes wrong at the end of a Pi, or ends it."""

from __future__ import annotations

import attrs

from ..clock import sleep
from ..world import Fault, Program, System
from .filter import Acted, Filter

__all__ = ["Crash", "CrashAtRecord", "HalfRecordAtExit", "IgnoredEnd", "IgnoredSigterm", "SlowDeath"]

_HALF_A_RECORD = b'{"type":"message_update","assistantMessageEv'


def _die(system: System, how: int | str) -> None:
    """Exit with this code, or by this signal."""
    if isinstance(how, str):
        system.signal_from_outside(how)
    else:
        system.exit(how)


@attrs.frozen
class Crash(Fault):
    """After so many seconds the process ends, whatever it is doing."""

    seconds: float
    how: int | str = 1
    """An exit code, or the name of a signal."""
    last_words: str = ""
    """Written to stderr before."""

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        async def crash() -> None:
            await sleep(self.seconds)
            if isinstance(self.how, int):
                await system.wait_running()
            acted()
            system.write_nowait(2, self.last_words.encode())
            _die(system, self.how)

        system.start_outside(crash)
        return await program(system)


@attrs.frozen
class CrashAtRecord(Fault):
    """The process ends when it would write its n-th record: before it, behind it, or in the middle of it."""

    record: int
    """1 is the first, which makes it ready."""
    how: int | str = 1
    """An exit code, or the name of a signal."""
    written: float = 0.0
    """How much of the record is written all the same, from 0.0 to 1.0."""

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        system.stdout = _CrashingStream(self, system, acted)
        return await program(system)


@attrs.frozen
class HalfRecordAtExit(Fault):
    """When the program returns, it has written half a record more."""

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        code = await program(system)
        acted()
        system.write_nowait(1, _HALF_A_RECORD)
        return code


@attrs.frozen
class SlowDeath(Fault):
    """Killed or not, it takes so many seconds until it is gone: it is in an uninterruptible system call."""

    seconds: float

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        acted()
        system.process.exit_seconds = self.seconds
        return await program(system)


@attrs.frozen
class IgnoredSigterm(Fault):
    """SIGTERM, SIGINT and SIGHUP do nothing."""

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        acted()
        system.process.block("SIGTERM", "SIGINT", "SIGHUP")
        return await program(system)


@attrs.frozen
class IgnoredEnd(Fault):
    """The end of stdin does nothing."""

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        read = system.read_stdin

        async def read_for_ever() -> bytes:
            data = await read()
            if not data:
                acted()
                await system.sleep(float("inf"))
            return data

        system.read_stdin = read_for_ever
        return await program(system)


class _CrashingStream(Filter):
    def __init__(self, fault: CrashAtRecord, system: System, acted: Acted) -> None:
        super().__init__(system, acted)
        self._fault = fault

    def write(self, data: bytes) -> None:
        if self._count + 1 < self._fault.record:
            super().write(data)
        elif self._count + 1 == self._fault.record:
            self._acted()
            super().write(data[: round(len(data) * self._fault.written)])
            _die(self._system, self._fault.how)
