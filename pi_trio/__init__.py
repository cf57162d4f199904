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
    RestartIntensityExceeded,
    RunBusy,
    RunFailed,
    SetupError,
    SpawnError,
    SpecError,
)
from .launch import InstanceSpec
from .lifecycle import Backoff, Health, HealthPolicy, InstanceState, RestartPolicy, RestartType
from .runtime import Runtime, RuntimeStatistics, open_runtime, run
from .supervisor import ChildSpec, Instance, InstanceStatus, LogGap, LogLine, Strategy, SupervisionTree

__version__ = "0.1.0"

__all__ = [
    "Backoff",
    "ChildSpec",
    "ClientError",
    "CommandFailed",
    "ConnectionClosed",
    "EventStream",
    "Health",
    "HealthPolicy",
    "InstallFailed",
    "Instance",
    "InstanceExists",
    "InstanceNotFound",
    "InstanceSpec",
    "InstanceState",
    "InstanceStatus",
    "InvalidResponse",
    "Lagged",
    "LogGap",
    "LogLine",
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
    "RestartIntensityExceeded",
    "RestartPolicy",
    "RestartType",
    "Run",
    "RunBusy",
    "RunFailed",
    "Runtime",
    "RuntimeStatistics",
    "SetupError",
    "SpawnError",
    "SpecError",
    "Strategy",
    "SupervisionTree",
    "WhenFull",
    "open_runtime",
    "run",
]
