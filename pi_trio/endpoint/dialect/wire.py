"""The dialect's messages: requests in, results, errors, chunks and notifications out. No I/O."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar

import attrs

from ...errors import (
    BranchNotFound,
    ClientError,
    CommandFailed,
    ConnectionClosed,
    PiTrioError,
    ProviderUnavailable,
    RequestTimeout,
    RunBusy,
    RunFailed,
    SpecError,
    ToolSpecError,
)
from ...protocol import MalformedRecord, Record, Usage, decode_line

__all__ = [
    "Call",
    "DialectError",
    "Later",
    "chunk_message",
    "error_message",
    "failure",
    "iso_time",
    "notification",
    "parse_call",
    "request_id",
    "result_message",
    "usage_record",
]

T = TypeVar("T")

Later: TypeAlias = Callable[[], Awaitable[Record]]
"""Gives the answer to a call that has had its turn, and takes its time."""


class DialectError(Exception):
    """A call that is answered with an error: a ``code`` for programs, and a message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@attrs.frozen
class Call:
    """A request."""

    id: Any
    """As it came: the answer carries it back."""
    method: str
    params: Mapping[str, Any]

    def take(self, name: str, kind: type[T], *, default: T | None = None) -> T | None:
        """An optional parameter; ``null`` is as good as none.

        Raises:
            DialectError: it is something else than a ``kind``.
        """
        value = self.params.get(name)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise DialectError("invalid_params", f"{name} must be a {_WORDS[kind]}, not {value!r}")
        return value

    def need(self, name: str, kind: type[T]) -> T:
        """A parameter that must be there. Raises as :meth:`take`."""
        value = self.take(name, kind)
        if value is None:
            raise DialectError("invalid_params", f"{self.method} needs {name}")
        return value


_WORDS: dict[type, str] = {str: "string", bool: "boolean", dict: "object", list: "list", int: "number"}


def parse_call(message: bytes) -> Call:
    """The request in a message.

    Raises:
        DialectError: it is none.
    """
    record = decode_line(message)
    if isinstance(record, MalformedRecord):
        raise DialectError("parse_error", record.reason)
    method, params = record.get("method"), record.get("params")
    if not isinstance(method, str):
        raise DialectError("invalid_request", "a request has a method, which is a string")
    if params is not None and not isinstance(params, dict):
        raise DialectError("invalid_params", "params must be an object")
    return Call(record.get("id"), method, params or {})


def request_id(message: bytes) -> Any:
    """The id of a message that is no request, if it has one all the same."""
    record = decode_line(message)
    return None if isinstance(record, MalformedRecord) else record.get("id")


def result_message(id_: Any, result: Record) -> Record:
    """A call that went well."""
    return {"id": id_, "result": result}


def error_message(id_: Any, error: DialectError) -> Record:
    """A call that did not."""
    return {"id": id_, "error": {"code": error.code, "message": str(error)}}


def chunk_message(id_: Any, chunk: Record) -> Record:
    """A piece of a streamed answer."""
    return {"type": "stream", "requestId": id_, "chunk": chunk}


def notification(event: str, data: Record) -> Record:
    """Something nobody asked for."""
    return {"type": "notification", "event": event, "data": data}


# The first that fits.
_CODES: tuple[tuple[type[Exception], str], ...] = (
    (BranchNotFound, "not_found"),
    (ProviderUnavailable, "provider_unavailable"),
    (RunBusy, "busy"),
    (RunFailed, "run_failed"),
    (RequestTimeout, "timeout"),
    (CommandFailed, "refused"),
    (ConnectionClosed, "connection_closed"),
    (SpecError, "invalid_params"),
    (ToolSpecError, "invalid_params"),
    (ClientError, "failed"),
    (PiTrioError, "failed"),
    (ValueError, "invalid_params"),
)


def failure(error: Exception) -> DialectError:
    """What a peer is told of an error of ours."""
    if isinstance(error, DialectError):
        return error
    return next(
        (DialectError(code, str(error)) for kind, code in _CODES if isinstance(error, kind)),
        DialectError("internal_error", "something went wrong here; it has been logged"),
    )


def usage_record(usage: Usage) -> Record:
    """Tokens and US dollars."""
    return {
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "cache_read_tokens": usage.cache_read,
        "cache_write_tokens": usage.cache_write,
        "total_tokens": usage.total_tokens,
        "cost": usage.cost.total,
    }


def iso_time(milliseconds: float | None = None) -> str:
    """A time (now, or Pi's milliseconds since 1970) in ISO 8601, UTC, as Pi writes it."""
    moment = datetime.now(UTC) if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
