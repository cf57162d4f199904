"""The byte stream below one peer's WebSocket: it has been read from already, and several write to it."""

from __future__ import annotations

import os
from typing import TypeGuard

import trio

from .shortcut import Shortcut

__all__ = ["PeerStream"]

_READ_BYTES = 64 * 1024


class PeerStream(trio.abc.Stream):
    """Gives ``head`` out again, then the frames that came behind it and those that ``stream`` receives; but short texts
    go to :attr:`shortcut`. Owns ``stream``.

    trio-websocket writes pongs and the closing frame, the peer writes messages: each of their writes is whole frames,
    and a lock keeps them apart. A write that was cancelled leaves half a frame behind: then nothing more is written.
    """

    def __init__(self, stream: trio.abc.Stream, head: bytes, behind: bytes, *, max_message_bytes: int) -> None:
        self._stream = stream
        self._head = head
        self._behind = behind
        self.shortcut = Shortcut(max_message_bytes)
        """Sees every frame first, and keeps what is for it."""
        self._lock = trio.StrictFIFOLock()
        self._rest = b""  # of frames that did not fit into the socket
        self._cut = False

    @property
    def unfinished(self) -> bool:
        """Whether a frame has been begun, and :meth:`send_all` must write the rest of it."""
        return bool(self._rest)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See :class:`trio.abc.ReceiveStream`."""
        if self._head:
            await trio.lowlevel.checkpoint()
            data, self._head = self._head, b""
            return data
        while data := self._behind or await self._receive(max_bytes):
            self._behind = b""
            if passed_on := self.shortcut.feed(data):
                return passed_on
        return b""

    async def _receive(self, max_bytes: int | None) -> bytes:
        if not _is_plain_socket(self._stream):
            return bytes(await self._stream.receive_some(max_bytes))
        while True:
            # Trio's own stream tries before it waits, and a peer has rarely said something already.
            await trio.lowlevel.wait_readable(_open_fd(self._stream))
            try:
                return os.read(_open_fd(self._stream), max_bytes or _READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError("the connection broke") from error

    def send_nowait(self, frames: bytes) -> bool:
        """Write frames at once, where that can be done. Whether they were taken: if :attr:`unfinished`, in part.

        An answer that is written by whoever has it need not wait for another task to be scheduled, which takes as long
        as all the rest of it.
        """
        if self._rest or self._cut or self._lock.locked() or not _is_plain_socket(self._stream):
            return False
        try:
            written = os.write(self._stream.socket.fileno(), frames)
        except OSError:  # it is full, or broken: whoever waits for it finds out
            return False
        self._rest = frames[written:]
        return True

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See :class:`trio.abc.SendStream`."""
        async with self._lock:
            if self._cut:
                raise trio.BrokenResourceError("a frame was cut off here")
            whole, self._rest = self._rest + bytes(data) if self._rest else data, b""
            self._cut = True
            await self._stream.send_all(whole)
            self._cut = False

    async def wait_send_all_might_not_block(self) -> None:
        """See :class:`trio.abc.SendStream`."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """See :class:`trio.abc.AsyncResource`."""
        await self._stream.aclose()


def _is_plain_socket(stream: trio.abc.Stream) -> TypeGuard[trio.SocketStream]:
    return os.name == "posix" and isinstance(stream, trio.SocketStream)


def _open_fd(stream: trio.SocketStream) -> int:
    if (fd := stream.socket.fileno()) < 0:
        raise trio.ClosedResourceError("the connection was closed")
    return fd
