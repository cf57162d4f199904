"""Process trees of which nothing survives: not their scope, and not the process that opened it. Linux only."""

from __future__ import annotations

from .available import Availability, keeper_available
from .host import KeeperHost, open_keeper_host

__all__ = ["Availability", "KeeperHost", "keeper_available", "open_keeper_host"]
