"""Answers to commands that come from somebody else: as Pi would have written them."""

from __future__ import annotations

from ..errors import ConnectionLost
from ..protocol import Record

__all__ = ["failure_of", "response_to"]


def response_to(command: Record, response: Record | None, error: Exception | None) -> Record:
    """The response for whoever sent ``command``: Pi's, with their id in place of ours; or a failure."""
    if response is None:
        failure = failure_of(command, str(error))
        was_sent = not isinstance(error, ConnectionLost) or error.uncertain
        # A failure alone would say that Pi has not done it.
        return {**failure, "lost": True} if was_sent else failure
    if "id" in command:
        return {**response, "id": command["id"]}
    return {name: value for name, value in response.items() if name != "id"}


def failure_of(command: Record, reason: str) -> Record:
    """What Pi answers to a command that it does not carry out."""
    id_ = {"id": command["id"]} if "id" in command else {}
    return {**id_, "type": "response", "command": command.get("type"), "success": False, "error": reason}
