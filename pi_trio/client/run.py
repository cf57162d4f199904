"""One run: from a prompt to the moment Pi has settled."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from ..concurrency import Lagged, Subscription
from ..errors import ConnectionClosed, RunFailed
from ..protocol import Event, Item, MalformedRecord, Record, decode_event, decoded, text_delta
from .reply import Reply, ReplyFold
from .views import View

__all__ = ["Run"]


class Run:
    """A run that is going on; made by :meth:`pi_trio.client.PiClient.run`. One task reads it, once.

    Iterate it for its typed events, ``agent_settled`` included; or :meth:`text` for the text as it comes,
    or :meth:`records` for the undecoded records; or just wait for the :meth:`result`.
    """

    def __init__(self, subscription: Subscription[Item]) -> None:
        self._subscription = subscription
        self._fold = ReplyFold()
        self._taken = 0
        self._accepted_at: int | None = None
        self._handled = False
        self._settled = False

    def __repr__(self) -> str:
        state = "handled" if self._handled else "settled" if self._settled else "going on"
        return f"<Run {state} {self._taken} records>"

    @property
    def settled(self) -> bool:
        """Whether its end has been read."""
        return self._settled

    @property
    def handled(self) -> bool:
        """Whether Pi dealt with the prompt itself, without a run (an extension's command, for one)."""
        return self._handled

    @property
    def reply(self) -> Reply:
        """What has come so far, as far as it has been read."""
        return self._fold.reply(handled=self._handled)

    def _accepted(self) -> None:
        # Called while the response is routed: what is in the buffer now came before it, and an
        # `agent_settled` among that is the end of something else.
        self._accepted_at = self._subscription.received

    def _set_handled(self) -> None:
        self._handled = self._settled = True

    async def _next(self) -> Record | MalformedRecord | None:
        """The next record, or ``None`` behind the last."""
        item = await self._next_item()
        return None if item is None else decoded(item)

    async def _next_item(self) -> Item | None:
        if self._settled:
            return None
        try:
            item = await self._subscription.receive()
        except trio.EndOfChannel:
            raise ConnectionClosed("Pi was stopped before the run had settled") from None
        assert not isinstance(item, Lagged), "a run's subscription is waited for"
        self._taken += 1
        if type(item) is dict:  # what is not decoded yet is a step of the stream, and ends nothing
            self._fold.add(item)
            if item.get("type") == "agent_settled":
                self._settled = self._accepted_at is not None and self._taken > self._accepted_at
        return item

    def records(self) -> View[Record | MalformedRecord]:
        """The run's records as they came, undecoded. Raises as iterating the run does."""
        return View(self._next)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Raises:
            ProcessExited: Pi is gone, and what it had written has been read.
            ConnectionClosed: Pi was stopped from this side.
        """
        record = await self._next()
        if record is None:
            raise StopAsyncIteration
        return decode_event(record)

    def text(self) -> View[str]:
        """The text of the answers, piece by piece as it is streamed. Raises as iterating the run does."""
        return View(self._next_text)

    async def _next_text(self) -> str | None:
        while (item := await self._next_item()) is not None:
            delta = text_delta(item)
            if delta:
                return delta
        return None

    async def result(self, *, check: bool = True) -> Reply:
        """Read to the end of the run; return what it came to.

        Raises:
            RunFailed: the model or its provider failed, unless ``check`` is false.
            ProcessExited, ConnectionClosed: as iterating the run does.
        """
        while await self._next_item() is not None:
            pass
        reply = self.reply
        if check and reply.stop_reason == "error":
            raise RunFailed(reply)
        return reply
