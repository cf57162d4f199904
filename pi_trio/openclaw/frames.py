"""The gateway's frames: requests out, responses and events in. Each is one JSON object in one text message."""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs

from ..errors import GatewayError, MissingScope
from ..protocol import MalformedRecord, Record, ShapeError, Wire, decode_line, encode_record, structure

__all__ = [
    "Fault",
    "Frame",
    "GatewayEvent",
    "GatewayResponse",
    "UnknownFrame",
    "decode_frame",
    "encode_request",
    "gateway_error",
]


@attrs.frozen
class Fault(Wire):
    """Why a request was refused."""

    code: str
    message: str = ""
    details: Any = None
    retryable: bool | None = None
    retry_after_ms: float | None = None

    @property
    def word(self) -> str:
        """The most exact of its codes."""
        detail = self.details.get("code") if isinstance(self.details, dict) else None
        return detail if isinstance(detail, str) and detail else self.code

    @property
    def retry_after(self) -> float | None:
        """Seconds until the gateway wants to be asked again."""
        return None if self.retry_after_ms is None else self.retry_after_ms / 1000

    @property
    def missing_scope(self) -> str | None:
        """The right that the connection lacks, when it is that. Gateways before 2026.6 say so in words only."""
        if isinstance(self.details, dict) and self.details.get("code") == "MISSING_SCOPE":
            return str(self.details.get("missingScope", ""))
        start, colon, scope = self.message.partition(": ")
        return scope if start == "missing scope" and colon else None


@attrs.frozen
class GatewayResponse(Wire):
    """The answer to one request: its ``payload``, or why it was refused."""

    id: str
    ok: bool
    payload: Any = None
    error: Fault | None = None


@attrs.frozen
class GatewayEvent(Wire):
    """What the gateway tells by itself."""

    event: str
    payload: Any = None
    seq: int | None = None
    """Counts the events of this connection."""

    @property
    def session_key(self) -> str | None:
        """The session that it is about, if it is about one."""
        key = self.payload.get("sessionKey") if isinstance(self.payload, dict) else None
        return key if isinstance(key, str) else None


@attrs.frozen
class UnknownFrame:
    """A frame of a type that this version does not know, or one that is not what its type says."""

    reason: str
    raw: Record | None = None


Frame: TypeAlias = GatewayResponse | GatewayEvent | UnknownFrame

_CLASSES: dict[object, type[GatewayResponse | GatewayEvent]] = {"res": GatewayResponse, "event": GatewayEvent}


def encode_request(id: str, method: str, params: Record) -> bytes:
    """One request."""
    return encode_record({"type": "req", "id": id, "method": method, "params": params})


def decode_frame(line: bytes) -> Frame:
    """What a message says. Never raises: a gateway that is newer must not take the connection down."""
    record = decode_line(line)
    if isinstance(record, MalformedRecord):
        return UnknownFrame(record.reason)
    kind = record.get("type")
    cls = _CLASSES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        return UnknownFrame(f"of the unknown type {kind!r}", record)
    try:
        return structure(record, cls)
    except ShapeError as error:
        return UnknownFrame(str(error), record)


def gateway_error(method: str, fault: Fault | None) -> GatewayError:
    """The error that a refusal comes to."""
    fault = fault or Fault("UNKNOWN", "it does not say why")
    if (scope := fault.missing_scope) is not None:
        return MissingScope(method, fault.word, fault.message, scope=scope)
    return GatewayError(method, fault.word, fault.message, retry_after=fault.retry_after)
