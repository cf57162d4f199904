"""A session of a gateway, as a link to a Pi."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

import trio

from ..abc import Closing, Link
from ..errors import ConnectionLost
from ..protocol import MalformedRecord, Record, decode_line
from .frames import GatewayEvent, GatewayResponse
from .gateway import Gateway, Listener
from .translation import Step, Translation

__all__ = ["SessionLink"]

_log = logging.getLogger("pi_trio.openclaw")

# Steps of a streamed answer, mostly, for a reader that does not come. It gets what it can have, and then the end.
_MAX_INBOX = 50_000

# Seconds until the same is asked again: little for whoever waits, and enough that the gateway has other things to do.
_AGAIN = 0.1

# RFC 6455: the connection is fine, its user is not; and the other way round.
_POLICY_VIOLATION = 1008
_PROTOCOL_ERROR = 1002


class SessionLink(Link, Listener):
    """Carries a client's commands to one session of ``gateway``, which any number of links share.

    It ends with the gateway's connection, when it is closed, or when its reader lets too much lie.
    """

    keeps_runs = False  # gateways tell no entries: a run ends with its connection

    def __init__(self, gateway: Gateway, translation: Translation) -> None:
        self._gateway = gateway
        self._translation = translation
        self.prefix = translation.prefix
        self._inbox: deque[Record] = deque()
        self._later: list[bytes] = []
        self._asked_again = trio.Event()
        self._arrived = trio.Event()
        self._closing: Closing | None = None
        self._sending_closed = False
        gateway.add(self)

    def __repr__(self) -> str:
        state = "open" if self._closing is None else f"closed: {self._closing}"
        return f"<SessionLink {self._translation.where} {state} {len(self._inbox)} records in>"

    @property
    def session_key(self) -> str | None:  # type: ignore[override]  # it may turn out only later
        """The session whose events it wants."""
        return self._translation.session_key

    @property
    def closing(self) -> Closing | None:
        """See :attr:`pi_trio.abc.Link.closing`."""
        return self._closing

    def unsent(self) -> Sequence[bytes]:
        """None that are known of: what was translated is with the gateway's connection, and went with it."""
        return ()

    def send_nowait(self, record: bytes) -> None:
        """Translate one command and send that; see :class:`pi_trio.abc.RecordTransport`.

        Raises:
            Unsupported: the gateway has nothing like it.
        """
        if self._closing is not None:
            raise trio.BrokenResourceError(f"the connection is over: {self._closing}")
        if self._sending_closed:
            raise trio.ClosedResourceError("the sending side was closed")
        command = decode_line(record)
        assert not isinstance(command, MalformedRecord), "it was encoded by a client"
        try:
            self._do(self._translation.command(command))
        except ConnectionLost as error:
            raise trio.BrokenResourceError(str(error)) from error

    def _do(self, step: Step) -> None:
        for request in step.requests:
            self._gateway.send(request)
        if step.later:
            self._later += step.later
            self._asked_again.set()
        if step.records:
            self._inbox += step.records
            self._arrived.set()
            if len(self._inbox) > _MAX_INBOX:
                self.end(Closing(_POLICY_VIOLATION, f"{len(self._inbox)} records were not read"))

    def take(self, frame: GatewayResponse | GatewayEvent) -> None:
        """Translate one frame of the gateway for the client."""
        translate = self._translation.response if isinstance(frame, GatewayResponse) else self._translation.event
        try:
            self._do(translate(frame))  # type: ignore[arg-type]  # each gets its own kind
        except ConnectionLost:
            pass  # whoever serves the gateway finds that, and ends this
        except Exception:  # the other links on this connection have nothing to do with it
            _log.exception("%r: what the gateway said could not be translated", self)
            self.end(Closing(_PROTOCOL_ERROR, "what the gateway said could not be translated"))

    def end(self, closing: Closing) -> None:
        """No more will come. Idempotent: the first reason is the one that is told."""
        if self._closing is None:
            self._closing = closing
            self._gateway.remove(self)
            self._arrived.set()

    async def receive(self) -> Sequence[Record]:
        """Wait for records; see :class:`pi_trio.abc.RecordTransport`."""
        if self._inbox or self._closing is not None:
            await trio.lowlevel.checkpoint()
        else:
            self._arrived = trio.Event()
            await self._arrived.wait()
        if self._inbox:
            records = list(self._inbox)
            self._inbox.clear()
            return records
        if self._closing is not None:
            raise trio.EndOfChannel
        return ()  # interrupted

    def interrupt(self) -> None:
        """See :meth:`pi_trio.abc.RecordTransport.interrupt`."""
        self._arrived.set()

    async def run_sender(self) -> None:
        """Ask what has to be asked again. Nothing else is queued here: the gateway's connection has its own sender."""
        while True:
            await self._asked_again.wait()
            self._asked_again = trio.Event()
            await trio.sleep(_AGAIN)
            requests, self._later = self._later, []
            with suppress(ConnectionLost):  # whoever serves the gateway finds that, and ends this
                for request in requests:
                    self._gateway.send(request)

    def close_sending(self) -> None:
        """Be done with the session; the gateway's connection goes on. Idempotent."""
        self._sending_closed = True
        self.end(Closing(1000, "it was closed from this side"))
