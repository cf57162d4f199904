"""Records over pipes, and over WebSocket."""

from __future__ import annotations

from .dial import check_url, open_websocket, shown_url, wrap_websocket
from .dialled import DialledTransport
from .pipes import PipeTransport
from .shortcut import Shortcut
from .stream import FrameStream
from .websocket import COUNTED, SUBPROTOCOLS, WebSocketTransport

__all__ = [
    "COUNTED",
    "SUBPROTOCOLS",
    "DialledTransport",
    "FrameStream",
    "PipeTransport",
    "Shortcut",
    "WebSocketTransport",
    "check_url",
    "open_websocket",
    "shown_url",
    "wrap_websocket",
]
