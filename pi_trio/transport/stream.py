"""The byte stream below a WebSocket, which trio-websocket shares with whoever uses it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import trio

__all__ = ["EndedEarly", "FrameStream", "WebSocketStream", "text_frame"]


class FrameStream(trio.abc.Stream):
    """Writes whole frames of several tasks one after the other. Owns ``stream``.

    trio-websocket writes its handshake, pings, pongs and goodbyes, whoever uses it its messages. A write that was
    cancelled leaves half a frame behind: then nothing more is written.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        # Where there is a plain socket, a message need not wait for a task to be scheduled: that takes longer than to
        # write it does. (On Windows, a socket is no file descriptor.)
        self._plain = stream.socket if os.name == "posix" and isinstance(stream, trio.SocketStream) else None
        self._lock = trio.StrictFIFOLock()
        self._rest = b""  # of frames that did not fit into the socket
        self._cut = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'cut' if self._cut else 'open'} over {self._stream!r}>"

    @property
    def unfinished(self) -> bool:
        """Whether a frame has been begun, and :meth:`send_all` must write the rest of it."""
        return bool(self._rest)

    def send_nowait(self, frames: bytes) -> bool:
        """Write frames at once, where that can be done. Whether any of it was: then :attr:`unfinished` may be."""
        if self._plain is None or self._rest or self._cut or self._lock.locked():
            return False
        try:
            written = os.write(self._plain.fileno(), frames)
        except OSError:  # it is full, or broken: whoever waits for it finds out
            return False
        if written < len(frames):
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

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See :class:`trio.abc.ReceiveStream`."""
        return await self._stream.receive_some(max_bytes)

    async def wait_send_all_might_not_block(self) -> None:
        """See :class:`trio.abc.SendStream`."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """See :class:`trio.abc.AsyncResource`."""
        await self._stream.aclose()


class EndedEarly(Exception):
    """The stream ended in the handshake."""


class WebSocketStream(FrameStream):
    """A client's. When the stream ends during the handshake, it raises :class:`EndedEarly`, for there trio-websocket
    would wait for ever.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        super().__init__(stream)
        self.opening = True
        """Whether the handshake is still going on."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See :class:`trio.abc.SendStream`."""
        with self._watched():
            await super().send_all(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See :class:`trio.abc.ReceiveStream`."""
        with self._watched():
            data = await super().receive_some(max_bytes)
        if not data and self.opening:
            raise EndedEarly("it hung up during the handshake")
        return data

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            if not self.opening:
                raise
            raise EndedEarly(f"it hung up during the handshake ({error.__cause__ or error})") from error


def text_frame(text: bytes) -> bytes:
    """One message as a client sends it (RFC 6455, 5.2 and 5.3): masked with what nobody can foresee.

    wsproto takes ten times as long for a short one.
    """
    length = len(text)
    mask = os.urandom(4)
    key = mask * (length // 4) + mask[: length % 4]
    masked = (int.from_bytes(text, "little") ^ int.from_bytes(key, "little")).to_bytes(length, "little")
    if length < 126:
        return b"\x81%c%b%b" % (0x80 | length, mask, masked)
    if length < 65536:
        return b"\x81\xfe%b%b%b" % (length.to_bytes(2, "big"), mask, masked)
    return b"\x81\xff%b%b%b" % (length.to_bytes(8, "big"), mask, masked)
