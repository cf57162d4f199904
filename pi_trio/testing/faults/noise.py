"""Silence where something should come, and noise where nothing should."""

from __future__ import annotations

from typing import Literal

import attrs
import orjson

from ..clock import sleep
from ..world import Fault, Program, System
from .filter import Acted, Filter

__all__ = ["Flood", "GarbageLines", "Mute", "SplitWrites", "Stopped", "StopsReading"]


@attrs.frozen
class Stopped(Fault):
    """SIGSTOP after so many seconds; SIGCONT after so many more, or never."""

    seconds: float
    pause: float | None = None

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        async def stop() -> None:
            await sleep(self.seconds)
            acted()
            system.signal_from_outside("SIGSTOP")
            if self.pause is not None:
                await sleep(self.pause)
                system.signal_from_outside("SIGCONT")

        system.start_outside(stop)
        return await program(system)


@attrs.frozen
class StopsReading(Fault):
    """After so many bytes it reads its stdin no more."""

    after_bytes: int = 0

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        read = system.read_stdin
        taken = 0

        async def read_some() -> bytes:
            nonlocal taken
            if taken >= self.after_bytes:
                acted()
                await system.sleep(float("inf"))
            data = await read()
            taken += len(data)
            return data

        system.read_stdin = read_some
        return await program(system)


@attrs.frozen
class Mute(Fault):
    """After so many records it writes nothing more, and lives."""

    records: int

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        system.stdout = _MuteStream(self, system, acted)
        return await program(system)


@attrs.frozen
class Flood(Fault):
    """Lines without end: to stdout (records that nobody asked for) or to stderr."""

    stream: Literal["stdout", "stderr"] = "stdout"
    seconds: float = 0.0
    """When it begins."""
    period: float = 0.01
    """From one burst to the next. Not 0: virtual time would stand still."""
    burst_bytes: int = 10_000

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        line = orjson.dumps({"type": "flood", "text": "x" * 100}, option=orjson.OPT_APPEND_NEWLINE)
        burst = line * max(1, self.burst_bytes // len(line))

        async def flood() -> None:
            await system.sleep(self.seconds)
            acted()
            while True:
                if self.stream == "stdout":
                    system.stdout.write(burst)
                    await system.stdout.wait_flushed()
                else:
                    await system.write(2, burst)
                await system.sleep(self.period)

        system.start_soon(flood)
        return await program(system)


@attrs.frozen
class GarbageLines(Fault):
    """Before every n-th record stands a line that is none."""

    every: int = 1
    line: bytes = b"npm warn deprecated \xff\x00"

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        system.stdout = _GarbageStream(self, system, acted)
        return await program(system)


@attrs.frozen
class SplitWrites(Fault):
    """What is written arrives in pieces of so many bytes, with moments between them."""

    piece_bytes: int = 7
    moment: float = 0.0005
    """Seconds."""
    pieces: int = 20
    """So many, then the rest of the record at once: a long one would take for ever."""

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        acted()
        system.stdout = _SplitStream(self, system)
        return await program(system)


class _MuteStream(Filter):
    def __init__(self, fault: Mute, system: System, acted: Acted) -> None:
        super().__init__(system, acted)
        self._fault = fault

    def write(self, data: bytes) -> None:
        if self._count < self._fault.records:
            super().write(data)
        else:
            self._acted()


class _GarbageStream(Filter):
    def __init__(self, fault: GarbageLines, system: System, acted: Acted) -> None:
        super().__init__(system, acted)
        self._fault = fault

    def write(self, data: bytes) -> None:
        if self._count % self._fault.every == 0:
            self._acted()
            self._below.write(self._fault.line + b"\n")
        super().write(data)


class _SplitStream(Filter):
    def __init__(self, fault: SplitWrites, system: System) -> None:
        super().__init__(system, lambda: None)
        self._fault = fault
        self._waiting: list[bytes] = []
        self._busy = False

    def write(self, data: bytes) -> None:
        cut = self._fault.piece_bytes
        last = cut * self._fault.pieces
        self._waiting += [data[start : start + cut] for start in range(0, min(last, len(data)), cut)]
        if len(data) > last:
            self._waiting.append(data[last:])
        if not self._busy:
            self._busy = True
            self._system.start_soon(self._trickle)

    async def _trickle(self) -> None:
        while self._waiting:
            self._below.write(self._waiting.pop(0))
            await self._below.wait_flushed()
            await self._system.sleep(self._fault.moment)
        self._busy = False

    async def wait_flushed(self) -> None:
        while self._busy:
            await self._system.sleep(self._fault.moment)
        await self._below.wait_flushed()
