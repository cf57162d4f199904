"""What the model of simulated plans says: its answers follow from the words of the prompt."""

from __future__ import annotations

from .model_server import ModelRequest, ToolUse, Turn

__all__ = ["answer"]


def answer(request: ModelRequest) -> Turn:
    """Repeats the prompt; asked for ``a tool``, it runs one first."""
    result = request.tool_result
    if result is None and "a tool" in request.prompt:
        return Turn(
            "Let me see.",
            tools=(ToolUse("bash", {"command": "sleep 0.05; setsid -f sleep 900; echo done"}),),
            delay=0.02,
        )
    return Turn(f"You said: {request.prompt}", delay=0.05, chunk_delay=0.01)
