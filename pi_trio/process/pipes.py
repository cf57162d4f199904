"""The two ends of operating-system pipes, for Trio.

Trio's own ``FdStream`` passes a checkpoint and a retry for each read. One pipe carries every record of an
agent, so these wait only when there is nothing to read, and read as much as the pipe holds.
"""

from __future__ import annotations

import os

import trio

from ..abc import ReceivePipe, SendPipe

__all__ = ["FdReceivePipe", "FdSendPipe"]

# The default capacity of a Linux pipe: one read empties it.
_READ_BYTES = 65536


class _Fd:
    """Owns one descriptor. Gone is -1, so that a reused number can never be touched."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'closed' if self._fd < 0 else f'fd={self._fd}'}>"

    def close(self) -> None:
        """Give the descriptor back, and wake whoever waits on it. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            trio.lowlevel.notify_closing(fd)
            os.close(fd)

    def _open_fd(self) -> int:
        if self._fd < 0:
            raise trio.ClosedResourceError("this end of the pipe was closed")
        return self._fd


class FdSendPipe(_Fd, SendPipe):
    """The writing end. Owns ``fd``."""

    def write_nowait(self, data: bytes | memoryview) -> int:
        """See :meth:`pi_trio.abc.SendPipe.write_nowait`."""
        fd = self._open_fd()
        try:
            return os.write(fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:  # EPIPE, whatever else: it will not get better
            raise trio.BrokenResourceError("nobody reads the other end of the pipe") from error

    async def wait_writable(self) -> None:
        """See :meth:`pi_trio.abc.SendPipe.wait_writable`."""
        await trio.lowlevel.wait_writable(self._open_fd())


class FdReceivePipe(_Fd, ReceivePipe):
    """The reading end. Owns ``fd``."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._interrupted = False

    async def receive_some(self) -> bytes | None:
        """See :meth:`pi_trio.abc.ReceivePipe.receive_some`."""
        self._interrupted = False
        # First, so that a reader of an endless flood is a good neighbour. What was asked for just before is often there
        # behind it, and need not be waited for: arming epoll and being woken by it takes a fifth of a round trip.
        await trio.lowlevel.checkpoint()
        while not self._interrupted:
            try:
                return os.read(self._open_fd(), _READ_BYTES)
            except BlockingIOError:
                pass
            try:
                await trio.lowlevel.wait_readable(self._fd)
            except trio.ClosedResourceError:
                if self._fd < 0:
                    raise
        return None

    def read_nowait(self) -> bytes:
        """See :meth:`pi_trio.abc.ReceivePipe.read_nowait`."""
        try:
            return os.read(self._open_fd(), _READ_BYTES)
        except BlockingIOError:
            return b""

    def interrupt(self) -> None:
        """See :meth:`pi_trio.abc.ReceivePipe.interrupt`."""
        # Trio's way to wake whoever waits for a descriptor. A cancel scope for each wait would do as well, and
        # take a sixth of the time of a whole request.
        self._interrupted = True
        if self._fd >= 0:
            trio.lowlevel.notify_closing(self._fd)
