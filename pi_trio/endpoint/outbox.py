"""What waits to be sent to one peer: bounded, and never waited for."""

from __future__ import annotations

from collections import deque

import trio

__all__ = ["Outbox"]

# What goes out in one write. Together, small messages cost one system call instead of many.
_WRITE_BYTES = 64 * 1024


class Outbox:
    """Frames in, writes out. Anyone puts, one task takes."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._taker: trio.lowlevel.Task | None = None
        self._closed = False
        self.idle = True
        """Whether it takes frames, and none is waiting: what goes out now does not overtake anything."""

    def __repr__(self) -> str:
        return f"<Outbox {'closed' if self._closed else 'open'} {self._bytes}/{self._most_bytes} bytes>"

    @property
    def waiting_bytes(self) -> int:
        """How much has not been taken yet."""
        return self._bytes

    def put(self, frames: bytes) -> bool:
        """Queue whole frames (none: only wake the taker). Whether they were taken: not when it is full, or closed.

        It is full when as much as it may hold is waiting already: one answer that is longer than that gets through.
        """
        if self._closed or self._bytes >= self._most_bytes:
            return False
        self._queue.append(frames)
        self._bytes += len(frames)
        self.idle = False
        self._wake()
        return True

    def close(self, *, drop: bool = False) -> None:
        """Take nothing more; with ``drop``, forget what is waiting. Idempotent."""
        self._closed = True
        self.idle = False
        if drop:
            self._queue.clear()
            self._bytes = 0
        self._wake()

    async def take(self) -> bytes:
        """Wait for frames; return what is queued, in order, up to the size of a good write.

        Raises:
            trio.EndOfChannel: it was closed, and everything was taken.
        """
        while not self._queue:
            if self._closed:
                raise trio.EndOfChannel
            self._taker = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        taken = [self._queue.popleft()]
        size = len(taken[0])
        while self._queue and size + len(self._queue[0]) <= _WRITE_BYTES:
            taken.append(self._queue.popleft())
            size += len(taken[-1])
        self._bytes -= size
        self.idle = not self._queue and not self._closed
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def _wake(self) -> None:
        if self._taker is not None:
            trio.lowlevel.reschedule(self._taker)
            self._taker = None

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._taker = None
        return trio.lowlevel.Abort.SUCCEEDED
