"""Keeps one client connected to a Pi that is somewhere else."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio

from ..abc import Closing, Link
from ..errors import ConnectFailed, ConnectionClosed, ConnectionLost
from ..lifecycle import ReconnectPolicy, is_final_close
from .client import PiClient
from .greeting import Greeting, greet
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
        self._lost_at = 0.0
        self._scope = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<Connection of {self._client!r}>"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be connected, until that is over for good, or closed. Started when Pi has answered for the first time.

        Raises:
            ConnectFailed: the first connection did not come about. That a later one does not is told to whoever
                uses the client.
        """
        try:
            with self._scope:
                reason = await self._live(task_status)
                while reason is not None and (delay := self._policy.delay(self._attempts, random.random())) is not None:
                    self._attempts += 1
                    _log.info("%r: connecting again in %.2f s: %s", self._client, delay, reason)
                    await trio.sleep(delay)
                    reason = await self._live_again()
                if reason is not None:
                    self._give_up(reason)
        finally:
            self._client.close(lambda: ConnectionClosed("the client was closed"), quietly=True)

    def close(self) -> None:
        """Say goodbye: requests fail, what was sent before gets through, and :meth:`run` returns. Idempotent."""
        self._client.refuse(lambda: ConnectionClosed("the client was closed"))
        if self._link is not None:
            self._link.close_sending()
        else:
            self._scope.cancel()

    def cancel(self) -> None:
        """Be done with it. Idempotent."""
        self._scope.cancel()

    async def _live_again(self) -> str | None:
        try:
            return await self._live()
        except ConnectFailed as error:
            if not error.final:
                return error.reason
            url, reason, status = error.url, error.reason, error.status
            self._client.close(lambda: ConnectFailed(url, reason, status=status, final=True), quietly=False)
            return None

    async def _live(self, task_status: trio.TaskStatus[None] | None = None) -> str | None:
        """Have one link, to its end. Why it is to be followed by another; ``None``: it is not."""
        async with self._open_link() as link:
            self._link = link
            try:
                return await self._serve(link, task_status)
            finally:
                self._link = None

    async def _serve(self, link: Link, task_status: trio.TaskStatus[None] | None) -> str | None:
        failure: ConnectFailed | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run_sender)
            try:
                greeting = await greet(link, self._client.name, timeout=self._greeting_timeout)
            except ConnectFailed as error:
                failure = error  # raised in here, it would come out in a group
            else:
                await nursery.start(self._client.serve_dialogs)
                await self._be_connected(link, greeting, task_status)
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return self._ended(link.closing or Closing(1006), link)

    async def _be_connected(self, link: Link, greeting: Greeting, task_status: trio.TaskStatus[None] | None) -> None:
        since = trio.current_time()
        if task_status is None:
            self._client.attach(link, Reconnected(greeting.state, since - self._lost_at))
        else:
            self._client.attach(link)
            task_status.started()
        self._client.take_in(greeting)
        self._client.open()
        await self._client.serve(link)
        self._lost_at = trio.current_time()
        if self._lost_at - since >= self._policy.reset_after:
            self._attempts = 0

    def _ended(self, closing: Closing, link: Link) -> str | None:
        if is_final_close(closing.code):
            self._client.close(
                lambda: ConnectionClosed(f"the connection was closed: {closing}"),
                quietly=closing.code in _QUIET_CLOSES,
            )
            return None
        self._client.lose(str(closing), link.unsent())
        return str(closing)

    def _give_up(self, reason: str) -> None:
        why = f"given up after {self._attempts} attempts to connect again: {reason}"
        self._client.close(lambda: ConnectionLost(why, uncertain=False), quietly=False)
