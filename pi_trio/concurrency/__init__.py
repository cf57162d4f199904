"""What Trio lacks: ordered shutdown, a broadcast with lag, a value to wait for, a cheap way to wake a task."""

from __future__ import annotations

from .broadcast import Broadcast, Lagged, Subscription, WhenFull
from .service import ServiceNursery, open_service_nursery
from .waking import wake
from .watched import Changes, Watched

__all__ = [
    "Broadcast",
    "Changes",
    "Lagged",
    "ServiceNursery",
    "Subscription",
    "Watched",
    "WhenFull",
    "open_service_nursery",
    "wake",
]
