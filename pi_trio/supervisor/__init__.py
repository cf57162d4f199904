"""One task per instance, and trees of instances."""

from __future__ import annotations

from .instance import Instance
from .output import LogGap, LogLine, Logs
from .supervisor import InstanceStatus, Kin, Supervisor, Surroundings
from .tree import ChildSpec, Strategy, SupervisionTree, check_children

__all__ = [
    "ChildSpec",
    "Instance",
    "InstanceStatus",
    "Kin",
    "LogGap",
    "LogLine",
    "Logs",
    "Strategy",
    "SupervisionTree",
    "Supervisor",
    "Surroundings",
    "check_children",
]
