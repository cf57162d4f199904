"""Pi's wire, sans-IO: bytes to records, records to events, and back. Knows no clock and no task."""

from __future__ import annotations

from .commands import *
from .commands import __all__ as _commands
from .convert import ShapeError, Wire, structure
from .entries import *
from .entries import __all__ as _entries
from .events import *
from .events import __all__ as _events
from .framing import DEFAULT_MAX_RECORD_BYTES, LineSplitter, MalformedRecord
from .messages import *
from .messages import __all__ as _messages
from .models import *
from .models import __all__ as _models
from .records import Item, Record, RecordDecoder, cut_off, decode_line, decoded, encode_record
from .response_line import readdressing, response_id
from .tree import *
from .tree import __all__ as _tree
from .ui import *
from .ui import __all__ as _ui
from .usage import *
from .usage import __all__ as _usage

__all__ = [  # noqa: PLE0604
    "DEFAULT_MAX_RECORD_BYTES",
    "Item",
    "LineSplitter",
    "MalformedRecord",
    "Record",
    "RecordDecoder",
    "ShapeError",
    "Wire",
    "cut_off",
    "decode_line",
    "decoded",
    "encode_record",
    "readdressing",
    "response_id",
    "structure",
    *_commands,
    *_entries,
    *_events,
    *_messages,
    *_models,
    *_tree,
    *_ui,
    *_usage,
]
