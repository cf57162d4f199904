"""Pi's commands in a gateway's words, and a gateway's answers and events in Pi's. Sans-IO.

Behind it a client need not know that there is no Pi of its own at the other end, but a session of a gateway.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from ..errors import Unsupported
from ..protocol import Record
from .frames import GatewayEvent, GatewayResponse, encode_request

__all__ = ["Answer", "Step", "Translation", "failure", "refusal", "state_of", "success", "why_refused"]


@attrs.frozen
class Step:
    """What follows from a command or a frame."""

    requests: tuple[bytes, ...] = ()
    """For the gateway."""
    records: tuple[Record, ...] = ()
    """For the client."""
    later: tuple[bytes, ...] = ()
    """For the gateway, after a moment: what was asked before, and has to be asked again."""

    def __add__(self, other: Step) -> Step:
        return Step(self.requests + other.requests, self.records + other.records, self.later + other.later)


Answer: TypeAlias = Callable[[GatewayResponse], Step]
"""What follows from the answer to a request."""


class Translation(ABC):
    """Between one client and one session. ``prefix`` begins the ids of its requests: no other's may.

    ``where`` is what to call it in errors.
    """

    session_key: str | None = None
    """The gateway's session whose events it wants."""

    def __init__(self, prefix: str, where: str) -> None:
        self.prefix = prefix
        self.where = where
        self._asked = 0
        self._pending: dict[str, Answer] = {}

    def command(self, command: Record) -> Step:
        """Translate one command of a client.

        Raises:
            Unsupported: the gateway has nothing like it.
        """
        kind = str(command.get("type"))
        if kind == "extension_ui_response":
            return Step()  # no extension here asks anybody
        translate = self._commands().get(kind)
        if translate is None:
            raise Unsupported(kind, self.where)
        return translate(command)

    def response(self, response: GatewayResponse) -> Step:
        """Translate the answer to a request that was made here."""
        answer = self._pending.pop(response.id, None)
        return Step() if answer is None else answer(response)

    @abstractmethod
    def event(self, event: GatewayEvent) -> Step:
        """Translate an event that is about this session."""

    @abstractmethod
    def _commands(self) -> dict[str, Callable[[Record], Step]]:
        """What is supported."""

    def _ask(self, method: str, params: Record, answer: Answer) -> Step:
        self._asked += 1
        id_ = f"{self.prefix}{self._asked}"
        self._pending[id_] = answer
        return Step((encode_request(id_, method, params),))


def success(command: Record, data: Any = None) -> Step:
    """Pi's answer to a command that was carried out."""
    response: Record = {"type": "response", "command": command["type"], "success": True}
    if "id" in command:
        response["id"] = command["id"]
    return Step(records=(response if data is None else {**response, "data": data},))


def failure(command: Record, error: str) -> Step:
    """Pi's answer to a command that was not."""
    return Step(records=({**success(command).records[0], "success": False, "error": error},))


def refusal(command: Record, response: GatewayResponse) -> Step:
    """The same, because the gateway refused."""
    return failure(command, why_refused(response))


def why_refused(response: GatewayResponse) -> str:
    """Why a gateway refused, in its own words."""
    fault = response.error
    return "the gateway does not say why" if fault is None else f"{fault.message} ({fault.word})"


def state_of(
    session_id: str, *, busy: bool, thinking: str | None = None, model: Record | None = None, pending: int = 0
) -> Record:
    """What Pi would say of itself. Here there are no modes of a queue, and messages are not counted."""
    return {
        "sessionId": session_id,
        "thinkingLevel": thinking or "off",
        "isStreaming": busy,
        "isCompacting": False,
        "steeringMode": "all",
        "followUpMode": "all",
        "autoCompactionEnabled": True,
        "messageCount": 0,
        "pendingMessageCount": pending,
        **({} if model is None else {"model": model}),
    }
