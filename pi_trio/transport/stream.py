"""The byte stream below a WebSocket, which trio-websocket shares with whoever uses it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from .shortcut import Shortcut

__all__ = ["EndedEarly", "FrameStream", "WebSocketStream", "text_frame"]


class FrameStream(trio.abc.Stream):
    """Writes whole frames of several tasks one after the other. Owns ``stream``.

    trio-websocket writes its handshake, pings, pongs and goodbyes, whoever uses it its messages. A write that was
    cancelled leaves half a frame behind: then nothing more is written.
    """

    def __init__(self, stream: trio.abc.Stream, shortcut: Shortcut) -> None:
        self._stream = stream
        self.shortcut = shortcut
        """Sees every frame that comes first, and keeps what is for it."""
        # Where there is a plain socket, a message need not wait for a task to be scheduled: that takes longer than to
        # write it does. (On Windows, a socket is no file descriptor.)
        self._plain = stream.socket if os.name == "posix" and isinstance(stream, trio.SocketStream) else None
        self._lock = trio.StrictFIFOLock()
        self._writers = 0  # that have the lock, or wait for it
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
        if self._plain is None or self._rest or self._cut or self._writers:
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
        self._writers += 1
        try:
            async with self._lock:
                if self._cut:
                    raise trio.BrokenResourceError("a frame was cut off here")
                whole, self._rest = self._rest + bytes(data) if self._rest else data, b""
                self._cut = True
                await self._stream.send_all(whole)
                self._cut = False
        finally:
            self._writers -= 1

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

    def __init__(self, stream: trio.abc.Stream, *, max_message_bytes: int) -> None:
        super().__init__(stream, Shortcut(max_message_bytes, masked=False))
        self.opening = True
        """Whether the handshake is still going on."""
        self._head: bytes | None = b""  # of the answer to it; None, when all of that has come
        self._behind = b""
        self._room = trio.Event()
        self._room.set()

    # --- how much is read --------------------------------------------------------------------------------

    @property
    def held(self) -> bool:
        """Whether nothing is read for now."""
        return not self._room.is_set()

    def hold(self) -> None:
        """Read nothing more, until :meth:`go_on`. Idempotent."""
        if self._room.is_set():
            self._room = trio.Event()

    def go_on(self) -> None:
        """Read again. Idempotent."""
        self._room.set()

    async def wait_room(self) -> None:
        """Wait until it is read again; no checkpoint, if it is."""
        while self.held:
            await self._room.wait()

    # --- as a stream -------------------------------------------------------------------------------------

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See :class:`trio.abc.SendStream`."""
        with self._watched():
            await super().send_all(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See :class:`trio.abc.ReceiveStream`."""
        passed_on, self._behind = self.shortcut.feed(self._behind) if self._behind else b"", b""
        while not passed_on:
            await self.wait_room()
            with self._watched():
                data = bytes(await self._stream.receive_some(max_bytes))
            if not data:
                if self.opening:
                    raise EndedEarly("it hung up during the handshake")
                break
            passed_on = self.shortcut.feed(data) if self._head is None else self._up_to_frames(data, self._head)
        return passed_on

    def _up_to_frames(self, data: bytes, before: bytes) -> bytes:
        """What of it belongs to the answer to the handshake; what comes behind that, is for later."""
        self._head = before + data
        if b"\r\n\r\n" not in self._head:
            return data
        if not self._head.startswith(b"HTTP/1.1 101 "):
            self.shortcut.shut()  # it is a refusal, and no frames follow
        _, _, self._behind = self._head.partition(b"\r\n\r\n")
        self._head = None
        return data[: len(data) - len(self._behind)]

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
