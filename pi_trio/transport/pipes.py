"""Records over a pair of byte pipes: how a supervisor talks to its Pi."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import trio

from ..abc import ReceivePipe, RecordTransport, SendPipe
from ..protocol import DEFAULT_MAX_RECORD_BYTES, MalformedRecord, Record, RecordDecoder

__all__ = ["PipeTransport"]

# What may be queued for a Pi that does not read its stdin. A prompt with a few large images fits several
# times; a Pi that is stopped must not let the host program's memory grow without end.
_MAX_QUEUED_BYTES = 64 * 1024 * 1024


class PipeTransport(RecordTransport):
    """One record a line, out through ``stdin`` and in through ``stdout``.

    A record is written at once when the pipe takes it, without a task switch. What the pipe does not take
    is queued for :meth:`run_sender`, the one task that waits: so nothing is ever written between the two
    halves of a record. When that task is cancelled with half a record written, the transport is broken,
    and says so from then on. ``on_data`` is given the bytes as they are read, before they are decoded.
    """

    def __init__(
        self,
        stdin: SendPipe,
        stdout: ReceivePipe,
        *,
        max_record_bytes: int = DEFAULT_MAX_RECORD_BYTES,
        on_data: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._decoder = RecordDecoder(max_record_bytes)
        self._on_data = on_data
        self._queue: deque[bytes | memoryview] = deque()
        self._queued_bytes = 0
        self._work = trio.Event()
        self._closing = False
        self._broken = False

    def __repr__(self) -> str:
        state = "broken" if self._broken else "closing" if self._closing else "open"
        return f"<PipeTransport {state} {self._queued_bytes} bytes queued>"

    def send_nowait(self, record: bytes) -> None:
        """Queue one encoded record; see :class:`pi_trio.abc.RecordTransport`.

        Raises:
            trio.WouldBlock: Pi has not read its stdin for so long that the queue is full.
        """
        if self._broken:
            raise trio.BrokenResourceError("nobody reads the other end of the pipe")
        if self._closing:
            raise trio.ClosedResourceError("the sending side was closed")
        written = 0 if self._queue else self._write(record)
        if written == len(record):
            return
        if self._queued_bytes + len(record) - written > _MAX_QUEUED_BYTES and not written:
            raise trio.WouldBlock
        self._queue.append(memoryview(record)[written:])
        self._queued_bytes += len(record) - written
        self._work.set()

    async def run_sender(self) -> None:
        """Write what the pipe did not take at once, until closed, broken or cancelled."""
        try:
            while not self._broken:
                if not self._queue:
                    if self._closing:
                        break
                    self._work = trio.Event()
                    await self._work.wait()
                    continue
                written = self._write(self._queue[0])
                self._queued_bytes -= written
                if written == len(self._queue[0]):
                    self._queue.popleft()
                else:
                    self._queue[0] = memoryview(self._queue[0])[written:]
                    await self._stdin.wait_writable()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._broken = True
        finally:
            if self._queue:
                self._broken = True
            self._stdin.close()

    def close_sending(self) -> None:
        """Close the pipe once the queue has been written. Idempotent."""
        self._closing = True
        if self._queue:
            self._work.set()
        else:
            self._stdin.close()
            self._work.set()

    def _write(self, data: bytes | memoryview) -> int:
        try:
            return self._stdin.write_nowait(data)
        except trio.BrokenResourceError:
            self._broken = True
            self._queue.clear()
            self._queued_bytes = 0
            self._work.set()
            raise

    async def receive(self) -> Sequence[Record | MalformedRecord]:
        """Wait for records; see :class:`pi_trio.abc.RecordTransport`. A record cut off by the end is malformed."""
        while True:
            data = await self._stdout.receive_some()
            if not data:
                rest = self._decoder.end()
                if rest is None:
                    raise trio.EndOfChannel
                return [rest]
            self._on_data(data)
            records = self._decoder.feed(data)
            if records:
                return records
