"""Talking to one Pi: requests, events, runs."""

from __future__ import annotations

from ..concurrency import Lagged, WhenFull
from .client import EventStream, PiClient
from .reply import Reply
from .run import Run

__all__ = ["EventStream", "Lagged", "PiClient", "Reply", "Run", "WhenFull"]
