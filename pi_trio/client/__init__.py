"""Talking to one Pi: requests, events, runs."""

from __future__ import annotations

from ..concurrency import Lagged, WhenFull
from .client import PiClient
from .dialogs import DialogInterceptor
from .event_stream import EventStream
from .reconnected import Reconnected
from .remote import RemoteOptions, connect_client, open_client
from .reply import Reply
from .run import Run
from .sessions import PiStatus

__all__ = [
    "DialogInterceptor",
    "EventStream",
    "Lagged",
    "PiClient",
    "PiStatus",
    "Reconnected",
    "RemoteOptions",
    "Reply",
    "Run",
    "WhenFull",
    "connect_client",
    "open_client",
]
