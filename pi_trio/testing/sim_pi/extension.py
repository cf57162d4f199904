"""What extensions do in a Pi: commands, tools, and dialogs with whoever is at the other end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import trio

from ..world import System
from .messages import Json

__all__ = ["ExtensionCommand", "SimTool", "SimUI"]


class SimUI:
    """An extension's ``ctx.ui``: its dialogs wait for the ``extension_ui_response`` with their id."""

    def __init__(self, system: System, emit: Callable[[Json], None]) -> None:
        self._system = system
        self._emit = emit
        self._waiting: dict[str, tuple[trio.Event, list[Json]]] = {}

    def __repr__(self) -> str:
        return f"<SimUI {len(self._waiting)} dialogs>"

    async def ask(self, method: str, **fields: Any) -> Json:
        """Open a dialog (``select``, ``confirm``, ``input``, ``editor``); return the response."""
        id_ = self._request(method, fields)
        answered, answers = self._waiting[id_] = (trio.Event(), [])
        await self._system.wait_for(answered)
        return answers[0]

    def show(self, method: str, **fields: Any) -> None:
        """Show something that needs no answer (``notify``, ``setStatus``, ...)."""
        self._request(method, fields)

    def _request(self, method: str, fields: Mapping[str, Any]) -> str:
        id_ = f"{self._system.random.getrandbits(128):032x}"
        self._emit({"type": "extension_ui_request", "id": id_, "method": method, **fields})
        return id_

    def answer(self, record: Json) -> None:
        """Take a response; one to no dialog is dropped."""
        answered, answers = self._waiting.pop(str(record.get("id")), (None, []))
        if answered is not None:
            answers.append(record)
            answered.set()


ExtensionCommand: TypeAlias = Callable[[SimUI, str], Awaitable[None]]
"""A command of an extension: ``/name arguments`` as a prompt calls it with the arguments."""

SimTool: TypeAlias = Callable[[SimUI, Mapping[str, Any]], Awaitable[str]]
"""A tool of an extension: given its arguments, it returns the text of its result. It awaits nothing but the UI."""
