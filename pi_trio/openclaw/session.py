"""A client for one session of a gateway: the same as for a Pi."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from ..client import PiClient, RemoteOptions
from ..client.connection import Connection
from ..client.gate import Gate
from ..client.remote import hold_connection
from ..lifecycle import ReconnectPolicy
from .gateway import Gateway, open_gateway
from .link import SessionLink
from .options import GatewayOptions
from .session_translation import SessionTranslation
from .translation import Translation

__all__ = ["open_session", "session_client"]


@asynccontextmanager
async def _link(gateway: Gateway, translate: Callable[[str], Translation]) -> AsyncIterator[SessionLink]:
    link = SessionLink(gateway, translate(gateway.new_prefix()))
    try:
        yield link
    finally:
        link.close_sending()


@asynccontextmanager
async def session_client(
    connected: Callable[[], AbstractAsyncContextManager[Gateway]],
    translate: Callable[[str], Translation],
    *,
    name: str,
    options: RemoteOptions | None = None,
) -> AsyncIterator[PiClient]:
    """A client for the body, over whatever gateway ``connected`` gives, now and when that one is lost.

    Args:
        connected: gives a connection to the gateway; raises :class:`ConnectFailed` when there is none.
        translate: makes the translation, from the prefix for its requests.
        name: what the client is called in messages.
        options: how it behaves when the gateway is lost.

    Raises:
        ConnectFailed: there is no gateway, or no such session.
    """
    chosen = options or RemoteOptions()
    client = PiClient(
        name,
        request_timeout=chosen.request_timeout,
        gate=Gate(places=chosen.queue_limit, patience=chosen.queue_timeout),
    )

    @asynccontextmanager
    async def open_link() -> AsyncIterator[SessionLink]:
        async with connected() as gateway, _link(gateway, translate) as link:
            yield link

    connection = Connection(client, open_link, policy=chosen.reconnect, greeting_timeout=chosen.connect_timeout)
    async with hold_connection(client, connection):
        yield client


@asynccontextmanager
async def open_session(
    url: str, key: str, *, options: GatewayOptions | None = None, reconnect: ReconnectPolicy | None = None
) -> AsyncIterator[PiClient]:
    """A client for the session ``key`` of the gateway at ``ws://host:port``, for the body.

    It has a connection of its own, which is made again when it drops. What a gateway has no counterpart of raises
    :class:`Unsupported`: see ``docs/registry.md``.

    Raises:
        ConnectFailed: nobody answered, the gateway did not let us in, or it has no such session.
    """
    chosen = options or GatewayOptions()
    remote = RemoteOptions(
        request_timeout=chosen.request_timeout,
        connect_timeout=chosen.connect_timeout,
        reconnect=reconnect or ReconnectPolicy(),
    )
    async with session_client(
        lambda: open_gateway(url, chosen),
        lambda prefix: SessionTranslation(key, prefix),
        name=f"{key} at {url}",
        options=remote,
    ) as client:
        yield client
