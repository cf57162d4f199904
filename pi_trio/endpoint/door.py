"""Who is let in: the decision about an HTTP request, before a WebSocket handshake is answered. No I/O, no clock.

In the order of what it costs an attacker: the ``Host`` must be ours (a page that had its own name resolved to this
machine sends its own), the ``Origin`` must be one that is allowed (a browser always sends one), and then there must be a
token, or a ticket in its place. All of them compared whole, none by a prefix or a pattern.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

import attrs
import h11

from .access import Access, FailureLimit, Tickets
from .config import EndpointConfig
from .scope import Scope

__all__ = [
    "BATCH",
    "COUNTED",
    "DIALECT",
    "RECORDS",
    "Admitted",
    "Door",
    "Refused",
    "TicketWanted",
    "Verdict",
    "hosts_of",
]

RECORDS: Final = "pi-rpc.v1"
"""The subprotocol for Pi's records, one a message."""
BATCH: Final = "pi-rpc.v1.batch"
"""The same, several a message, each with its LF."""
COUNTED: Final = "pi-rpc.v1.counted"
"""As the batch; what is said first is how many events were shown so far."""
DIALECT: Final = "pi-session.v1"
"""The subprotocol for ``{"id", "method", "params"}``: see :mod:`.dialect`."""

# The first that a peer offers is taken.
_SUBPROTOCOLS = (COUNTED, BATCH, RECORDS, DIALECT)

_REFUSE_AFTER = 1.0
"""Seconds that a failed attempt beyond the limit waits for its answer."""


@attrs.frozen
class Admitted:
    """A peer may come in."""

    scope: Scope
    subprotocol: str | None
    events: bool = True
    """Whether it wants Pi's events (``?events=0``: no)."""


@attrs.frozen
class TicketWanted:
    """It has shown a token, and wants a ticket for somebody with this scope."""

    scope: Scope


@attrs.frozen
class Refused:
    """It may not. Answered with an HTTP status."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    """Seconds before it is told."""


Verdict: TypeAlias = Admitted | TicketWanted | Refused


class Door:
    """Judges requests to one endpoint. What it knows of tokens and failures is its runtime's."""

    def __init__(
        self, config: EndpointConfig, hosts: Iterable[str] | None, access: Access, tickets: Tickets, limit: FailureLimit
    ) -> None:
        """``hosts`` are what ``Host`` may be; ``None``: anything, at a UNIX socket, which no name leads to."""
        self._hosts = None if hosts is None else frozenset(host.lower().encode() for host in hosts)
        self._origins = frozenset(origin.encode() for origin in config.allowed_origins)
        self._access = access
        self._tickets = tickets
        self._limit = limit

    def judge(self, request: h11.Request, now: float) -> Verdict:
        """Decide about one request. A ticket that it shows is used up, unless something else is wrong."""
        headers = _Headers(request)
        path, _, query = request.target.decode("ascii").partition("?")
        wrong = self._wrong_caller(headers)
        if wrong is not None:
            return self._counted(wrong, now)
        if path == "/ticket" and request.method == b"POST":
            return self._judge_ticket_request(headers, now)
        wrong = _wrong_path(path, request.method) or _wrong_handshake(headers)
        if wrong is not None:
            return wrong
        return self._judge_credentials(headers, dict(parse_qsl(query, keep_blank_values=True)), now)

    def _wrong_caller(self, headers: _Headers) -> Refused | None:
        hosts, origins = headers.all(b"host"), headers.all(b"origin")
        if self._hosts is not None and (len(hosts) != 1 or hosts[0].lower() not in self._hosts):
            return Refused(403, "this Host is not served here")
        if origins and (len(origins) != 1 or origins[0] not in self._origins):
            return Refused(403, "this Origin may not connect")
        return None

    def _judge_ticket_request(self, headers: _Headers, now: float) -> Verdict:
        scope = self._access.scope_for(headers.bearer())
        # Not for the anonymous: a ticket must not be worth more than it took to get it.
        if scope is None or not headers.all(b"authorization"):
            return self._failure(now)
        return TicketWanted(scope)

    def _judge_credentials(self, headers: _Headers, query: dict[str, str], now: float) -> Verdict:
        if "token" in query or "access_token" in query:
            wrong = Refused(400, "a token does not belong into a URL: send it as Authorization: Bearer")
            return self._counted(wrong, now)
        if "ticket" in query and not headers.all(b"authorization"):
            scope = self._tickets.redeem(query["ticket"], now)
        else:
            scope = self._access.scope_for(headers.bearer())
        if scope is None:
            return self._failure(now)
        return Admitted(scope, headers.subprotocol(), events=query.get("events") not in ("0", "false", "no"))

    def _failure(self, now: float) -> Refused:
        return self._counted(Refused(401, "a token is needed", (("WWW-Authenticate", "Bearer"),)), now)

    def _counted(self, refused: Refused, now: float) -> Refused:
        """Count an attempt that failed: refused like that, or otherwise when there were too many."""
        if self._limit.failed(now):
            return refused
        return Refused(429, "too many failed attempts", (("Retry-After", "1"),), delay=_REFUSE_AFTER)


