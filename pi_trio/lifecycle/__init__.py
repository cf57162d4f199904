"""Decisions as pure functions and tables: no task, no clock, no process."""

from __future__ import annotations

from .events import Exited, HealthChanged, InstanceEvent, Ready, Registered, RestartScheduled, StateChanged
from .health import Health, HealthPolicy, HealthState, Probe, after_probe
from .reconnect import ConnectionState, ReconnectPolicy, is_final_close, is_final_status
from .restart import (
    Backoff,
    GiveUp,
    Restart,
    RestartDecision,
    RestartHistory,
    RestartPolicy,
    RestartType,
    StayDown,
    decide_restart,
)
from .states import TERMINAL, TRANSITIONS, IllegalTransition, InstanceState, advance
from .stopping import KILL_TIMEOUT, StopManner, StopPatience, StopStep, next_step

__all__ = [
    "KILL_TIMEOUT",
    "Backoff",
    "ConnectionState",
    "Exited",
    "GiveUp",
    "Health",
    "HealthChanged",
    "HealthPolicy",
    "HealthState",
    "IllegalTransition",
    "InstanceEvent",
    "InstanceState",
    "Probe",
    "Ready",
    "ReconnectPolicy",
    "Registered",
    "Restart",
    "RestartDecision",
    "RestartHistory",
    "RestartPolicy",
    "RestartScheduled",
    "RestartType",
    "StateChanged",
    "StayDown",
    "StopManner",
    "StopPatience",
    "StopStep",
    "TERMINAL",
    "TRANSITIONS",
    "advance",
    "after_probe",
    "decide_restart",
    "is_final_close",
    "is_final_status",
    "next_step",
]
