"""Who reads what Pi says: the task that owns the connection, or a request that waits for its response."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import trio

from ..abc import RecordTransport
from ..concurrency import Broadcast, wake
from ..protocol import Item

if TYPE_CHECKING:
    from .requests import PendingRequest

__all__ = ["Intake"]


class Intake:
    """Takes in the items of one transport, and gives them to ``route``. One task at a time reads.

    That is the owner, who calls :meth:`run`. But when a response comes, its task would have to wait for the
    scheduler a second time, behind the owner, which takes a quarter of a round trip. So a request that has to
    wait while nobody reads does the reading itself (:meth:`read_for`) until it has its response; and the owner,
    when it has routed one, lets those whom it woke go first, for often they ask again.
    """

    def __init__(
        self,
        transport: RecordTransport,
        route: Callable[[Sequence[Item]], bool],
        events: Broadcast[Any],
        held_up: Callable[[], bool],
    ) -> None:
        self._transport = transport
        self._route = route
        self._events = events
        self._held_up = held_up
        self._owned = False
        self._parked: trio.lowlevel.Task | None = None
        self._reader: PendingRequest | None = None
        self.free = False
        """Whether nobody reads now, and the owner is there to go on when nobody else does."""

    def __repr__(self) -> str:
        return f"<Intake {'free' if self.free else 'read by its owner' if self._reader is None else 'lent'}>"

    async def run(self) -> None:
        """Own the connection until it ends. May be cancelled, and called again."""
        self._owned = True
        answered = False
        try:
            while True:
                self._transport.settle()
                while self._reader is not None:
                    await self._park()
                    self._transport.settle()
                self.free = False
                # Behind a response there was a checkpoint, and where many are under way there is the next one by now.
                items = self._transport.receive_nowait() if answered else ()
                answered = self._route(items or await self._transport.receive())
                self.free = True
                if answered:
                    await trio.lowlevel.checkpoint()
                while self._held_up() and self._reader is None:
                    self._transport.settle()
                    await self._events.wait_uncongested()
        except trio.EndOfChannel:
            pass
        finally:
            self._owned = self.free = False
            self._transport.settle()

    async def _park(self) -> None:
        self._parked = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._unpark)

    def _unpark(self, _: object) -> trio.lowlevel.Abort:
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED

    # This runs in a task of the caller's, perhaps the main one: a Ctrl-C must not come between reading and routing.
    @trio.lowlevel.enable_ki_protection
    async def read_for(self, pending: PendingRequest) -> None:
        """Read until ``pending`` is done, or nothing more comes. To be called when it is :attr:`free`.

        Cancelled, it lets the owner go on; nothing is lost.
        """
        self._reader, self.free = pending, False
        transport = self._transport
        try:
            while not pending.done:
                pending.reads = transport
                items = await transport.receive()
                pending.reads = None
                self._route(items)
        except trio.EndOfChannel:
            self._owned = False  # the owner will find that, too, and must not be kept from it
        finally:
            pending.reads = self._reader = None
            self.free = self._owned
            if self._parked is not None:
                wake(self._parked)
                self._parked = None