def hosts_of(config: EndpointConfig, port: int) -> list[str]:
    """What ``Host`` may be for an endpoint that listens at this TCP port."""
    loopback = ["127.0.0.1", "localhost", "[::1]"] if config.loopback else []
    hosts = [f"{host}:{port}" for host in loopback]
    if port == (80 if config.ssl_context is None else 443):
        hosts += loopback  # whoever connects to the scheme's own port does not name it
    return [*hosts, *config.allowed_hosts]


class _Headers:
    """The headers of a request, as often as each was sent."""

    def __init__(self, request: h11.Request) -> None:
        self._headers = list(request.headers)

    def all(self, name: bytes) -> list[bytes]:
        return [value for each, value in self._headers if each == name]

    def items_of(self, name: bytes) -> list[bytes]:
        """The values of a header that is a list, wherever it was cut."""
        return [item.strip() for value in self.all(name) for item in value.split(b",") if item.strip()]

    def bearer(self) -> str | None:
        """The token that was shown; ``None`` when nothing was. What is no token is one that is no good."""
        values = self.all(b"authorization")
        if not values:
            return None
        scheme, _, token = values[0].partition(b" ")
        if len(values) > 1 or scheme.lower() != b"bearer":
            return ""
        return token.strip().decode("utf-8", "surrogateescape")

    def subprotocol(self) -> str | None:
        offered = {item.decode("ascii", "replace") for item in self.items_of(b"sec-websocket-protocol")}
        return next((each for each in _SUBPROTOCOLS if each in offered), None)


def _wrong_path(path: str, method: bytes) -> Refused | None:
    if path not in ("", "/"):
        return Refused(404, "there is nothing here but /")
    if method != b"GET":
        return Refused(405, "only GET", (("Allow", "GET"),))
    return None


def _wrong_handshake(headers: _Headers) -> Refused | None:
    """What wsproto would stumble over, some of it without an answer."""
    if b"upgrade" not in [item.lower() for item in headers.items_of(b"connection")] or not any(
        value.lower() == b"websocket" for value in headers.all(b"upgrade")
    ):
        return Refused(426, "this is a WebSocket endpoint", (("Upgrade", "websocket"), ("Connection", "Upgrade")))
    if headers.all(b"sec-websocket-version") != [b"13"]:
        return Refused(426, "WebSocket version 13 is wanted", (("Sec-WebSocket-Version", "13"),))
    keys = headers.all(b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        return Refused(400, "Sec-WebSocket-Key is missing or wrong")
    names = (b"connection", b"upgrade", b"host", b"sec-websocket-protocol", b"sec-websocket-extensions")
    if not all(value.isascii() for name in names for value in headers.all(name)):
        return Refused(400, "a header is not ASCII")
    return None


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False
