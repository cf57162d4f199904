"""Ways to find instances."""

from __future__ import annotations

from .auto_spawn import AutoSpawn
from .installed import find_discoveries, load_discovery
from .openclaw import OpenClawDiscovery
from .static import FileDiscovery, StaticDiscovery, read_found
from .warm_pool import WarmPool

__all__ = [
    "AutoSpawn",
    "FileDiscovery",
    "OpenClawDiscovery",
    "StaticDiscovery",
    "WarmPool",
    "find_discoveries",
    "load_discovery",
    "read_found",
]
