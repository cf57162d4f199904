"""OpenClaw gateways: their protocol, and their sessions as Pis."""

from __future__ import annotations

from .catalog import PI_CATALOG, catalogued
from .catalog_translation import CatalogTranslation
from .gateway import Gateway, open_gateway
from .options import READ, WRITE, GatewayOptions
from .rows import CatalogRow, SessionRow, SessionsPage
from .session import open_session, session_client
from .session_translation import SessionTranslation
from .translation import Translation

__all__ = [
    "PI_CATALOG",
    "READ",
    "WRITE",
    "CatalogRow",
    "CatalogTranslation",
    "Gateway",
    "GatewayOptions",
    "SessionRow",
    "SessionTranslation",
    "SessionsPage",
    "Translation",
    "catalogued",
    "open_gateway",
    "open_session",
    "session_client",
]
