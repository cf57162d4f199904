"""Responses as the lines that Pi wrote: whom they are for, and how they are passed on, without a look into them.

Pi writes the id first, and the type behind it. What begins in another way is found out when it is decoded. A response may
hold a whole conversation: to decode it, and encode it anew, only to give it another id, would hold everybody up.
"""

from __future__ import annotations

from typing import Any

from .records import encode_record

__all__ = ["readdressing", "response_id"]

_BEGINS = b'{"id":"'
_GOES_ON = b'","type":"response",'


def response_id(line: bytes) -> str | None:
    """The id of a response whose line begins as Pi writes it; ``None`` for any other line."""
    if not line.startswith(_BEGINS):
        return None
    end = line.find(b'"', len(_BEGINS))
    return line[len(_BEGINS) : end].decode("latin-1") if line.startswith(_GOES_ON, end) else None


def readdressing(id_: str, command: dict[str, Any]) -> tuple[bytes, int]:
    """How a line that answers the request ``id_`` is passed on as Pi would have written it to whoever sent ``command``,
    with their id, or none if they gave none: this is put in place of so many bytes at its beginning.

    Raises:
        ProtocolError: their id has no form in JSON.
    """
    replaced = len(_BEGINS) + len(id_) + 1
    if "id" not in command:
        return b"{", replaced + 1  # the comma, too
    return encode_record({"id": command["id"]}).removesuffix(b"}\n"), replaced
