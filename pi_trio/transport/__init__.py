"""Records over pipes (and later WebSocket)."""

from __future__ import annotations

from .pipes import PipeTransport

__all__ = ["PipeTransport"]
