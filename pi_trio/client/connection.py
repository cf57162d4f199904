"""Keeps one client connected to a Pi that is somewhere else."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from ..abc import Closing, Link
from ..errors import ConnectFailed, ConnectionClosed, ConnectionLost
from ..lifecycle import ReconnectPolicy, is_final_close
from .client import PiClient
from .greeting import Greeting, Position, greet
from .reconnected import Reconnected

__all__ = ["Connection"]

_log = logging.getLogger("pi_trio.client")

# Closed by somebody who was done: subscribers find the end of their stream, not an error.
_QUIET_CLOSES = (1000, 1001)


class Connection:
    """Makes a link, serves the client on it, and makes another when it drops. :meth:`run` is its one task."""

    def __init__(
        self,
        client: PiClient,
        open_link: Callable[[], AbstractAsyncContextManager[Link]],
        *,
        policy: ReconnectPolicy,
        greeting_timeout: float,
    ) -> None:
        self._client = client
        self._open_link = open_link
        self._policy = policy
        self._greeting_timeout = greeting_timeout
        self._link: Link | None = None
        self._attempts = 0
        self._lost_at: float | None = None  # there was no other before the first
        self._position: Position | None = None  # where the last link began, and what had been heard before that
        self._heard_before = 0
        self._scope = trio.CancelScope()
        self._said_goodbye = False
        self._finished = False

    def __repr__(self) -> str:
        return f"<Connection of {self._client!r}>"

    async def run(self) -> None:
        """Be connected, until that is over for good, or closed. Never raises: whoever uses the client is told."""
        try:
            with self._scope:
                reason = await self._live()
                while reason is not None and (delay := self._next_delay()) is not None:
                    self._attempts += 1
                    _log.info("%r: connecting again in %.2f s: %s", self._client, delay, reason)
                    await trio.sleep(delay)
                    reason = await self._live()
                if reason is not None:
                    self._give_up(reason)
        finally:
            self._finish(_closed, quietly=True)

    def close(self) -> None:
        """Say goodbye: requests fail, what was sent before gets through, and :meth:`run` returns. Idempotent."""
        self._said_goodbye = True
        self._client.refuse(_closed)
        if self._link is not None:
            self._link.close_sending()
        else:
            self._scope.cancel()

    def cancel(self) -> None:
        """Be done with it. Idempotent."""
        self._scope.cancel()

    def _next_delay(self) -> float | None:
        return None if self._said_goodbye else self._policy.delay(self._attempts, random.random())

    async def _live(self) -> str | None:
        """Have one link, to its end. Why it is to be followed by another; ``None``: it is not."""
        try:
            async with self._open_link() as link:
                self._link = link
                try:
                    return await self._serve(link)
                finally:
                    self._link = None
        except ConnectFailed as error:
            return self._failed(error)

    def _failed(self, error: ConnectFailed) -> str | None:
        # The first one is for the caller, who gets the error and decides.
        if self._lost_at is not None and not error.final:
            return error.reason
        url, reason = error.url, error.reason
        facts: Any = {"status": error.status, "final": error.final, "code": error.code}
        self._finish(lambda: ConnectFailed(url, reason, **facts), quietly=False)
        return None

    async def _serve(self, link: Link) -> str | None:
        failure: ConnectFailed | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run_sender)
            try:
                greeting = await greet(link, self._client.name, timeout=self._greeting_timeout)
            except ConnectFailed as error:
                failure = error  # raised in here, it would come out in a group
            else:
                self._client.serve_dialogs(nursery)
                await self._be_connected(link, greeting)
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return self._ended(link.closing or Closing(1006), link)

    async def _be_connected(self, link: Link, greeting: Greeting) -> None:
        since = trio.current_time()
        missed = self._missed(greeting.position)
        again = None if self._lost_at is None else Reconnected(greeting.state, since - self._lost_at, missed)
        self._client.attach(link, again)
        self._position, self._heard_before = greeting.position, self._client.events_received
        self._client.take_in(greeting)
        self._client.open()
        await self._client.serve(link)
        self._lost_at = now = trio.current_time()
        if now - since >= self._policy.reset_after:
            self._attempts = 0

    def _missed(self, now: Position | None) -> int | None:
        before = self._position
        if before is None or now is None or before.of != now.of:
            return None
        return max(0, now.shown - before.shown - (self._client.events_received - self._heard_before))

    def _ended(self, closing: Closing, link: Link) -> str | None:
        if is_final_close(closing.code):
            quietly = closing.code in _QUIET_CLOSES
            self._finish(lambda: ConnectionClosed(f"the connection was closed: {closing}"), quietly=quietly)
            return None
        self._client.lose(str(closing), link.unsent(), keep_run=link.keeps_runs)
        return str(closing)

    def _give_up(self, reason: str) -> None:
        why = f"given up after {self._attempts} attempts to connect again: {reason}"
        self._finish(lambda: ConnectionLost(why, uncertain=False), quietly=False)

    def _finish(self, why: Callable[[], ConnectionClosed], *, quietly: bool) -> None:
        """There will be no other link. The first reason is the one that is told."""
        if not self._finished:
            self._finished = True
            self._client.close(_closed if self._said_goodbye else why, quietly=quietly or self._said_goodbye)


def _closed() -> ConnectionClosed:
    return ConnectionClosed("the client was closed")
