"""The channel of instance events, and what is folded from it: who is there, how they are, which one to take."""

from __future__ import annotations

from .capacity import Capacity, CapacityReport, report_capacity
from .discovery import (
    AutoSpawn,
    FileDiscovery,
    OpenClawDiscovery,
    StaticDiscovery,
    WarmPool,
    find_discoveries,
    load_discovery,
)
from .feed import EventFeed, Numbered, Snapshot
from .health import HealthReport, Watch
from .leases import Lease
from .membership import OpenClient
from .registry import Registry, RegistryStatistics
from .remote import check_reachable, read_token
from .selection import (
    CapabilityMatch,
    Criteria,
    LeastLoaded,
    PowerOfTwoChoices,
    Random,
    RoundRobin,
    Selection,
    Sticky,
    Strategy,
    refused_by,
)
from .standalone import open_registry
from .table import DiscoveryEntry, Entry, fold

__all__ = [
    "AutoSpawn",
    "CapabilityMatch",
    "Capacity",
    "CapacityReport",
    "Criteria",
    "DiscoveryEntry",
    "Entry",
    "EventFeed",
    "FileDiscovery",
    "HealthReport",
    "Lease",
    "LeastLoaded",
    "Numbered",
    "OpenClawDiscovery",
    "OpenClient",
    "PowerOfTwoChoices",
    "Random",
    "Registry",
    "RegistryStatistics",
    "RoundRobin",
    "Selection",
    "Snapshot",
    "StaticDiscovery",
    "Sticky",
    "Strategy",
    "WarmPool",
    "Watch",
    "check_reachable",
    "find_discoveries",
    "fold",
    "load_discovery",
    "open_registry",
    "read_token",
    "refused_by",
    "report_capacity",
]
