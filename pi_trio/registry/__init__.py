"""The channel of instance events, and what is folded from it."""

from __future__ import annotations

from .registry import EventFeed, Numbered, Registry, Snapshot
from .table import Entry, fold

__all__ = ["Entry", "EventFeed", "Numbered", "Registry", "Snapshot", "fold"]
