"""From a connection to a peer: the request is read and judged, then answered with a handshake or a refusal."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import trio
from trio_websocket import WebSocketConnection, wrap_server_stream

from .access import Tickets
from .config import EndpointConfig
from .door import Admitted, Door, Refused
from .http import BadRequest, read_request, write_response
from .stream import PeerStream

__all__ = ["Reception", "Welcome"]

_log = logging.getLogger("pi_trio.endpoint")

# A prompt with images comes in many pieces: trio-websocket's default of 4 KiB would make a thousand of them.
_RECEIVE_BYTES = 64 * 1024

Welcome: TypeAlias = Callable[[WebSocketConnection, PeerStream, Admitted], Awaitable[None]]
"""Talks to a peer, until its connection is to be closed."""


class Reception:
    """Receives connections, each in a task of its caller's. Those that have not said who they are have little time,
    and the oldest of them even less when there are many.
    """

    def __init__(
        self, name: str, door: Door, tickets: Tickets, config: EndpointConfig, *, full: Callable[[], bool]
    ) -> None:
        """``full``: whether there is no room for another peer."""
        self._name = name
        self._door = door
        self._tickets = tickets
        self._config = config
        self._full = full
        self._handshakes: dict[trio.CancelScope, None] = {}
        self.refused = 0
        """How many were refused."""

    def __repr__(self) -> str:
        return f"<Reception {self._name} {len(self._handshakes)} in handshakes>"

    def cut_off(self) -> None:
        """End every connection that is no peer yet."""
        for scope in tuple(self._handshakes):
            scope.cancel()

    async def receive(self, stream: trio.SocketStream, welcome: Welcome) -> None:
        """See one connection through, from its first byte to its last. Whatever goes wrong ends it, and only it."""
        try:
            context = self._config.ssl_context
            await self._attend_to(
                stream if context is None else trio.SSLStream(stream, context, server_side=True), welcome
            )
        except (OSError, ssl.SSLError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            _log.debug("%s: a connection broke: %s", self._name, error)
        except Exception:
            _log.exception("%s: a connection was cut off", self._name)
        finally:
            await trio.aclose_forcefully(stream)

    async def _attend_to(self, stream: trio.abc.Stream, welcome: Welcome) -> None:
        admitted: Admitted | None = None
        with self._shaking_hands():
            try:
                request, head, behind = await read_request(stream)
            except BadRequest as error:
                await self._refuse(stream, Refused(400, str(error)))
            else:
                verdict = self._door.judge(request, trio.current_time())
                if isinstance(verdict, Admitted) and self._full():
                    verdict = Refused(503, "there are as many connections as there may be", (("Retry-After", "5"),))
                if isinstance(verdict, Admitted):
                    admitted = verdict
                elif isinstance(verdict, Refused):
                    await self._refuse(stream, verdict)
                else:
                    ticket = self._tickets.issue(verdict.scope, trio.current_time())
                    body = json.dumps({"ticket": ticket, "expires_in": self._tickets.lifetime})
                    await write_response(stream, 200, body, content_type="application/json")
        if admitted is not None:
            framed = PeerStream(stream, head, behind, max_message_bytes=self._config.max_message_bytes)
            await self._shake_hands(framed, admitted, welcome)
        await self._linger(stream)

    @contextmanager
    def _shaking_hands(self) -> Iterator[None]:
        """Limits the time of the body, and how many of them there are."""
        while len(self._handshakes) >= self._config.max_handshakes:
            oldest = next(iter(self._handshakes))
            del self._handshakes[oldest]
            oldest.cancel()
        with trio.move_on_after(self._config.handshake_timeout) as scope:
            self._handshakes[scope] = None
            try:
                yield
            finally:
                self._handshakes.pop(scope, None)

    async def _refuse(self, stream: trio.abc.Stream, refused: Refused) -> None:
        self.refused += 1
        level = logging.DEBUG if refused.delay else logging.INFO  # of too many, each is not worth a line
        _log.log(level, "%s: a connection was refused: %d %s", self._name, refused.status, refused.reason)
        await trio.sleep(refused.delay)
        await write_response(stream, refused.status, f"{refused.reason}\n", headers=refused.headers)

    async def _shake_hands(self, stream: PeerStream, admitted: Admitted, welcome: Welcome) -> None:
        async with trio.open_nursery() as nursery:
            # The request was looked at already: what is read here is there, and what is answered is short.
            with trio.move_on_after(self._config.handshake_timeout) as patience:
                request = await wrap_server_stream(
                    nursery,
                    stream,
                    max_message_size=self._config.max_message_bytes,
                    receive_buffer_size=_RECEIVE_BYTES,
                )
                socket = await request.accept(subprotocol=admitted.subprotocol)
            if not patience.cancelled_caught:
                await welcome(socket, stream, admitted)
            nursery.cancel_scope.cancel()

    async def _linger(self, stream: trio.abc.Stream) -> None:
        """Let the other side read the last of what it was told: a connection that is closed with something unread in
        it is reset, and that may overtake the answer.
        """
        with trio.move_on_after(self._config.close_timeout):
            try:
                if isinstance(stream, trio.abc.HalfCloseableStream):
                    await stream.send_eof()
                while await stream.receive_some(_RECEIVE_BYTES):
                    pass
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
