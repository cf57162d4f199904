"""A connection in the simulated world: records travel for a while, and what travels is lost when it drops."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence

import trio

from ..abc import Closing, Link
from .trace import LinkEnded, LinkReceived, LinkWritten, Record
from .world import Cut, Way

__all__ = ["SimLink"]

# Seconds, somewhere in these ranges: until a record is written, and until it is there.
_QUEUED = (0.0, 0.01)
_TRAVEL = (0.0005, 0.02)


class SimLink(Link):
    """One link. The far end takes what arrives with ``arrived``, and says things with :meth:`say`.

    ``cut`` is asked about each record on its way, how many and how many bytes that are; see :meth:`Fault.cut`.
    """

    def __init__(
        self,
        connection: int,
        record: Record,
        seed: int,
        arrived: Callable[[bytes], None],
        cut: Callable[[Way, int, int], Cut | None],
    ) -> None:
        self._connection = connection
        self._record = record
        self._random = random.Random(seed)
        self._arrived = arrived
        self._cut = cut
        self._outbox: deque[bytes] = deque()
        self._inbox: deque[bytes] = deque()
        self._work = trio.Event()
        self._sending_closed = False
        self._closing: Closing | None = None
        self._reader: trio.lowlevel.Task | None = None
        self._out, self._travelling_out = trio.open_memory_channel[bytes](1_000_000)
        self._back, self._travelling_back = trio.open_memory_channel[bytes](1_000_000)

    def __repr__(self) -> str:
        return f"<SimLink {self._connection} {self._closing or 'open'}>"

    @property
    def closing(self) -> Closing | None:
        """See :class:`pi_trio.abc.Link`, here and below."""
        return self._closing

    def unsent(self) -> Sequence[bytes]:
        """What no sender has taken."""
        return tuple(self._outbox)

    def send_nowait(self, record: bytes) -> None:
        """Queue one."""
        if self._closing is not None:
            raise trio.BrokenResourceError(f"the connection is over: {self._closing}")
        if self._sending_closed:
            raise trio.ClosedResourceError("the sending side was closed")
        self._outbox.append(record)
        self._work.set()

    async def run_sender(self) -> None:
        """Write what is queued, a little later."""
        while self._closing is None:
            if self._outbox:
                await trio.sleep(self._random.uniform(*_QUEUED))
                if self._closing is None:
                    record = self._outbox.popleft()
                    self._record(LinkWritten(trio.current_time(), self._connection, record))
                    self._out.send_nowait(record)
            elif self._sending_closed:
                self.end(Closing(1000, "goodbye"))
            else:
                self._work = trio.Event()
                await self._work.wait()

    def close_sending(self) -> None:
        """Say goodbye behind what is queued."""
        self._sending_closed = True
        self._work.set()

    async def receive(self) -> Sequence[bytes]:
        """What has come."""
        if self._inbox or self._closing is not None:
            await trio.lowlevel.checkpoint()
        else:
            self._reader = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        if self._inbox:
            came = tuple(self._inbox)
            self._inbox.clear()
            return came
        if self._closing is not None:
            raise trio.EndOfChannel
        return ()

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def interrupt(self) -> None:
        """Let a reader that waits go on."""
        if self._reader is not None:
            trio.lowlevel.reschedule(self._reader)
            self._reader = None

    # --- the world's side -------------------------------------------------------------------------------

    def say(self, record: bytes) -> None:
        """The far end sends one."""
        if self._closing is None:
            self._back.send_nowait(record)

    async def carry(self) -> None:
        """Let records travel, until cancelled: each way in the order they were sent."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._carry, "out", self._travelling_out, self._arrived)
            nursery.start_soon(self._carry, "back", self._travelling_back, self._take_in)

    async def _carry(
        self, way: Way, travelling: trio.MemoryReceiveChannel[bytes], there: Callable[[bytes], None]
    ) -> None:
        count = size = 0
        async for record in travelling:
            await trio.sleep(self._random.uniform(*_TRAVEL))
            if self._closing is not None:
                continue
            count, size = count + 1, size + len(record)
            cut = self._cut(way, count, size)
            if cut != "within":
                there(record)
            if cut is not None:
                self.end(Closing(1006, "dropped"))

    def _take_in(self, record: bytes) -> None:
        self._record(LinkReceived(trio.current_time(), self._connection, record))
        self._inbox.append(record)
        self.interrupt()

    def end(self, closing: Closing) -> None:
        """It is over: what travels is lost. Idempotent."""
        if self._closing is None:
            self._closing = closing
            self._record(LinkEnded(trio.current_time(), self._connection, closing.code))
            self._work.set()
            self.interrupt()
