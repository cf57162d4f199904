"""The runtime's ends of the pipes between it and a simulated tree."""

from __future__ import annotations

import random

import trio

from ...abc import ReceivePipe, SendPipe
from .moments import moment
from .pipe import End, Pipe, PipeLog

__all__ = ["SimReceivePipe", "SimSendPipe"]

# How often, and by how many seconds, a reader is late.
_LATE = 0.1
_LATE_SECONDS = (0.0001, 0.02)


class _HostEnd:
    """The runtime's end. One task may wait on it at a time."""

    def __init__(self, pipe: Pipe, log: PipeLog, *, writing: bool) -> None:
        self._pipe = pipe
        self._log = log
        self._end = End(pipe, writing=writing)
        self._closed = False
        self._waiting = False
        self._handed_over = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._log.name} {'closed' if self._closed else 'open'}>"

    @property
    def is_open(self) -> bool:
        """Whether it has not been closed."""
        return not self._closed

    def hand_over(self) -> None:
        """The runtime has it from here on."""
        self._handed_over = True
        self._log.opened()

    def close(self) -> None:
        """Idempotent; wakes whoever waits on it."""
        if not self._closed:
            self._closed = True
            if self._handed_over:
                self._log.closed()
            self._end.close()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this end of the pipe was closed")

    def _begin_wait(self) -> None:
        if self._waiting:
            self._log.misused("two tasks wait on one end of a pipe")
            raise trio.BusyResourceError("another task waits on this end of the pipe")
        self._waiting = True


class SimSendPipe(_HostEnd, SendPipe):
    """The runtime's writing end of a simulated pipe."""

    def write_nowait(self, data: bytes | memoryview) -> int:
        """See :meth:`pi_trio.abc.SendPipe.write_nowait`."""
        self._check_open()
        try:
            return self._pipe.write(data, None)
        except BrokenPipeError as error:
            raise trio.BrokenResourceError("nobody reads the other end of the pipe") from error

    async def wait_writable(self) -> None:
        """See :meth:`pi_trio.abc.SendPipe.wait_writable`."""
        self._check_open()
        self._begin_wait()
        try:
            if self._pipe.writable:
                await trio.lowlevel.checkpoint()
            while not self._closed and not self._pipe.writable:
                await self._pipe.wait_writable()
        finally:
            self._waiting = False
        self._check_open()


class SimReceivePipe(_HostEnd, ReceivePipe):
    """The runtime's reading end of a simulated pipe. Now and then its reader is late: the runtime has much to do."""

    def __init__(self, pipe: Pipe, log: PipeLog, rng: random.Random) -> None:
        super().__init__(pipe, log, writing=False)
        self._random = rng
        self._interrupted = False

    async def receive_some(self) -> bytes | None:
        """See :meth:`pi_trio.abc.ReceivePipe.receive_some`."""
        self._check_open()
        self._begin_wait()
        self._interrupted = False
        try:
            if self._pipe.readable:
                await trio.lowlevel.checkpoint()
            while not (self._closed or self._interrupted or self._pipe.readable):
                await self._pipe.wait_readable()
            if self._random.random() < _LATE:
                await self._be_late(moment(self._random, _LATE_SECONDS))
        finally:
            self._waiting = False
        self._check_open()
        return self._pipe.read(None) if self._pipe.readable else None

    def read_nowait(self) -> bytes:
        """See :meth:`pi_trio.abc.ReceivePipe.read_nowait`."""
        self._check_open()
        there = self._pipe.readable and self._random.random() >= _LATE
        return self._pipe.read(None) or b"" if there else b""

    async def _be_late(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            while not (self._closed or self._interrupted):
                await self._pipe.wait_readable()

    def interrupt(self) -> None:
        """See :meth:`pi_trio.abc.ReceivePipe.interrupt`."""
        if self._waiting:
            self._interrupted = True
            self._pipe.wake_all()
