"""OpenClaw gateways: their protocol, and their sessions as Pis."""

from __future__ import annotations

from .catalog_translation import CatalogTranslation
from .gateway import Gateway, open_gateway
from .options import READ, WRITE, GatewayOptions
from .rows import CatalogRow, CatalogsPage, SessionRow, SessionsPage
from .session import open_session, session_client
from .session_translation import SessionTranslation
from .translation import Translation

__all__ = [
    "READ",
    "WRITE",
    "CatalogRow",
    "CatalogTranslation",
    "CatalogsPage",
    "Gateway",
    "GatewayOptions",
    "SessionRow",
    "SessionTranslation",
    "SessionsPage",
    "Translation",
    "open_gateway",
    "open_session",
    "session_client",
]
