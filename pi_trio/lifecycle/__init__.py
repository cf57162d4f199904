"""Decisions as pure functions and tables: no task, no clock, no process."""

from __future__ import annotations

from .events import Exited, InstanceEvent, Ready, Registered, StateChanged
from .states import TERMINAL, TRANSITIONS, IllegalTransition, InstanceState, advance
from .stopping import StopManner, StopPatience, StopStep, next_step

__all__ = [
    "TERMINAL",
    "TRANSITIONS",
    "Exited",
    "IllegalTransition",
    "InstanceEvent",
    "InstanceState",
    "Ready",
    "Registered",
    "StateChanged",
    "StopManner",
    "StopPatience",
    "StopStep",
    "advance",
    "next_step",
]
