"""A Pi for the simulated world: it speaks RPC, runs tools, keeps sessions, and ends as the real one does."""

from __future__ import annotations

from .config import SimPi, echo
from .dialect import PI_0_87, PI_1_5, Dialect
from .extension import ExtensionCommand, SimTool, SimUI

__all__ = ["PI_0_87", "PI_1_5", "Dialect", "ExtensionCommand", "SimPi", "SimTool", "SimUI", "echo"]
