"""The byte stream below one peer's WebSocket: it has been read from already, and several write to it."""

from __future__ import annotations

import os
from typing import TypeGuard

import trio

__all__ = ["PeerStream"]


class PeerStream(trio.abc.Stream):
    """Gives ``head`` out again, then what ``stream`` receives. Owns ``stream``.

    trio-websocket writes pongs and the closing frame, the peer writes messages: each of their writes is whole frames,
    and a lock keeps them apart. A write that was cancelled leaves half a frame behind: then nothing more is written.
    """

    def __init__(self, stream: trio.abc.Stream, head: bytes) -> None:
        self._stream = stream
        self._head = head
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
        return bytes(await self._stream.receive_some(max_bytes))

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
