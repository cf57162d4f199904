"""Byte pipes as the kernel has them: a capacity, partial writes, an end when the last holder of an end is gone."""

from __future__ import annotations

from collections import deque

import trio

from ..trace import Misuse, PipeClosed, PipeName, PipeOpened, PipeRead, PipeWritten, Record

__all__ = ["PIPE_BYTES", "End", "Pipe", "PipeLog"]

PIPE_BYTES = 65536
"""The capacity of a Linux pipe."""

# PIPE_BUF of Linux: as much is written whole or not at all, and poll(2) says "writable" when it would fit.
_ATOMIC_BYTES = 4096


class PipeLog:
    """Where a pipe between the runtime and a tree tells what happens to it."""

    __slots__ = ("incarnation", "instance", "name", "record")

    def __init__(self, record: Record, instance: str, incarnation: int, name: PipeName) -> None:
        self.record = record
        self.instance = instance
        self.incarnation = incarnation
        self.name = name

    def wrote(self, process: int | None, data: bytes) -> None:
        """Bytes went in."""
        self.record(PipeWritten(trio.current_time(), self.instance, self.incarnation, self.name, process, data))

    def was_read(self, process: int | None, size: int) -> None:
        """Bytes came out."""
        self.record(PipeRead(trio.current_time(), self.instance, self.incarnation, self.name, process, size))

    def opened(self) -> None:
        """The runtime has an end of it."""
        self.record(PipeOpened(trio.current_time(), self.instance, self.incarnation, self.name))

    def closed(self) -> None:
        """The runtime closed its end."""
        self.record(PipeClosed(trio.current_time(), self.instance, self.incarnation, self.name))

    def misused(self, what: str) -> None:
        """The runtime did something to it that it must not."""
        self.record(Misuse(trio.current_time(), self.instance, self.incarnation, f"{self.name}: {what}"))


class Pipe:
    """The buffer between the ends. ``readers`` and ``writers`` count the open descriptors of each kind."""

    def __init__(self, log: PipeLog | None = None) -> None:
        self.log = log
        self.readers = 0
        self.writers = 0
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._reading = trio.lowlevel.ParkingLot()
        self._writing = trio.lowlevel.ParkingLot()

    def write(self, data: bytes | memoryview, process: int | None) -> int:
        """Put in what fits; return how much that was.

        Raises:
            BrokenPipeError: nobody has the other end.
        """
        if not self.readers:
            raise BrokenPipeError
        room = PIPE_BYTES - self._size
        if len(data) > room:
            if len(data) <= _ATOMIC_BYTES or not room:
                return 0
            data = data[:room]
        if not data:
            return 0
        chunk = bytes(data)
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self.log is not None:
            self.log.wrote(process, chunk)
        if self._reading:  # asked for each write, and there is mostly something to read already
            self._reading.unpark_all()
        return len(chunk)

    def read(self, process: int | None) -> bytes | None:
        """Take out everything: ``b""`` is the end of the file, ``None`` that there is nothing yet."""
        if not self._chunks:
            return None if self.writers else b""
        data = b"".join(self._chunks) if len(self._chunks) > 1 else self._chunks[0]
        self._chunks.clear()
        self._size = 0
        if self.log is not None:
            self.log.was_read(process, len(data))
        if self._writing:
            self._writing.unpark_all()
        return data

    @property
    def readable(self) -> bool:
        """Whether :meth:`read` has something to say."""
        return bool(self._chunks) or not self.writers

    @property
    def writable(self) -> bool:
        """What poll(2) says."""
        return self._size + _ATOMIC_BYTES <= PIPE_BYTES or not self.readers

    async def wait_readable(self) -> None:
        """Wait until it may have become readable, or an end of it was closed."""
        await self._reading.park()

    async def wait_writable(self) -> None:
        """Wait until it may have become writable, or an end of it was closed."""
        await self._writing.park()

    def wake_all(self) -> None:
        """An end was closed: whoever waits looks again."""
        self._reading.unpark_all()
        self._writing.unpark_all()


class End:
    """A descriptor of one end of a pipe; without a pipe it is ``/dev/null``."""

    __slots__ = ("_open", "pipe", "writing")

    def __init__(self, pipe: Pipe | None, *, writing: bool) -> None:
        self.pipe = pipe
        self.writing = writing
        self._open = True
        if pipe is not None:
            if writing:
                pipe.writers += 1
            else:
                pipe.readers += 1

    def clone(self) -> End:
        """What dup(2) and fork(2) make."""
        return End(self.pipe, writing=self.writing)

    def close(self) -> None:
        """Idempotent. The last one of its kind is the end of the file, or breaks the pipe."""
        if not self._open:
            return
        self._open = False
        if self.pipe is None:
            return
        if self.writing:
            self.pipe.writers -= 1
        else:
            self.pipe.readers -= 1
        self.pipe.wake_all()
