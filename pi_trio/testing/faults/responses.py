"""What goes wrong with the responses to requests."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import orjson

from ..world import Fault, Program, Stream, System
from .filter import Acted, Filter

__all__ = ["DuplicatedResponses", "LateResponses", "LostResponses", "ResponsesOutOfOrder", "ResponsesWithoutId"]


@attrs.frozen
class DuplicatedResponses(Fault):
    """Every n-th response comes twice."""

    every: int = 1

    async def run(self, system: System, program: Program, acted: Acted) -> int:
        def repeat(stream: Stream, line: bytes) -> None:
            stream.write(line)
            stream.write(line)

        system.stdout = _ResponseStream(system, self.every, acted, repeat)
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


class _ResponseStream(Filter):
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


class _SwappingStream(Filter):
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
    # Whole: another fault may have cut it up.
    return line.startswith(b"{") and line.endswith(b"}\n") and b'"type":"response"' in line
