"""Making a WebSocket connection: whom to call, what to say first, and how it is ended."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import SplitResult, urlsplit

import trio
import trio_websocket
from trio_websocket import WebSocketConnection
from wsproto.utilities import LocalProtocolError

from ..concurrency import ServiceNursery, open_service_nursery
from ..errors import ConnectFailed
from ..lifecycle import is_final_status
from ..protocol import DEFAULT_MAX_RECORD_BYTES
from .stream import EndedEarly, WebSocketStream
from .websocket import SUBPROTOCOLS, WebSocketTransport

__all__ = ["check_url", "open_websocket", "shown_url", "wrap_websocket"]

# How long the other side has to say goodbye, when there is time; and when there is none.
_CLOSE_TIMEOUT = 2.0
_HASTY_CLOSE_TIMEOUT = 0.2

# Messages, on top of what the transport's own inbox holds: the two tasks that hand them on do so in batches.
_QUEUED_MESSAGES = 16


@asynccontextmanager
async def open_websocket(
    url: str,
    *,
    token: str | None = None,
    connect_timeout: float = 10.0,
    heartbeat: float | None = 30.0,
    max_record_bytes: int = DEFAULT_MAX_RECORD_BYTES,
    ssl_context: ssl.SSLContext | None = None,
    subprotocols: Sequence[str] = SUBPROTOCOLS,
) -> AsyncIterator[WebSocketTransport]:
    """A connection to ``ws://``, ``wss://`` or, by a UNIX socket, ``ws+unix:///path/to/socket``, for the body.

    It reads and pings for itself; whoever uses it runs its ``run_sender``. Behind the body it is closed: what is queued
    is dropped, and the other side has two seconds to say goodbye, a fifth of one when the body raised or was cancelled.

    Args:
        url: whom to call.
        token: for the ``Authorization`` header.
        connect_timeout: seconds until it has to be there.
        heartbeat: seconds between pings; when nothing came back for twice that, it is over. ``None`` for none.
        max_record_bytes: the longest message taken in; a longer one ends the connection (1009).
        ssl_context: for ``wss://``, instead of the system's trust.
        subprotocols: what is offered, the best first; without any, a message holds one record.

    Raises:
        ConnectFailed: nobody answered, or who did refused us.
        ValueError: that is no such URL, or it would send the token to another machine in the clear.
    """
    parts = check_url(url, token)
    deadline = trio.current_time() + connect_timeout
    stream = await _open_stream(url, parts, ssl_context, deadline)
    async with wrap_websocket(
        stream,
        url,
        token=token,
        deadline=deadline,
        heartbeat=heartbeat,
        max_record_bytes=max_record_bytes,
        subprotocols=subprotocols,
    ) as transport:
        yield transport


@asynccontextmanager
async def wrap_websocket(
    stream: trio.abc.Stream,
    url: str,
    *,
    token: str | None = None,
    deadline: float,
    heartbeat: float | None = 30.0,
    max_record_bytes: int = DEFAULT_MAX_RECORD_BYTES,
    subprotocols: Sequence[str] = SUBPROTOCOLS,
) -> AsyncIterator[WebSocketTransport]:
    """As :func:`open_websocket`, over a ``stream`` that is there already, and is closed behind the body."""
    below = WebSocketStream(stream, max_message_bytes=max_record_bytes)
    alive = trio.CancelScope()
    connection: WebSocketConnection | None = None

    async def stop(reason: BaseException | None) -> None:
        below.opening = False
        try:
            if connection is not None:
                with trio.move_on_after(_CLOSE_TIMEOUT if reason is None else _HASTY_CLOSE_TIMEOUT):
                    await connection.aclose()
        finally:
            alive.cancel()
            await trio.aclose_forcefully(stream)  # what reads it ends with it

    parts = check_url(url)
    try:
        async with open_service_nursery(stop) as service:
            with trio.CancelScope(deadline=deadline) as scope:
                connection = await trio_websocket.wrap_client_stream(
                    cast("trio.Nursery", _Reader(service, stream)),
                    below,  # type: ignore[arg-type]  # any stream will do, says its documentation
                    parts.netloc.rpartition("@")[2] or "localhost",
                    "/" if parts.scheme == "ws+unix" else _target(parts),
                    subprotocols=subprotocols,
                    extra_headers=[] if token is None else [(b"Authorization", b"Bearer " + token.encode())],
                    message_queue_size=_QUEUED_MESSAGES,
                    max_message_size=max_record_bytes,
                    receive_buffer_size=None,
                )
            if connection is None:
                assert scope.cancelled_caught
                raise ConnectFailed(shown_url(url), "it did not answer in time")
            below.opening = False
            transport = WebSocketTransport(connection, below, heartbeat=heartbeat)

            async def run() -> None:
                with alive:
                    await transport.run()

            service.start_soon(run, name=f"WebSocket {shown_url(url)}")
            yield transport
    except trio_websocket.ConnectionRejected as error:
        status = error.status_code
        reason = f"refused with HTTP {status}"
        if status == 401:
            reason += ": it wants a token" if token is None else ": it wants another token"
        elif status == 403:
            reason += ": it is not served under this name (EndpointConfig.allowed_hosts says which there are)"
        raise ConnectFailed(shown_url(url), reason, status=status, final=is_final_status(status)) from error
    except EndedEarly as error:
        raise ConnectFailed(shown_url(url), str(error)) from error


def check_url(url: str, token: str | None = None) -> SplitResult:
    """The parts of a URL that :func:`open_websocket` takes, with this token; raises ``ValueError`` for another."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is no number
        (parts.hostname or "").encode("idna")  # and this, when a label is empty or too long
        named = parts.path if parts.scheme == "ws+unix" else parts.hostname
    except ValueError:
        named = None
    if not named or parts.scheme not in ("ws", "wss", "ws+unix"):
        raise ValueError(f"not a WebSocket URL (ws://host:port, wss://host:port, ws+unix:///path): {url!r}")
    if token is not None and not (token and token.isascii() and token.isprintable()):
        raise ValueError("a token is one line of printable ASCII, and not empty")  # it goes into a header
    if token is not None and parts.scheme == "ws" and not _is_here(parts.hostname or ""):
        raise ValueError(f"a token is not sent to another machine in the clear: use wss://, not {shown_url(url)!r}")
    return parts


