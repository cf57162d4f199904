"""Records over a pair of byte pipes: how a supervisor talks to its Pi."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from ..abc import ReceivePipe, RecordTransport, SendPipe
from ..concurrency import wake
from ..protocol import DEFAULT_MAX_RECORD_BYTES, LineSplitter, MalformedRecord, cut_off

__all__ = ["PipeTransport"]

# What may be queued for a Pi that does not read its stdin. A prompt with a few large images fits several
# times; a Pi that is stopped must not let the host program's memory grow without end.
_MAX_QUEUED_BYTES = 64 * 1024 * 1024

# The default capacity of a Linux pipe: more would not fit anyway.
_BYTES_PER_WRITE = 64 * 1024

# Small records are collected until they are this long together, about fifteen requests: Pi answers those while the next
# ones are made. With 32 requests under way, a seventh of the time went into waiting for each other.
_COLLECTED_BYTES = 512


class PipeTransport(RecordTransport):
    """One record a line, out through ``stdin`` and in through ``stdout``.

    A record is written at once, without a task switch. Only a small one that follows another before anything
    came back is queued: then many are under way, and they are written some together, the last of them by
    :meth:`run_sender` (each write of its own wakes Pi up, and with 32 requests under way that took a third of our
    time). What the pipe does not take is queued, too: everything behind it is written behind it, and that task is the
    only one that waits. When it is cancelled with something in the queue, the transport is
    broken, and says so from then on. ``on_data`` is given the bytes as they were read; not before the records in
    them were received, so that a log delays no response.
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
        self._lines = LineSplitter(max_record_bytes)
        self._on_data = on_data
        self._unseen = b""  # what was read last, until on_data has been given it
        self._queue = bytearray()
        self._many = False  # a record was written, and nothing was received since
        self._idle: trio.lowlevel.Task | None = None  # the sender, while there is nothing for it to do
        self._closing = False
        self._broken = False

    def __repr__(self) -> str:
        state = "broken" if self._broken else "closing" if self._closing else "open"
        return f"<PipeTransport {state} {len(self._queue)} bytes queued>"

    def send_nowait(self, record: bytes) -> None:
        """Queue one encoded record; see :class:`pi_trio.abc.RecordTransport`.

        Raises:
            trio.WouldBlock: Pi has not read its stdin for so long that the queue is full.
        """
        if self._broken:
            raise trio.BrokenResourceError("nobody reads the other end of the pipe")
        if self._closing:
            raise trio.ClosedResourceError("the sending side was closed")
        queued = len(self._queue)
        collect = queued or (self._many and len(record) < _BYTES_PER_WRITE)
        written = 0 if collect else self._write(record)
        self._many = True
        if written == len(record):
            return
        if queued + len(record) > _MAX_QUEUED_BYTES and not written:
            raise trio.WouldBlock
        self._queue += record[written:]
        if collect and queued < _COLLECTED_BYTES <= queued + len(record):
            self._write_queue()  # when it gets there, not beyond: then Pi does not read, and trying again is no use
        if self._queue and self._idle is not None:  # one of many finds it idle: not worth a call for each
            self._rouse_sender()

    async def run_sender(self) -> None:
        """Write what is queued, until closed, broken or cancelled."""
        try:
            while not self._broken:
                if not self._queue:
                    self._many = False
                    if self._closing:
                        break
                    self._idle = trio.lowlevel.current_task()
                    await trio.lowlevel.wait_task_rescheduled(self._give_up_idling)
                    continue
                self._write_queue()
                if self._queue:
                    await self._stdin.wait_writable()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._broken = True
        finally:
            if self._queue:
                self._broken = True
            self._stdin.close()

    def _give_up_idling(self, _: object) -> trio.lowlevel.Abort:
        self._idle = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _rouse_sender(self) -> None:
        # By hand: with an Event for each time, whoever sends pays twice as much.
        task, self._idle = self._idle, None
        if task is not None:
            wake(task)

    def close_sending(self) -> None:
        """Close the pipe once the queue has been written. Idempotent."""
        self._closing = True
        if self._queue:
            self._rouse_sender()
        else:
            self._stdin.close()
            self._rouse_sender()

    def _write_queue(self) -> None:
        del self._queue[: self._write(bytes(self._queue[:_BYTES_PER_WRITE]))]

    def _write(self, data: bytes) -> int:
        try:
            return self._stdin.write_nowait(data)
        except trio.BrokenResourceError:
            self._broken = True
            self._queue.clear()
            self._rouse_sender()
            raise

    async def receive(self) -> Sequence[bytes | MalformedRecord]:
        """Wait for lines; see :class:`pi_trio.abc.RecordTransport`. A record cut off by the end is malformed."""
        while True:
            if self._unseen:
                self.settle()
            data = await self._stdout.receive_some()
            if data:
                self._unseen = data
                self._many = False
                if lines := self._lines.feed(data):
                    return lines
            elif data is None:
                return ()
            elif rest := cut_off(self._lines.end()):
                return [rest]
            else:
                raise trio.EndOfChannel

    def receive_nowait(self) -> Sequence[bytes | MalformedRecord]:
        """See :meth:`pi_trio.abc.RecordTransport.receive_nowait`."""
        if self._unseen:
            self.settle()
        data = self._stdout.read_nowait()
        if not data:
            return ()
        self._unseen = data
        self._many = False
        return self._lines.feed(data)

    def interrupt(self) -> None:
        """See :meth:`pi_trio.abc.RecordTransport.interrupt`."""
        self._stdout.interrupt()

    def settle(self) -> None:
        """See :meth:`pi_trio.abc.RecordTransport.settle`."""
        data, self._unseen = self._unseen, b""
        if data:
            self._on_data(data)
