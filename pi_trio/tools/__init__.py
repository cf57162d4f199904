"""Tools for Pi, written as async functions in Python."""

from __future__ import annotations

from .context import ToolContext
from .host import EXTENSION, ToolHost
from .result import ToolImage, ToolResult
from .tool import Tool, tool

__all__ = ["EXTENSION", "Tool", "ToolContext", "ToolHost", "ToolImage", "ToolResult", "tool"]