def shown_url(url: str) -> str:
    """A URL for people and logs: without its query, where a ticket may stand, and without a password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


async def _open_stream(
    url: str, parts: SplitResult, ssl_context: ssl.SSLContext | None, deadline: float
) -> trio.abc.Stream:
    with trio.CancelScope(deadline=deadline):
        try:
            if parts.scheme == "ws+unix":
                return await trio.open_unix_socket(parts.path)
            host = parts.hostname or ""
            if parts.scheme == "ws":
                return await trio.open_tcp_stream(host, parts.port or 80)
            stream = await trio.open_ssl_over_tcp_stream(
                host, parts.port or 443, ssl_context=ssl_context, https_compatible=True
            )
        except OSError as error:
            raise ConnectFailed(shown_url(url), str(error)) from error
        return stream
    raise ConnectFailed(shown_url(url), "it did not answer in time")


class _Reader:
    """What trio-websocket takes for a nursery: where its reading task is started."""

    def __init__(self, service: ServiceNursery, stream: trio.abc.Stream) -> None:
        self._service = service
        self._stream = stream

    def start_soon(self, task: Callable[[], Awaitable[object]]) -> None:
        async def read() -> None:
            try:
                await task()
            except LocalProtocolError:  # it answers a ping though it has said goodbye
                await trio.aclose_forcefully(self._stream)

        self._service.start_soon(read, name="WebSocket reader")
