"""A Pi for the simulated world: it speaks RPC, runs tools, keeps sessions, and ends as the real one does."""

from __future__ import annotations

from .dialect import PI_0_87, PI_1_5, Dialect
from .extension import ExtensionCommand, SimTool, SimUI
from .program import SimPi, echo

__all__ = ["PI_0_87", "PI_1_5", "Dialect", "ExtensionCommand", "SimPi", "SimTool", "SimUI", "echo"]
