"""The instances that are not supervised here: how each is reached, and how it is watched."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import attrs
import trio

from ..abc import Found
from ..client import PiClient
from ..lifecycle import HealthPolicy

__all__ = ["Member", "OpenClient", "Watch"]

OpenClient: TypeAlias = Callable[[], AbstractAsyncContextManager[PiClient]]
"""Opens a client to one instance, for a body. What it raises says that the instance cannot be reached."""


@attrs.frozen(kw_only=True)
class Watch:
    """How an instance that is not supervised here is watched."""

    health: HealthPolicy = attrs.field(factory=lambda: HealthPolicy(action="report"))
    """How often it is asked, and what is made of the answers. Its ``action`` has no meaning here: what does not run here
    cannot be ended from here."""
    remove_after: float = 60.0
    """Seconds for which it may be unhealthy before it is unregistered. It is asked on all the same, and registered again
    when it answers."""


@attrs.define(eq=False)
class Member:
    """One instance, and how to reach it."""

    open_client: OpenClient
    found: Found | None = None
    """How it was described; ``None`` for one that is supervised here."""
    watching: trio.CancelScope = attrs.field(factory=trio.CancelScope)
