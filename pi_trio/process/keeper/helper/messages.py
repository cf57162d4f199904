"""The messages between the runtime, its helper and the keepers: JSON objects, one per line or packet."""

from __future__ import annotations

import json
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:  # not imported: each module costs every keeper memory
    from typing import Any

__all__ = ["Lines", "as_bytes", "as_text", "describe_error", "encode", "say"]


def encode(message: dict[str, Any]) -> bytes:
    """One message, as a line."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def as_text(data: bytes) -> str:
    """Bytes as a string that JSON can carry. Names of files and environments are bytes, in any encoding."""
    return data.decode("latin-1")


def as_bytes(text: str) -> bytes:
    """The other way round."""
    return text.encode("latin-1")


def say(sock: socket.socket, message: dict[str, Any]) -> None:
    """Send a message now, or not at all.

    There are a handful per socket, far below what it holds; and that nobody listens any more is no reason
    to leave the rest undone.
    """
    try:
        sock.send(encode(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError:
        pass


def describe_error() -> str:
    """The error that is being handled, with its traceback."""
    import traceback  # pulls a lot in, and is hardly ever needed

    return traceback.format_exc()


class Lines:
    """Puts messages together from what a stream gives."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages that are complete with ``data``."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]
