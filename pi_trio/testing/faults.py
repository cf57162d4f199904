"""What can go wrong with a Pi, as values: each a small frozen class that spoils one thing.

A fault is given to a world with the incarnation it is for (``open_world(faults=...)``). Several for one process are put
around each other, the last outermost. What stands in front of a program's stdout is a filter: it sees whole records.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs
import orjson
import trio

from .world import Fault, Program, Stream, System

__all__ = [
    "FAULTS",
    "BadSpawn",
    "Crash",
    "CrashAtRecord",
    "DuplicatedResponses",
    "Flood",
    "GarbageLines",
    "Grandchild",
    "HalfRecordAtExit",
    "HangingStart",
    "IgnoredEnd",
    "IgnoredSigterm",
    "LateResponses",
    "LostResponses",
    "Mute",
    "ResponsesOutOfOrder",
    "ResponsesWithoutId",
    "SlowDeath",
    "SlowSpawn",
    "SlowStart",
    "SplitWrites",
    "Stopped",
    "StopsReading",
]

Acted: TypeAlias = Callable[[], None]

_HALF_A_RECORD = b'{"type":"message_update","assistantMessageEv'


# --- the start ----------------------------------------------------------------------------------------------


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


# --- the end ------------------------------------------------------------------------------------------------


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
            await trio.sleep(self.seconds)
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


# --- silence and noise --------------------------------------------------------------------------------------


@attrs.frozen
class Stopped(Fault):
    """SIGSTOP after so many seconds; SIGCONT after so many more, or never."""

    seconds: float
    pause: float | None = None

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        async def stop() -> None:
            await trio.sleep(self.seconds)
            acted()
            system.signal_from_outside("SIGSTOP")
            if self.pause is not None:
                await trio.sleep(self.pause)
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


# --- responses ----------------------------------------------------------------------------------------------


@attrs.frozen
class DuplicatedResponses(Fault):
    """Every n-th response comes twice."""

    every: int = 1

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        system.stdout = _ResponseStream(system, self.every, acted, lambda stream, line: stream.write(line * 2))
        return await program(system)


@attrs.frozen
class ResponsesWithoutId(Fault):
    """Every n-th response has lost its id, and so belongs to no request."""

    every: int = 2

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        def strip(stream: Stream, line: bytes) -> None:
            record = orjson.loads(line)
            record.pop("id", None)
            stream.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))

        system.stdout = _ResponseStream(system, self.every, acted, strip)
        return await program(system)


@attrs.frozen
class LostResponses(Fault):
    """Every n-th response never comes."""

    every: int = 2

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        system.stdout = _ResponseStream(system, self.every, acted, lambda _stream, _line: None)
        return await program(system)


@attrs.frozen
class LateResponses(Fault):
    """Every n-th response comes so many seconds later."""

    seconds: float
    every: int = 1

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        def delay(stream: Stream, line: bytes) -> None:
            async def later() -> None:
                await system.sleep(self.seconds)
                stream.write(line)

            system.start_soon(later)

        system.stdout = _ResponseStream(system, self.every, acted, delay)
        return await program(system)


@attrs.frozen
class ResponsesOutOfOrder(Fault):
    """Every other response waits for the one behind it, at most so many seconds."""

    seconds: float = 0.05

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        system.stdout = _SwappingStream(self, system, acted)
        return await program(system)


# --- grandchildren ------------------------------------------------------------------------------------------


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


# --- what stands in front of a stdout -----------------------------------------------------------------------


class _Filter(Stream):
    def __init__(self, system: System, acted: Acted) -> None:
        self._system = system
        self._below = system.stdout
        self._acted = acted
        self._count = 0

    def write(self, data: bytes) -> None:
        self._count += 1
        self._below.write(data)

    async def wait_flushed(self) -> None:
        await self._below.wait_flushed()


class _CrashingStream(_Filter):
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


class _MuteStream(_Filter):
    def __init__(self, fault: Mute, system: System, acted: Acted) -> None:
        super().__init__(system, acted)
        self._fault = fault

    def write(self, data: bytes) -> None:
        if self._count < self._fault.records:
            super().write(data)
        else:
            self._acted()


class _GarbageStream(_Filter):
    def __init__(self, fault: GarbageLines, system: System, acted: Acted) -> None:
        super().__init__(system, acted)
        self._fault = fault

    def write(self, data: bytes) -> None:
        if self._count % self._fault.every == 0:
            self._acted()
            self._below.write(self._fault.line + b"\n")
        super().write(data)


class _SplitStream(_Filter):
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


class _ResponseStream(_Filter):
    """Hands every n-th response to ``spoil``, with the stream it was to be written to."""

    def __init__(self, system: System, every: int, acted: Acted, spoil: Callable[[Stream, bytes], None]) -> None:
        super().__init__(system, acted)
        self._every = every
        self._spoil = spoil

    def write(self, data: bytes) -> None:
        if not _is_response(data):
            self._below.write(data)
            return
        self._count += 1
        if self._count % self._every == 0:
            self._acted()
            self._spoil(self._below, data)
        else:
            self._below.write(data)


class _SwappingStream(_Filter):
    def __init__(self, fault: ResponsesOutOfOrder, system: System, acted: Acted) -> None:
        super().__init__(system, acted)
        self._fault = fault
        self._held = b""

    def write(self, data: bytes) -> None:
        if not _is_response(data):
            self._below.write(data)
        elif self._held:
            self._acted()
            held, self._held = self._held, b""
            self._below.write(data)
            self._below.write(held)
        else:
            self._held = data
            self._system.start_soon(self._give_up, data)

    async def _give_up(self, data: bytes) -> None:
        await self._system.sleep(self._fault.seconds)
        if self._held is data:
            self._held = b""
            self._below.write(data)


def _is_response(line: bytes) -> bool:
    return b'"type":"response"' in line


FAULTS: tuple[type[Fault], ...] = (
    BadSpawn,
    Crash,
    CrashAtRecord,
    DuplicatedResponses,
    Flood,
    GarbageLines,
    Grandchild,
    HalfRecordAtExit,
    HangingStart,
    IgnoredEnd,
    IgnoredSigterm,
    LateResponses,
    LostResponses,
    Mute,
    ResponsesOutOfOrder,
    ResponsesWithoutId,
    SlowDeath,
    SlowSpawn,
    SlowStart,
    SplitWrites,
    Stopped,
    StopsReading,
)
"""All of them."""
