"""A client for a Pi behind a WebSocket."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio

from ..concurrency import open_service_nursery
from ..lifecycle import ReconnectPolicy
from ..protocol import DEFAULT_MAX_RECORD_BYTES, DialogHandler
from ..transport import COUNTED, SUBPROTOCOLS, open_websocket, shown_url
from .client import PiClient
from .connection import Connection
from .gate import Gate

__all__ = ["RemoteOptions", "connect_client", "hold_connection", "open_client"]

# How long a goodbye may take, with what was sent before it.
_CLOSE_TIMEOUT = 5.0


def _positive(_instance: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError(f"{attribute.name} must be positive, not {value!r}")


def _not_negative(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{attribute.name} must not be negative, but is {value!r}")


@attrs.frozen(kw_only=True)
class RemoteOptions:
    """How a client behaves whose Pi is behind a WebSocket. Times are in seconds.

    Raises:
        ValueError: a field has a value it cannot have.
    """

    request_timeout: float = attrs.field(default=30.0, validator=_not_negative)
    """How long a request waits for its response, unless it says otherwise."""
    connect_timeout: float = attrs.field(default=10.0, validator=_positive)
    """How long a connection may take until it is there, and then until Pi has said how it is."""
    heartbeat: float | None = attrs.field(default=30.0, validator=_positive)
    """How often the other side is pinged; when nothing came back for twice that, it is gone. ``None``: not at all."""
    reconnect: ReconnectPolicy = attrs.field(factory=ReconnectPolicy)
    """What follows the loss of a connection."""
    queue_limit: int = attrs.field(default=1000, validator=_not_negative)
    """How many requests may wait for another connection."""
    queue_timeout: float = attrs.field(default=30.0, validator=_not_negative)
    """How long each of them does, at the most."""
    max_record_bytes: int = attrs.field(default=DEFAULT_MAX_RECORD_BYTES, validator=_positive)
    """The longest message taken in; a longer one ends the connection."""
    dialogs: DialogHandler | None = None
    """Who answers the dialogs of Pi's extensions (see :mod:`pi_trio.client.dialogs`); ``None``: they are dismissed."""
    ssl_context: ssl.SSLContext | None = None
    """For ``wss://``, instead of the system's trust."""


def _prepare(url: str, token: str | None, options: RemoteOptions) -> tuple[PiClient, Connection]:
    client = PiClient(
        shown_url(url),
        request_timeout=options.request_timeout,
        gate=Gate(places=options.queue_limit, patience=options.queue_timeout),
    )
    client.dialog_handler = options.dialogs
    open_link = partial(
        open_websocket,
        url,
        token=token,
        connect_timeout=options.connect_timeout,
        heartbeat=options.heartbeat,
        max_record_bytes=options.max_record_bytes,
        ssl_context=options.ssl_context,
        subprotocols=(COUNTED, *SUBPROTOCOLS),
    )
    connection = Connection(client, open_link, policy=options.reconnect, greeting_timeout=options.connect_timeout)
    return client, connection


@asynccontextmanager
async def open_client(
    url: str, *, token: str | None = None, options: RemoteOptions | None = None
) -> AsyncIterator[PiClient]:
    """A client for the Pi at ``ws://host:port`` (or ``wss://``, or ``ws+unix:///path``), for the body.

    It is the same client as over a pipe. When the connection drops, it is made again, as ``options.reconnect`` says:
    a request that was sent fails with ``ConnectionLost(uncertain=True)``, one that was not is sent then; runs and
    event streams go on behind a :class:`Reconnected`. Behind the body the connection is closed, the Pi lives on.

    Args:
        url: where.
        token: what the other side asks for; sent in the ``Authorization`` header.
        options: everything else.

    Raises:
        ConnectFailed: the first connection did not come about. It is tried once.
    """
    client, connection = _prepare(url, token, options or RemoteOptions())
    async with hold_connection(client, connection):
        yield client


@asynccontextmanager
async def hold_connection(client: PiClient, connection: Connection) -> AsyncIterator[None]:
    """Keep ``client`` connected for the body, and say goodbye behind it. Raises as :func:`open_client`."""
    over = trio.Event()

    async def run() -> None:
        try:
            await connection.run()
        finally:
            over.set()

    async def stop(reason: BaseException | None) -> None:
        if reason is None:
            connection.close()
            with trio.move_on_after(_CLOSE_TIMEOUT):
                await over.wait()
        connection.cancel()

    async with open_service_nursery(stop) as service:
        service.start_soon(run, name=f"connection to {client.name}")
        await client.wait_connected()
        yield


async def connect_client(
    nursery: trio.Nursery, url: str, *, token: str | None = None, options: RemoteOptions | None = None
) -> PiClient:
    """As :func:`open_client`, but its task lives in ``nursery``, and ends when that is cancelled."""
    client, connection = _prepare(url, token, options or RemoteOptions())
    nursery.start_soon(connection.run)
    try:
        await client.wait_connected()
    except BaseException:
        connection.cancel()
        raise
    return client
