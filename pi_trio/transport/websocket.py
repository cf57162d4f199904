"""Records over a WebSocket connection.

One record a text message (subprotocol ``pi-rpc.v1``), or several, each with its LF (``pi-rpc.v1.batch``): trio-websocket
spends some 50 microseconds on a message, however long it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from ..abc import Closing, Link
from .stream import WebSocketStream, text_frame

__all__ = ["BATCHED", "COUNTED", "SUBPROTOCOLS", "WebSocketTransport"]

BATCHED = "pi-rpc.v1.batch"
"""The subprotocol in which a message holds several records."""

COUNTED = "pi-rpc.v1.counted"
"""The same, where an endpoint says first how many events it has shown so far: for whoever heeds that."""

SUBPROTOCOLS = (BATCHED, "pi-rpc.v1")
"""What is offered, the best first."""

# As for a pipe: a few prompts with large images, but no end of memory for a peer that does not read.
_MAX_OUTBOX_BYTES = 64 * 1024 * 1024

# What is taken in for a client that is held up, before reading stops, and with it the answers to the peer's pings.
_MAX_INBOX_BYTES = 16 * 1024 * 1024

# Enough to be lost in the noise of what a message costs, little enough to be no wait for what comes behind it.
_BYTES_PER_MESSAGE = 64 * 1024

# When nothing can be sent any more, the reason may still be there to be read.
_LAST_WORDS_TIMEOUT = 1.0

# RFC 6455: nobody said goodbye.
_ABNORMAL = 1006


class WebSocketTransport(Link):
    """Carries records over ``connection``, which somebody else opened on ``stream``, and closes.

    It always reads, so that pings are answered, until so much is waiting for the client that reading has to stop; it
    pings, and when nothing came back for twice the ``heartbeat`` the connection is over. :meth:`run` does both, and is
    to be run by one task; :meth:`run_sender` by another.
    """

    def __init__(
        self,
        connection: WebSocketConnection,
        stream: WebSocketStream,
        *,
        heartbeat: float | None = 30.0,
        max_inbox_bytes: int = _MAX_INBOX_BYTES,
        max_outbox_bytes: int = _MAX_OUTBOX_BYTES,
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._batched = connection.subprotocol in (BATCHED, COUNTED)
        self._heartbeat = heartbeat
        self._inbox: deque[bytes] = deque()
        self._inbox_bytes = 0
        self._max_inbox_bytes = max_inbox_bytes
        self._reader: trio.lowlevel.Task | None = None
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._max_outbox_bytes = max_outbox_bytes
        self._drained = trio.Event()
        self._work = trio.Event()
        self._sending_closed = False
        self._closing: Closing | None = None
        self._over = trio.Event()

    def __repr__(self) -> str:
        state = "open" if self._closing is None else f"closed: {self._closing}"
        return f"<WebSocketTransport {state} {self._inbox_bytes} bytes in, {self._outbox_bytes} bytes out>"

    @property
    def closing(self) -> Closing | None:
        """See :attr:`pi_trio.abc.Link.closing`."""
        return self._closing

    # --- out -------------------------------------------------------------------------------------------

    def send_nowait(self, record: bytes) -> None:
        """Queue one encoded record; see :class:`pi_trio.abc.RecordTransport`.

        Raises:
            trio.WouldBlock: the other side has not read for so long that the queue is full.
        """
        if self._closing is not None:
            raise trio.BrokenResourceError(f"the connection is over: {self._closing}")
        if self._sending_closed:
            raise trio.ClosedResourceError("the sending side was closed")
        if not self._outbox and self._connection.closed is None and self._stream.send_nowait(self._frame([record])):
            if self._stream.unfinished:
                self._work.set()
            return
        if self._outbox and self._outbox_bytes + len(record) > self._max_outbox_bytes:
            raise trio.WouldBlock
        self._outbox.append(record)
        self._outbox_bytes += len(record)
        self._work.set()

    def unsent(self) -> Sequence[bytes]:
        """See :meth:`pi_trio.abc.Link.unsent`."""
        return tuple(self._outbox)

    async def drain(self) -> None:
        """Wait until nothing is queued, or the connection is over. What is on its way is not waited for."""
        await trio.lowlevel.checkpoint()
        while self._outbox and self._closing is None:
            await self._drained.wait()

    async def run_sender(self) -> None:
        """Send what is queued, until closed, broken or cancelled."""
        try:
            while self._connection.closed is None:
                if self._outbox or self._stream.unfinished:
                    await self._stream.send_all(self._next_frame())
                elif self._sending_closed:
                    await self._connection.aclose()
                else:
                    self._work = trio.Event()
                    await self._work.wait()
        except (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
            with trio.move_on_after(_LAST_WORDS_TIMEOUT):
                await self._over.wait()
            await trio.aclose_forcefully(self._stream)
        finally:
            self._sending_closed = True

    def _next_frame(self) -> bytes:
        batch: list[bytes] = []
        size = 0
        while self._outbox and (not batch or (self._batched and size + len(self._outbox[0]) <= _BYTES_PER_MESSAGE)):
            batch.append(self._take_record())
            size += len(batch[-1])
        return self._frame(batch) if batch else b""

    def _frame(self, records: list[bytes]) -> bytes:
        return text_frame(b"".join(records) if self._batched else records[0].rstrip(b"\n"))

    def _take_record(self) -> bytes:
        record = self._outbox.popleft()
        self._outbox_bytes -= len(record)
        if not self._outbox:
            self._wake_drained()
        return record

    def _wake_drained(self) -> None:
        self._drained.set()
        self._drained = trio.Event()

    def close_sending(self) -> None:
        """Say goodbye once the queue has been sent: a WebSocket is closed in both directions. Idempotent."""
        self._sending_closed = True
        self._work.set()

    # --- in --------------------------------------------------------------------------------------------

    async def receive(self) -> Sequence[bytes]:
        """Wait for lines; see :class:`pi_trio.abc.RecordTransport`."""
        if self._inbox or self._closing is not None:
            await trio.lowlevel.checkpoint()
        else:
            self._reader = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        if self._inbox:
            return self._take_inbox()
        if self._closing is not None:
            raise trio.EndOfChannel
        return ()  # interrupted

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def interrupt(self) -> None:
        """See :meth:`pi_trio.abc.RecordTransport.interrupt`."""
        if self._reader is not None:
            trio.lowlevel.reschedule(self._reader)
            self._reader = None

    def _take_inbox(self) -> list[bytes]:
        lines = list(self._inbox)
        self._inbox.clear()
        self._inbox_bytes = 0
        self._stream.go_on()
        return lines

    # --- alive -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take in what comes, and see that the other side is there. Ends with the connection."""
        try:
            async with trio.open_nursery() as nursery:
                if self._heartbeat is not None:
                    nursery.start_soon(self._beat, self._heartbeat)
                await self._take_in()
                nursery.cancel_scope.cancel()
        finally:
            self._end(Closing(_ABNORMAL, "it was closed from this side"))

    async def _take_in(self) -> None:
        shortcut = self._stream.shortcut
        shortcut.on_text = self._arrived
        try:
            while self._closing is None:
                message = await self._connection.get_message()
                self._arrived(message.encode() if isinstance(message, str) else message)
                shortcut.taken()
                await self._stream.wait_room()
        except ConnectionClosed as closed:
            why = closed.reason
            self._end(Closing(why.code, why.reason or why.name) if why is not None else Closing(_ABNORMAL))

    def _arrived(self, message: bytes) -> bool:
        """Take a message in. Bytes that are no UTF-8 harm nobody: whoever decodes the record finds that out."""
        self._inbox += message.removesuffix(b"\n").split(b"\n") if self._batched else (message,)
        self._inbox_bytes += len(message)
        self.interrupt()
        if self._inbox_bytes > self._max_inbox_bytes:
            self._stream.hold()
        return True

    def _end(self, closing: Closing) -> None:
        if self._closing is None:
            self._closing = closing
            self._over.set()
            self._stream.go_on()
            self._work.set()
            self._wake_drained()
            self.interrupt()

    async def _beat(self, period: float) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(period)
                answered = trio.Event()
                # In a task of its own: cancelled halfway through a frame, it would leave half a frame behind.
                nursery.start_soon(self._ping, answered)
                while not answered.is_set():
                    with trio.move_on_after(period):
                        await answered.wait()
                    # What is not read, because the client is held up, may be the answer.
                    if not answered.is_set() and not self._stream.held:
                        self._end(Closing(_ABNORMAL, f"nothing came back for {2 * period:g} s"))
                        await trio.aclose_forcefully(self._connection)
                        return

    async def _ping(self, answered: trio.Event) -> None:
        try:
            await self._connection.ping()
        except ConnectionClosed:
            pass  # the reading side finds out why
        else:
            answered.set()
