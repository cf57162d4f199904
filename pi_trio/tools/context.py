"""What a tool's function can ask of the call it serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

__all__ = ["ToolContext"]


@attrs.define(eq=False)
class ToolContext:
    """The call that a function serves. A parameter annotated with this class gets it; the model does not see it."""

    tool: str
    """The tool's name."""
    call_id: str
    """The model's own id of the call: the ``tool_call_id`` of Pi's events."""
    instance_id: str
    """Which Pi asked."""
    _progress: Callable[[Any], Awaitable[None]] = attrs.field(repr=False)

    async def progress(self, value: Any) -> None:
        """Show how far it is: Pi sends a ``tool_execution_update`` event. The model is not told.

        Takes whatever a tool may return. Returns when the update is on its way: one that comes before Pi has taken
        the last one waits for that. Cancelled, the update may or may not have been sent.

        Raises:
            TypeError: the value has no form in JSON.
            trio.ClosedResourceError: the call is over.
        """
        await self._progress(value)
