"""What a simulated run does, as data: to be drawn, printed, saved, shrunk and replayed."""

from __future__ import annotations

from .plan import Affliction, Plan
from .saved import dump_plan, load_plan
from .steps import (
    Advance,
    Cancel,
    Ending,
    Exec,
    Kill,
    LeaveTree,
    OpenTree,
    Prompt,
    Request,
    Spawn,
    Stall,
    Step,
    Stop,
    Subscribe,
    Unsubscribe,
)

__all__ = [
    "Advance",
    "Affliction",
    "Cancel",
    "Ending",
    "Exec",
    "Kill",
    "LeaveTree",
    "OpenTree",
    "Plan",
    "Prompt",
    "Request",
    "Spawn",
    "Stall",
    "Step",
    "Stop",
    "Subscribe",
    "Unsubscribe",
    "dump_plan",
    "load_plan",
]
