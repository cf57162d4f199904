"""The tools of a simulated Pi: ``bash``, those of extensions, and the errors of those it does not have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .extension import SimTool
from .messages import Json

if TYPE_CHECKING:
    from .program import PiProcess

__all__ = ["Tools"]


def _text(text: str) -> Json:
    return {"content": [{"type": "text", "text": text}]}


class Tools:
    """Runs tool calls."""

    def __init__(self, pi: PiProcess, extra: Mapping[str, SimTool]) -> None:
        self._pi = pi
        self._extra = extra

    async def run(self, call: Json, *, aborted: Callable[[], bool]) -> tuple[Json, bool]:
        """Run one call; return its result, and whether that is an error."""
        name, arguments = call["name"], call["arguments"]
        if name == "bash":
            return await self._bash(call, str(arguments.get("command", "")), aborted)
        if name in self._extra:
            return _text(await self._extra[name](self._pi.ui, arguments)), False
        await self._pi.system.sleep(0)
        if name == "read":
            path = f"{self._pi.system.cwd.rstrip('/')}/{arguments.get('path')}"
            return {**_text(f"ENOENT: no such file or directory, access '{path}'"), "details": {}}, True
        return {**_text(f"Tool {name} not found"), "details": {}}, True

    async def _bash(self, call: Json, command: str, aborted: Callable[[], bool]) -> tuple[Json, bool]:
        so_far: list[str] = []

        def update(partial: Mapping[str, Any]) -> None:
            named = {"toolCallId": call["id"], "toolName": "bash", "args": call["arguments"]}
            self._pi.emit({"type": "tool_execution_update", **named, "partialResult": partial})

        def heard(text: str) -> None:
            so_far.append(text)
            update({**_text("".join(so_far)), "details": {}})

        if aborted():
            return {**_text("Command aborted"), "details": {}}, True
        update({"content": []})
        outcome = await self._pi.shells.run("tool", command, heard)
        if outcome.cancelled:
            return {**_text(f"{outcome.output}\n\nCommand aborted".lstrip("\n")), "details": {}}, True
        if outcome.exit_code != 0:
            said = outcome.output or "(no output)"
            return {**_text(f"{said}\n\nCommand exited with code {outcome.exit_code}"), "details": {}}, True
        return _text(outcome.output or "(no output)"), False
