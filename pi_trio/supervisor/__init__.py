"""One task per instance."""

from __future__ import annotations

from .instance import Instance
from .supervisor import InstanceStatus, Supervisor

__all__ = ["Instance", "InstanceStatus", "Supervisor"]
