"""What stands in a stream of events where the connection was another one."""

from __future__ import annotations

import attrs

from ..protocol import State

__all__ = ["Reconnected"]


@attrs.frozen
class Reconnected:
    """The connection had dropped, and there is another. Between the event before this and the one behind it, Pi said
    something that nobody here has heard.
    """

    state: State
    """Pi's, asked for on the new connection. What happened right behind the reconnection, and stands behind this in the
    stream, may be older than it."""
    away: float
    """Seconds without a connection."""
    missed: int | None = None
    """How many events were missed; ``None``: nobody knows. Pi does not number its events, but our own endpoints count
    them, for a client that connects to the same one again. Dialogs do not count."""
