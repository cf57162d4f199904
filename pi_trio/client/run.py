"""One run: from a prompt to the moment Pi has settled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

import trio

from ..abc import RecordTransport
from ..concurrency import Lagged, Subscription
from ..errors import ConnectionClosed, ConnectionLost, RunFailed, RunOver
from ..protocol import (
    Entries,
    Event,
    ImageContent,
    Item,
    MalformedRecord,
    Message,
    MessageUpdate,
    QueueContents,
    Record,
    State,
    ToolCall,
    ToolCallEnd,
    Usage,
    decode_event,
    decoded,
    message_step,
    text_delta,
)
from .recall import recall
from .reconnected import Reconnected
from .reply import Reply, ReplyFold
from .views import View

if TYPE_CHECKING:
    from .client import PiClient

__all__ = ["Run"]


class Run:
    """A run that is going on; made by :meth:`pi_trio.client.PiClient.run`. One task reads it, once.

    Iterate it for its typed events, ``agent_settled`` included. Or look at it through :meth:`text`, :meth:`thinking`,
    :meth:`tool_calls` or :meth:`records`: each reads on, and passes over what it does not show. Or just wait for the
    :meth:`result`.

    :meth:`steer`, :meth:`follow_up` and :meth:`abort` may be called from other tasks, too.

    When the connection to Pi drops and comes back, Pi has gone on with it, and so does the run: a :class:`Reconnected`
    stands where its events have a hole, and its reply is whole all the same, for Pi is asked what was said meanwhile.
    """

    def __init__(
        self,
        transport: RecordTransport,
        subscription: Subscription[Item | Reconnected],
        client: PiClient,
        settlements: Callable[[], int],
        prompt: str,
    ) -> None:
        self._prompt = prompt
        self._transport = transport  # where the prompt was accepted, or will be
        self._subscription = subscription
        self._client = client
        self._fold = ReplyFold()
        self._taken = 0
        self._accepted_at: int | None = None
        self._settlements = settlements  # how often Pi has settled, read or not
        self._settled_at_first = settlements()
        self._settled_before = 0
        self._ends_of_others = 0  # to be read, with what is before them
        self._handled = False
        self._settled = False
        self._left = False
        self._failed = False
        self._aborted = False
        # Where the connection was another one: the run's first message before that, or the prompt; and how many were heard.
        self._first: Message | str | None = None
        self._heard_before_gap = 0
        self._over_there = False  # it has ended while there was no connection
        self._last: Item | Reconnected | None = None  # read, but not given out yet

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
        return self._fold.reply(handled=self._handled, aborted=self._aborted)

    @property
    def usage(self) -> Usage:
        """Tokens and US dollars of what is over and has been read: answers, compactions, what tools have used."""
        return self._fold.usage

    def _accepted(self) -> None:
        # Called while the response is routed: what is in the buffer now came before it, and an
        # `agent_settled` among that is the end of something else.
        self._accepted_at = self._subscription.received
        self._settled_before = self._settlements()
        self._ends_of_others = self._settled_before - self._settled_at_first

    def _move(self, transport: RecordTransport, subscription: Subscription[Item | Reconnected]) -> None:
        self._subscription.close()
        self._transport, self._subscription, self._failed = transport, subscription, False
        self._settled_at_first = self._settlements()

    @property
    def _outlives_connection(self) -> bool:
        """Whether Pi is at it: it goes on with a run also when it has nobody to tell."""
        return self._accepted_at is not None

    @property
    def _goes_on(self) -> bool:
        """Whether there is something to be ended when it is left."""
        return not self._settled and not self._over_there

    def _carry_over(self, transport: RecordTransport, state: State, *, same_session: bool) -> None:
        """There is another connection, whose :class:`Reconnected` is about to be published."""
        if not self._outlives_connection:
            return  # its prompt may be on its way yet: then it moves
        if same_session:
            self._transport = transport
            self._over_there = not state.is_streaming
        else:
            why = "the session on the other side is another one now"
            self._fail(lambda: ConnectionLost(why, uncertain=True))

    def _fail(self, why: Callable[[], Exception]) -> None:
        self._failed = True
        self._subscription.end(why)

    def _leave(self) -> None:
        self._left = True
        self._subscription.close()

    def _set_handled(self) -> None:
        self._handled = self._settled = True

    async def _next(self) -> Record | MalformedRecord | Reconnected | None:
        """The next record, or ``None`` behind the last."""
        item = await self._next_item()
        return item if item is None or isinstance(item, Reconnected) else decoded(item)

    async def _next_item(self) -> Item | Reconnected | None:
        if self._settled:
            return None
        if self._last is None:
            while self._ends_of_others:  # somebody else's run, that was over when this one began
                item = await self._receive()
                self._ends_of_others -= type(item) is dict and item.get("type") == "agent_settled"
            item = await self._receive()
            if not self._is_last(item):
                return item
            self._last = item  # kept, if what follows is cancelled
        if self._first is not None:
            await self._recall(self._first)
        self._settled = True
        return self._last

    async def _receive(self) -> Item | Reconnected:
        try:
            item = await self._subscription.receive()
        except trio.EndOfChannel:
            raise ConnectionClosed("Pi was stopped before the run had settled") from None
        except ConnectionLost as lost:
            # Whether a request could be sent is not what the reader of a run asks: this one was.
            raise ConnectionLost(lost.reason, uncertain=True) from None
        assert not isinstance(item, Lagged), "a run's subscription is waited for"
        self._taken += 1
        return item

    def _is_last(self, item: Item | Reconnected) -> bool:
        if isinstance(item, Reconnected):
            heard = self._fold.messages
            self._first, self._heard_before_gap = self._first or (heard[0] if heard else self._prompt), len(heard)
            return not item.state.is_streaming
        if type(item) is not dict:  # what is not decoded yet is a step of the stream, and ends nothing
            return False
        self._fold.add(item)
        if item.get("type") != "agent_settled" or self._accepted_at is None or self._taken <= self._accepted_at:
            return False
        if isinstance(why := item.get("error"), str):  # an endpoint says it in place of a Pi that cannot any more
            self._over_there = True  # and the Pi that took over has nothing to be aborted
            raise ConnectionLost(why, uncertain=True)
        return True

    async def _recall(self, first: Message | str) -> None:
        """Learn what was said while nobody heard it."""
        heard = self._fold.messages
        said = recall(await self._entries(), first, heard[-1] if len(heard) > self._heard_before_gap else None)
        if said is None:
            raise ConnectionLost("what the run has said meanwhile cannot be found in the session", uncertain=True)
        self._fold.replace(said)

    async def _entries(self) -> Entries:
        while True:
            try:
                return await self._client.get_entries()
            except ConnectionLost as lost:
                if not lost.uncertain:
                    raise ConnectionLost(lost.reason, uncertain=True) from None
                # It dropped again. To ask twice does no harm.

    def records(self) -> View[Record | MalformedRecord | Reconnected]:
        """The run's records as they came, undecoded. Raises as iterating the run does."""
        return View(self._next)

    def __aiter__(self) -> AsyncIterator[Event | Reconnected]:
        return self

    async def __anext__(self) -> Event | Reconnected:
        """The next event.

        Raises:
            ProcessExited: Pi is gone, and what it had written has been read.
            ConnectionLost: it is somewhere else, and did not come back, or not as what it was; ``uncertain``.
            ConnectionClosed: Pi was stopped from this side.
        """
        record = await self._next()
        if record is None:
            raise StopAsyncIteration
        return record if isinstance(record, Reconnected) else decode_event(record)

    def text(self) -> View[str]:
        """The text of the answers, piece by piece as it is streamed. Raises as iterating the run does."""
        return View(self._next_text)

    async def _next_text(self) -> str | None:
        while (item := await self._next_item()) is not None:
            if not isinstance(item, Reconnected) and (delta := text_delta(item)):
                return delta
        return None

    def thinking(self) -> View[str]:
        """What the model thinks, piece by piece, where its provider shows it. Raises as iterating the run does."""
        return View(self._next_thinking)

    async def _next_thinking(self) -> str | None:
        while (record := await self._next()) is not None:
            step = {} if isinstance(record, Reconnected) else message_step(record)
            if step.get("type") == "thinking_delta" and isinstance(delta := step.get("delta"), str) and delta:
                return delta
        return None

    def tool_calls(self) -> View[ToolCall]:
        """The tools the model asks for, each when its arguments are complete. Raises as iterating the run does."""
        return View(self._next_tool_call)

    async def _next_tool_call(self) -> ToolCall | None:
        while (record := await self._next()) is not None:
            if not isinstance(record, Reconnected) and message_step(record).get("type") == "toolcall_end":
                event = decode_event(record)
                if isinstance(event, MessageUpdate) and isinstance(event.assistant_message_event, ToolCallEnd):
                    return event.assistant_message_event.tool_call
        return None

    async def steer(self, message: str, *, images: Sequence[ImageContent] = ()) -> None:
        """Tell the model something before its next turn.

        What is on its way in the very moment in which the run ends, Pi keeps for the next one.

        Raises:
            RunOver: Pi has ended the run, or is gone itself; or the run was left.
            ClientError: as :meth:`pi_trio.client.PiClient.request`.
        """
        await self._wait_listening()
        await self._client.steer(message, images=images)

    async def follow_up(self, message: str, *, images: Sequence[ImageContent] = ()) -> None:
        """Give the model something to do when it would be done: the run goes on with it. Otherwise as :meth:`steer`."""
        await self._wait_listening()
        await self._client.follow_up(message, images=images)

    async def abort(self) -> QueueContents:
        """End the run: take back what is queued, and return it; stop the model and its tools.

        Returns when Pi is idle. The run's last records are there to be read then; its reply has the stop reason
        ``aborted``, unless it had come to its end already. Cancelled, the run may go on, and what was queued may be
        taken back all the same.

        Raises:
            RunOver: the end of the run has been read, or the run was left.
            ClientError: as :meth:`pi_trio.client.PiClient.request`.
        """
        self._check_going_on()
        taken_back = await self._client.clear_queue()
        await self._client.abort()
        return taken_back

    def _is_aborted(self) -> None:
        """Pi is told something that ends it."""
        self._aborted = self._aborted or not self._ended  # what had failed by itself, did

    def _check_going_on(self) -> None:
        if self._settled or self._left or self._failed:
            raise RunOver("the run is over: what is said now would go to another")

    @property
    def _ended(self) -> bool:
        """Whether Pi has settled, as far as it was heard, if not read."""
        settled = self._over_there or self._settlements() > self._settled_before
        return self._accepted_at is not None and settled

    def _check_listening(self) -> None:
        self._check_going_on()
        if self._ended:
            raise RunOver("Pi has ended the run already: what is said now would go to another")

    async def _wait_listening(self) -> None:
        """Behind another connection, it may be over: what waited for that must not go to another run."""
        self._check_listening()
        while not self._client.connected:
            await self._client.wait_ready()
            self._check_listening()

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
