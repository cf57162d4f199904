"""What differs on the wire between the versions of Pi that pi-trio is tested against."""

from __future__ import annotations

import attrs

__all__ = ["PI_0_87", "PI_1_5", "Dialect"]


@attrs.frozen
class Dialect:
    """How one version of Pi speaks."""

    version: str
    tells_disposition: bool
    """Whether responses to prompts say what became of them (``started``, ``queued``, ``handled``)."""
    tells_aborted: bool
    """Whether ``agent_settled`` says that the run was aborted."""
    aborts_between_turns: str
    """The stop reason of the answer that an abort prevented, because it came while a tool ran."""
    tells_durations: bool
    """Whether ``tool_execution_end`` says how long the tool took."""
    keeps_handlers: bool
    """Whether a signal that comes while it shuts down makes it exit at once, with its code. Without, the handlers
    are gone by then, and the signal itself ends it."""


PI_0_87 = Dialect(
    "0.87.1",
    tells_disposition=False,
    tells_aborted=False,
    aborts_between_turns="error",
    tells_durations=False,
    keeps_handlers=False,
)
PI_1_5 = Dialect(
    "1.5.2",
    tells_disposition=True,
    tells_aborted=True,
    aborts_between_turns="aborted",
    tells_durations=True,
    keeps_handlers=True,
)
