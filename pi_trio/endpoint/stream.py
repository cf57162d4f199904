"""The byte stream below one peer's WebSocket: it has been read from already, and short messages leave it early."""

from __future__ import annotations

import os

import trio

from ..transport import FrameStream, Shortcut

__all__ = ["PeerStream"]

_READ_BYTES = 64 * 1024


class PeerStream(FrameStream):
    """Gives ``head`` out again, then the frames that came behind it and those that ``stream`` receives; but short texts
    go to the :attr:`shortcut`. Owns ``stream``.
    """

    def __init__(self, stream: trio.abc.Stream, head: bytes, behind: bytes, *, max_message_bytes: int) -> None:
        super().__init__(stream, Shortcut(max_message_bytes, masked=True))
        self._head = head
        self._behind = behind

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See :class:`trio.abc.ReceiveStream`."""
        if self._head:
            await trio.lowlevel.checkpoint()
            data, self._head = self._head, b""
            return data
        passed_on, self._behind = self.shortcut.feed(self._behind), b""
        while not passed_on:
            data = await self._receive(max_bytes)
            if not data:
                break
            passed_on = self.shortcut.feed(data)
        return passed_on

    async def _receive(self, max_bytes: int | None) -> bytes:
        if self._plain is None:
            return bytes(await self._stream.receive_some(max_bytes))
        while True:
            # Trio's own stream tries before it waits, and a peer has rarely said something already.
            await trio.lowlevel.wait_readable(self._open_fd())
            try:
                return os.read(self._open_fd(), max_bytes or _READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError("the connection broke") from error

    def _open_fd(self) -> int:
        assert self._plain is not None
        if (fd := self._plain.fileno()) < 0:
            raise trio.ClosedResourceError("the connection was closed")
        return fd
