"""For programs built on pi-trio, and their tests: a scripted model for the real Pi."""

from __future__ import annotations

from .model_server import ModelRequest, ModelServer, ToolUse, Turn, open_model_server

__all__ = ["ModelRequest", "ModelServer", "ToolUse", "Turn", "open_model_server"]
