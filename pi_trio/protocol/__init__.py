"""Pi's wire, sans-IO: bytes to records, records to events, and back. Knows no clock and no task."""

from __future__ import annotations

from .commands import (
    BashResult,
    ContextUsage,
    Model,
    QueueContents,
    SessionStats,
    SessionSwitch,
    State,
    TokenCounts,
    response_data,
)
from .convert import ShapeError, Wire, structure
from .events import *
from .events import __all__ as _events
from .framing import DEFAULT_MAX_RECORD_BYTES, LineSplitter, MalformedRecord
from .messages import *
from .messages import __all__ as _messages
from .records import Item, Record, RecordDecoder, cut_off, decode_line, decoded, encode_record
from .ui import *
from .ui import __all__ as _ui

__all__ = [  # noqa: PLE0604
    "DEFAULT_MAX_RECORD_BYTES",
    "BashResult",
    "ContextUsage",
    "Item",
    "LineSplitter",
    "MalformedRecord",
    "Model",
    "QueueContents",
    "Record",
    "RecordDecoder",
    "SessionStats",
    "SessionSwitch",
    "ShapeError",
    "State",
    "TokenCounts",
    "Wire",
    "cut_off",
    "decode_line",
    "decoded",
    "encode_record",
    "response_data",
    "structure",
    *_events,
    *_messages,
    *_ui,
]
