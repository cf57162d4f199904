"""What became of connections to instances, and of what was asked over them, as a trace tells it."""

from __future__ import annotations

from typing import TypeAlias

import attrs

__all__ = [
    "AskEnded",
    "AskStarted",
    "Connected",
    "ConnectionEvent",
    "ConnectionHeard",
    "LinkEnded",
    "LinkOpened",
    "LinkReceived",
    "LinkRefused",
    "LinkWritten",
]


@attrs.frozen
class _ConnectionEvent:
    at: float
    """When, on the Trio clock, in seconds."""


@attrs.frozen
class Connected(_ConnectionEvent):
    """Somebody has a client that keeps itself connected to an instance."""

    connection: int
    instance: str
    attempts: int
    """How often it tries in a row."""
    places: int = 1000
    """How many requests may wait for another link ..."""
    patience: float = 30.0
    """... and for how many seconds each."""


@attrs.frozen
class LinkOpened(_ConnectionEvent):
    """It has a link."""

    connection: int


@attrs.frozen
class LinkRefused(_ConnectionEvent):
    """It got none."""

    connection: int
    final: bool
    """Whether there never will be one."""


@attrs.frozen
class LinkEnded(_ConnectionEvent):
    """Its link is over, and what travelled on it is lost."""

    connection: int
    code: int
    """A close code of WebSocket: 1006 for one that dropped."""


@attrs.frozen
class LinkWritten(_ConnectionEvent):
    """A record left the client for the far end, which may get it or not."""

    connection: int
    record: bytes


@attrs.frozen
class LinkReceived(_ConnectionEvent):
    """A record came back."""

    connection: int
    record: bytes


@attrs.frozen
class AskStarted(_ConnectionEvent):
    """A caller sends a request over a connection; ``mark`` is in its bytes, and in no other's."""

    ask: int
    connection: int
    mark: str
    timeout: float | None


@attrs.frozen
class AskEnded(_ConnectionEvent):
    """Its outcome: ``"ok"``, ``"cancelled"``, or the name of the exception."""

    ask: int
    outcome: str
    uncertain: bool | None = None
    """What a ``ConnectionLost`` says: whether the other side may have got it."""


@attrs.frozen
class ConnectionHeard(_ConnectionEvent):
    """A subscriber, who is never behind, was given an event; or, without one, told that there is another link."""

    connection: int
    record: str | None
    away: float | None = None
    """Of a ``Reconnected``: the seconds without a link."""


ConnectionEvent: TypeAlias = (
    Connected
    | LinkOpened
    | LinkRefused
    | LinkEnded
    | LinkWritten
    | LinkReceived
    | AskStarted
    | AskEnded
    | ConnectionHeard
)
