"""Pi's events, as one reader sees them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

import trio

from ..concurrency import Lagged, Subscription
from ..protocol import Event, Item, MalformedRecord, Record, decode_event, decoded, text_deltas
from .reconnected import Reconnected
from .views import View

__all__ = ["EventStream"]


class _TextView(View[str]):
    """A view that does not start two coroutines for a piece of text that is there already."""

    def __init__(self, ready: deque[str], take: Callable[[], Awaitable[str | None]]) -> None:
        super().__init__(take)
        self._ready = ready

    async def __anext__(self) -> str:
        return self._ready.popleft() if self._ready else await super().__anext__()


class EventStream:
    """Pi's events, for one reader. Iterate it for typed events, or :meth:`records`, or :meth:`text`.

    A :class:`Lagged` stands where events were lost, a :class:`Reconnected` where the connection was another one. It
    ends when the client is closed; when Pi died without having been told to, it raises
    :class:`~pi_trio.errors.ProcessExited` instead, and when no connection to it came about any more,
    :class:`~pi_trio.errors.ConnectionLost`. Use it as a context manager, or :meth:`close` it.
    """

    def __init__(self, subscription: Subscription[Item | Reconnected]) -> None:
        self._subscription = subscription
        self._texts: deque[str] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Want no more events. Idempotent."""
        self._subscription.close()

    def __aiter__(self) -> AsyncIterator[Event | Lagged | Reconnected]:
        return self

    async def __anext__(self) -> Event | Lagged | Reconnected:
        record = await self._next()
        if record is None:
            raise StopAsyncIteration
        return record if isinstance(record, Lagged | Reconnected) else decode_event(record)

    async def _next(self) -> Record | MalformedRecord | Lagged | Reconnected | None:
        try:
            item = await self._subscription.receive()
        except trio.EndOfChannel:
            return None
        return item if isinstance(item, Lagged | Reconnected) else decoded(item)

    def records(self) -> View[Record | MalformedRecord | Lagged | Reconnected]:
        """The records as they came, not made into events."""
        return View(self._next)

    def text(self) -> View[str]:
        """Only the pieces of text that Pi streams. A loss is not shown: this is for displays."""
        return _TextView(self._texts, self._next_text)

    async def _next_text(self) -> str | None:
        while not self._texts:
            try:
                batch = await self._subscription.receive_batch()
            except trio.EndOfChannel:
                return None
            self._texts.extend(text_deltas(batch))
        return self._texts.popleft()
