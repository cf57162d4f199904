"""Responses as the lines that Pi wrote: whom they are for, and how they are passed on, without a look into them.

Pi writes the id first, and the type behind it. What begins in another way is found out when it is decoded. A response may
hold a whole conversation: to decode it, and encode it anew, only to give it another id, would hold everybody up.
"""

from __future__ import annotations

from typing import Any

from .records import encode_record

__all__ = ["address_of", "readdressed", "response_id"]

_BEGINS = b'{"id":"'
_GOES_ON = b'","type":"response",'


def response_id(line: bytes) -> str | None:
    """The id of a response whose line begins as Pi writes it; ``None`` for any other line."""
    if not line.startswith(_BEGINS):
        return None
    end = line.find(b'"', len(_BEGINS))
    return line[len(_BEGINS) : end].decode("latin-1") if line.startswith(_GOES_ON, end) else None


def address_of(command: dict[str, Any]) -> bytes:
    """How a response to whoever sent ``command`` begins, for :func:`readdressed`.

    Raises:
        ProtocolError: their id has no form in JSON.
    """
    return encode_record({"id": command["id"]}).removesuffix(b"}\n") if "id" in command else b""


def readdressed(line: bytes, address: bytes) -> bytes:
    """Such a line, as Pi would have written it to them: with their id, or none if they gave none."""
    rest = line[line.index(b'"', len(_BEGINS)) + 1 :]
    return address + rest if address else b"{" + rest.removeprefix(b",")
