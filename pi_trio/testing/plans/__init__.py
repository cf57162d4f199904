"""What a simulated run does, as data: to be drawn, printed, saved, shrunk and replayed."""

from __future__ import annotations

from .plan import Affliction, Plan
from .saved import dump_plan, load_plan
from .steps import (
    Acquire,
    Advance,
    Cancel,
    Ending,
    Exec,
    Interrupt,
    Kill,
    LeaveTree,
    Listen,
    OpenTree,
    Prompt,
    Report,
    Request,
    Spawn,
    Stall,
    Step,
    Stop,
    Subscribe,
    Unregister,
    Unsubscribe,
)

__all__ = [
    "Acquire",
    "Advance",
    "Affliction",
    "Cancel",
    "Ending",
    "Exec",
    "Interrupt",
    "Kill",
    "LeaveTree",
    "Listen",
    "OpenTree",
    "Plan",
    "Prompt",
    "Report",
    "Request",
    "Spawn",
    "Stall",
    "Step",
    "Stop",
    "Subscribe",
    "Unregister",
    "Unsubscribe",
    "dump_plan",
    "load_plan",
]
