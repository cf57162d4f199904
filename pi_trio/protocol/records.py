"""Lines to records and back. A record is a JSON object, kept as the ``dict`` it decodes to.

Nothing is interpreted here beyond "is it an object": what Pi adds tomorrow passes through untouched.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeAlias

import orjson

from ..errors import ProtocolError
from .framing import DEFAULT_MAX_RECORD_BYTES, HEAD_BYTES, LineSplitter, MalformedRecord

__all__ = ["Item", "Record", "RecordDecoder", "cut_off", "decode_line", "decoded", "encode_record"]

Record: TypeAlias = dict[str, Any]
"""One JSON object, as it came."""

Item: TypeAlias = bytes | Record | MalformedRecord
"""A record on its way to a reader: as its line, or decoded already; or a line that is none."""


def decoded(item: Item) -> Record | MalformedRecord:
    """An item as whoever looks at it wants it."""
    return decode_line(item) if isinstance(item, bytes) else item


def cut_off(rest: bytes | None) -> MalformedRecord | None:
    """What becomes of the line that a stream ended in, if it did."""
    if rest is None or rest.isspace():
        return None
    return MalformedRecord("the stream ended inside this record", rest[:HEAD_BYTES])


def decode_line(line: bytes) -> Record | MalformedRecord:
    """Decode one line (without its line end). Never raises."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _decode_slowly(line)
    return value if type(value) is dict else _not_an_object(line, value)


def _decode_slowly(line: bytes) -> Record | MalformedRecord:
    # JavaScript cuts strings in the middle of a surrogate pair and writes the half as `\ud83d`: valid to
    # the standard library, not to orjson. What neither takes is malformed.
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        return MalformedRecord(f"not UTF-8 at byte {error.start}", line[:HEAD_BYTES])
    except RecursionError:
        return MalformedRecord("nested too deeply", line[:HEAD_BYTES])
    except ValueError as error:
        return MalformedRecord(f"not JSON: {error}", line[:HEAD_BYTES])
    return value if type(value) is dict else _not_an_object(line, value)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _not_an_object(line: bytes, value: object) -> MalformedRecord:
    return MalformedRecord(f"a JSON {type(value).__name__}, not an object", line[:HEAD_BYTES])


def encode_record(record: Record) -> bytes:
    """Encode one record as one line, line end included. NaN and infinities become ``null``, as in JavaScript.

    Raises:
        ProtocolError: something in it has no JSON form.
    """
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        pass  # half a surrogate pair, an integer of more than 64 bits: the standard library can
    try:
        return json.dumps(record, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"a record cannot be encoded: {error}") from error


class RecordDecoder:
    """Bytes in, records out. One for each incoming stream."""

    def __init__(self, max_record_bytes: int = DEFAULT_MAX_RECORD_BYTES) -> None:
        self._lines = LineSplitter(max_record_bytes)

    def feed(self, data: bytes) -> list[Record | MalformedRecord]:
        """Take the next bytes; return the records they complete. Blank lines are no records."""
        lines = self._lines.feed(data)
        try:
            # All at once: a tenth less than decode_line on each, for nearly always all of them are records.
            values = list(map(orjson.loads, lines))  # type: ignore[arg-type]  # refuses a MalformedRecord, too
        except orjson.JSONDecodeError:
            return self._one_by_one(lines)
        for value in values:
            if type(value) is not dict:
                return self._one_by_one(lines)
        return values

    def _one_by_one(self, lines: list[bytes | MalformedRecord]) -> list[Record | MalformedRecord]:
        """What :meth:`feed` returns for lines that are not all of them records."""
        return [
            line if isinstance(line, MalformedRecord) else decode_line(line)
            for line in lines
            if isinstance(line, MalformedRecord) or (line and not line.isspace())
        ]

    def end(self) -> MalformedRecord | None:
        """The stream is over: what it was cut off in, if anything."""
        return cut_off(self._lines.end())
