"""Records over pipes, and over WebSocket."""

from __future__ import annotations

from .dial import open_websocket, wrap_websocket
from .dialled import DialledTransport
from .pipes import PipeTransport
from .websocket import SUBPROTOCOLS, WebSocketTransport

__all__ = [
    "SUBPROTOCOLS",
    "DialledTransport",
    "PipeTransport",
    "WebSocketTransport",
    "open_websocket",
    "wrap_websocket",
]
