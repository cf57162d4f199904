"""A transport to a Pi that was only just started, and will answer on a port in a moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from ..abc import Link, RecordTransport
from ..errors import ConnectFailed

__all__ = ["DialledTransport"]

# A refused connection on loopback costs next to nothing, and a Pi that starts takes some tenths of a second.
_RETRY_PERIOD = 0.05


class DialledTransport(RecordTransport):
    """Takes records at once, and sends them when :meth:`run_sender` has got through. It calls until it is cancelled.

    The connection is not made again: when it is lost, the transport has ended.
    """

    def __init__(self, open_link: Callable[[], AbstractAsyncContextManager[Link]]) -> None:
        self._open_link = open_link
        self._early: list[bytes] = []
        self._link: Link | None = None
        self._got_through = trio.Event()  # or never will
        self._over = trio.Event()
        self._interrupted = trio.CancelScope()
        self._sending_closed = False
        self.failure = ""
        """Why it ended, if it has."""

    def __repr__(self) -> str:
        return f"<DialledTransport {self._link or 'calling'}>"

    def send_nowait(self, record: bytes) -> None:
        """See :class:`pi_trio.abc.RecordTransport`."""
        if self._link is not None:
            self._link.send_nowait(record)
        elif self._over.is_set():
            raise trio.BrokenResourceError(self.failure)
        elif self._sending_closed:
            raise trio.ClosedResourceError("the sending side was closed")
        else:
            self._early.append(record)

    def close_sending(self) -> None:
        """See :meth:`pi_trio.abc.RecordTransport.close_sending`."""
        self._sending_closed = True
        if self._link is not None:
            self._link.close_sending()

    async def run_sender(self) -> None:
        """Call, then send what is queued, until closed, broken or cancelled; and end the connection."""
        try:
            while not await self._connect():
                await trio.sleep(_RETRY_PERIOD)
        finally:
            self._over.set()
            self._got_through.set()

    async def _connect(self) -> bool:
        """Have the connection, to its end. Whether that was the end of it."""
        try:
            async with self._open_link() as self._link:
                for record in self._early:
                    self._link.send_nowait(record)
                self._got_through.set()
                if self._sending_closed:
                    self._link.close_sending()
                await self._link.run_sender()
                await self._over.wait()  # what it still says is read
        except ConnectFailed as error:
            self.failure = error.reason
            return error.final
        return True

    async def receive(self) -> Sequence[Any]:
        """See :class:`pi_trio.abc.RecordTransport`."""
        if self._link is None:
            with trio.CancelScope() as self._interrupted:
                await self._got_through.wait()
            if self._interrupted.cancelled_caught:
                return ()
        if self._link is None:
            raise trio.EndOfChannel
        try:
            return await self._link.receive()
        except trio.EndOfChannel:
            self.failure = self.failure or f"the connection was lost: {self._link.closing}"
            self._over.set()
            raise

    def interrupt(self) -> None:
        """See :meth:`pi_trio.abc.RecordTransport.interrupt`."""
        self._interrupted.cancel()
        if self._link is not None:
            self._link.interrupt()
