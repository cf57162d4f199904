"""What Trio lacks: ordered shutdown, and a broadcast with lag."""

from __future__ import annotations

from .broadcast import Broadcast, Lagged, Subscription, WhenFull
from .service import ServiceNursery, open_service_nursery

__all__ = ["Broadcast", "Lagged", "ServiceNursery", "Subscription", "WhenFull", "open_service_nursery"]
