"""One sender, any number of subscribers, each with a buffer of its own.

A subscriber says what happens when it falls behind (:class:`WhenFull`): it is waited for, or it loses the
oldest of what it has not read and is told how much. Publishing never blocks, and what is published reaches
every subscriber in order. A subscriber that is waited for holds its publisher up only where the publisher
asks (:meth:`Broadcast.wait_uncongested`); until then its buffer may exceed its capacity.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Generic, Self, TypeAlias, TypeVar

import attrs
import trio

from .waking import wake

__all__ = ["Broadcast", "Lagged", "Subscription", "WhenFull"]

T = TypeVar("T")

MakeError: TypeAlias = Callable[[], Exception] | None
"""Makes the error that ends a stream: a new one for each reader, for an exception belongs to one traceback."""


class WhenFull(enum.Enum):
    """What becomes of a subscriber whose buffer is full."""

    WAIT = "wait"
    """Wait for it: it misses nothing, and holds the source up."""
    LAG = "lag"
    """Leave it behind: it loses the oldest, and finds a :class:`Lagged` in their place."""


@attrs.frozen
class Lagged:
    """Stands where a subscriber lost items."""

    missed: int
    """How many."""


# How many items a reader may take before it lets other tasks run. A checkpoint costs several times what an
# item does; once in 128 items it is lost in the noise, and nobody else waits longer than they take.
_ITEMS_PER_CHECKPOINT = 128


class Subscription(Generic[T]):
    """A subscriber's end. Iterate it from one task.

    When it was ended (:meth:`end`, :meth:`Broadcast.close`) and its buffer is empty, iteration ends, or
    raises the error it was ended with. Cancelling a read loses nothing.
    """

    def __init__(self, broadcast: Broadcast[T], capacity: int, when_full: WhenFull) -> None:
        self._broadcast = broadcast
        self._capacity = capacity
        self._when_full = when_full
        self._buffer: deque[T] = deque()
        self._missed = 0
        self._received = 0
        self._since_checkpoint = 0
        self._reader: trio.lowlevel.Task | None = None
        self._closed = False
        self._ended = False
        self._make_error: MakeError = None

    def __repr__(self) -> str:
        state = "closed" if self._closed else self._when_full.value
        return f"<Subscription {state} {len(self._buffer)}/{self._capacity}>"

    @property
    def received(self) -> int:
        """How many items were put into its buffer so far, read or not."""
        return self._received

    @property
    def congested(self) -> bool:
        """Whether it has to be waited for."""
        return self._when_full is WhenFull.WAIT and len(self._buffer) >= self._capacity

    def _put(self, items: list[T]) -> None:
        buffer = self._buffer
        buffer.extend(items)
        self._received += len(items)
        if self._when_full is WhenFull.LAG:
            for _ in range(len(buffer) - self._capacity):
                buffer.popleft()
                self._missed += 1
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None:
            wake(self._reader)
            self._reader = None

    def end(self, make_error: MakeError = None) -> None:
        """Nothing more will come: the reader gets what is buffered, then the end, or the error. Idempotent."""
        if not self._ended:
            self._ended = True
            self._make_error = make_error
            self._broadcast._forget(self)
            self._wake()

    def clear(self) -> int:
        """Drop what is buffered; return how many items are lost, with those that were lost before."""
        dropped, self._missed = len(self._buffer) + self._missed, 0
        self._buffer.clear()
        self._broadcast._drained()
        return dropped

    def close(self) -> None:
        """The reader wants no more: what is buffered is dropped. Idempotent."""
        if not self._closed:
            self._closed = True
            self._buffer.clear()
            self._broadcast._forget(self)
            self._wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def receive_batch(self) -> list[T | Lagged]:
        """Wait for items; return all that are there, at least one, behind a :class:`Lagged` if some were lost.

        Raises:
            trio.EndOfChannel: it was ended, and everything has been read.
            trio.ClosedResourceError: it was closed.
            Exception: the error that it was ended with.
        """
        await self._wait_for_items()
        return self._take_all()

    def receive_batch_nowait(self) -> list[T | Lagged]:
        """All items that are there; none is no error, and neither is an end: for one reader beside `receive_batch`."""
        return self._take_all() if self._buffer or self._missed else []

    def _take_all(self) -> list[T | Lagged]:
        batch: list[T | Lagged] = [Lagged(self._missed)] if self._missed else []
        self._missed = 0
        batch += self._buffer
        self._buffer.clear()
        self._broadcast._drained()
        return batch

    async def receive(self) -> T | Lagged:
        """Wait for the next item, or for a :class:`Lagged` in place of lost ones. Raises as `receive_batch`."""
        self._since_checkpoint += 1
        if not self._buffer or self._since_checkpoint >= _ITEMS_PER_CHECKPOINT:
            await self._wait_for_items()
        if self._missed:
            lagged, self._missed = Lagged(self._missed), 0
            return lagged
        item = self._buffer.popleft()
        if len(self._buffer) + 1 == self._capacity:
            self._broadcast._drained()
        return item

    async def _wait_for_items(self) -> None:
        self._since_checkpoint = 0
        if self._buffer or self._closed or self._ended:  # if not, the wait below is the checkpoint
            await trio.lowlevel.checkpoint()
        while not self._buffer:
            if self._closed:
                raise trio.ClosedResourceError("this subscription was closed")
            if self._ended:
                raise trio.EndOfChannel if self._make_error is None else self._make_error()
            if self._reader is not None:
                raise trio.BusyResourceError("another task is reading this subscription")
            self._reader = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def __aiter__(self) -> AsyncIterator[T | Lagged]:
        return self

    async def __anext__(self) -> T | Lagged:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None


class Broadcast(Generic[T]):
    """The publisher's end."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription[T]] = []
        self._lot = trio.lowlevel.ParkingLot()
        self._waited_for = False  # somebody may be in there
        self._make_error: MakeError = None
        self.closed = False
        """Whether :meth:`close` was called."""

    def __repr__(self) -> str:
        return f"<Broadcast {'closed' if self.closed else 'open'} {len(self._subscriptions)} subscribers>"

    def subscribe(self, *, capacity: int, when_full: WhenFull) -> Subscription[T]:
        """A new subscriber: it sees what is published from now on."""
        if capacity < 1:
            raise ValueError(f"capacity must be positive, not {capacity}")
        subscription = Subscription(self, capacity, when_full)
        self._subscriptions.append(subscription)
        if self.closed:
            subscription.end(self._make_error)
        return subscription

    def publish(self, items: Iterable[T]) -> None:
        """Give ``items`` to every subscriber. Never blocks."""
        batch = list(items)
        if batch:
            for subscription in self._subscriptions:
                subscription._put(batch)

    def close(self, make_error: MakeError = None) -> None:
        """Nothing more will be published: end every subscription, later ones included. Idempotent."""
        if not self.closed:
            self.closed = True
            self._make_error = make_error
            for subscription in tuple(self._subscriptions):
                subscription.end(make_error)
            self._lot.unpark_all()

    @property
    def congested(self) -> bool:
        """Whether a subscriber has to be waited for."""
        # No generator: this is asked behind each response, and hardly ever there is more than one of them.
        for subscription in self._subscriptions:  # noqa: SIM110
            if subscription.congested:
                return True
        return False

    async def wait_uncongested(self) -> None:
        """Wait until no subscriber has to be waited for, or until :meth:`interrupt`."""
        if self.congested:
            self._waited_for = True
            await self._lot.park()  # no checkpoint before it: an interrupt in between would be lost
        else:
            await trio.lowlevel.checkpoint()

    def interrupt(self) -> None:
        """Let :meth:`wait_uncongested` return though a subscriber is still behind."""
        if self._waited_for:  # asked with every request, and nearly always nobody waits
            self._waited_for = False
            self._lot.unpark_all()

    def _forget(self, subscription: Subscription[T]) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
        self._drained()

    def _drained(self) -> None:
        if self._lot and not self.congested:
            self._lot.unpark_all()
