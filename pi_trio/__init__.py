"""pi-trio: spawn, supervise, talk to and tear down many Pi coding agents from Trio."""

from __future__ import annotations

from .client import EventStream, Lagged, PiClient, Reply, Run, WhenFull
from .errors import (
    ClientError,
    CommandFailed,
    ConnectionClosed,
    InstallFailed,
    InstanceExists,
    InstanceNotFound,
    InvalidResponse,
    MaxInstancesError,
    NodeNotFound,
    PiNotFound,
    PiTooOld,
    PiTrioError,
    ProcessExited,
    ProtocolError,
    RegistryError,
    RequestTimeout,
    RunBusy,
    RunFailed,
    SetupError,
    SpawnError,
    SpecError,
)
from .launch import InstanceSpec
from .lifecycle import InstanceState
from .runtime import Runtime, RuntimeStatistics, open_runtime
from .supervisor import Instance, InstanceStatus

__version__ = "0.1.0"

__all__ = [
    "ClientError",
    "CommandFailed",
    "ConnectionClosed",
    "EventStream",
    "InstallFailed",
    "Instance",
    "InstanceExists",
    "InstanceNotFound",
    "InstanceSpec",
    "InstanceState",
    "InstanceStatus",
    "InvalidResponse",
    "Lagged",
    "MaxInstancesError",
    "NodeNotFound",
    "PiClient",
    "PiNotFound",
    "PiTooOld",
    "PiTrioError",
    "ProcessExited",
    "ProtocolError",
    "RegistryError",
    "Reply",
    "RequestTimeout",
    "Run",
    "RunBusy",
    "RunFailed",
    "Runtime",
    "RuntimeStatistics",
    "SetupError",
    "SpawnError",
    "SpecError",
    "WhenFull",
    "open_runtime",
]
