"""The byte stream below one peer's WebSocket: it has been read from already, and two write to it."""

from __future__ import annotations

import trio

__all__ = ["PeerStream"]


class PeerStream(trio.abc.Stream):
    """Gives ``head`` out again, then what ``stream`` receives. Owns ``stream``.

    trio-websocket writes pongs and the closing frame, the peer's sender writes messages: each of their writes is whole
    frames, and a lock keeps them apart. A write that was cancelled leaves half a frame behind: then nothing more is
    written.
    """

    def __init__(self, stream: trio.abc.Stream, head: bytes) -> None:
        self._stream = stream
        self._head = head
        self._lock = trio.StrictFIFOLock()
        self._cut = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See :class:`trio.abc.ReceiveStream`."""
        if self._head:
            await trio.lowlevel.checkpoint()
            data, self._head = self._head, b""
            return data
        return bytes(await self._stream.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See :class:`trio.abc.SendStream`."""
        async with self._lock:
            if self._cut:
                raise trio.BrokenResourceError("a frame was cut off here")
            self._cut = True
            await self._stream.send_all(data)
            self._cut = False

    async def wait_send_all_might_not_block(self) -> None:
        """See :class:`trio.abc.SendStream`."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """See :class:`trio.abc.AsyncResource`."""
        await self._stream.aclose()
