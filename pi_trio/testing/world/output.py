"""What a simulated program writes its records to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from .system import System

__all__ = ["Output", "Stream"]


class Stream(Protocol):
    """A program's stdout: an :class:`Output`, or what a fault put in front of it. Whole records are written."""

    def write(self, data: bytes) -> None:
        """Write it, now or as soon as there is room."""

    async def wait_flushed(self) -> None:
        """Wait until everything is in the pipe. A checkpoint only when it is not."""


class Output(Stream):
    """A buffered stream to a descriptor, as Node.js has them: what does not fit into the pipe is kept.

    When nobody reads it any more, the process exits with code 1.
    """

    def __init__(self, system: System, fd: int) -> None:
        self._system = system
        self._fd = fd
        self._kept = bytearray()
        self._draining = False
        self._flushed = trio.Event()
        self._flushed.set()

    def write(self, data: bytes) -> None:
        """Write it, now or as soon as there is room."""
        if not self._kept:
            try:
                data = data[self._system.write_nowait(self._fd, data) :]
            except BrokenPipeError:
                self._system.exit(1)
                return
        if data:
            self._kept += data
            if not self._draining:
                self._draining = True
                self._flushed = trio.Event()
                self._system.start_soon(self._drain)

    async def _drain(self) -> None:
        while self._kept:
            await self._system.wait_writable(self._fd)
            del self._kept[: self._system.write_nowait(self._fd, bytes(self._kept))]
        self._draining = False
        self._flushed.set()

    async def wait_flushed(self) -> None:
        """Wait until everything is in the pipe. A checkpoint only when it is not."""
        if self._draining:
            await self._flushed.wait()
            await self._system.wait_running()
