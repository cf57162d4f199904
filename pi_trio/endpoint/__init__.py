"""Instances as WebSocket endpoints: other programs, browsers and machines at the same agent."""

from __future__ import annotations

from .config import EndpointConfig
from .endpoint import Endpoint, EndpointStatistics
from .endpoints import Endpoints
from .peer import CloseCode
from .scope import Scope

__all__ = ["CloseCode", "Endpoint", "EndpointConfig", "EndpointStatistics", "Endpoints", "Scope"]
