"""What a tool's function returns, as Pi wants it: content for the model, details for programs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, TypeAlias

import attrs
import cattrs
import orjson

from ..protocol import ImageContent, Record, TextContent

__all__ = ["Block", "ToolImage", "ToolResult", "to_plain", "to_result"]


@attrs.frozen
class ToolImage:
    """An image that a tool shows to the model."""

    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")
    """The file's bytes, as they are."""
    mime_type: str = "image/png"


Block: TypeAlias = str | ToolImage | ImageContent | TextContent


@attrs.frozen
class ToolResult:
    """A result whose content for the model and details for programs are not the same."""

    content: Block | Sequence[Block]
    """What the model sees."""
    details: Any = None
    """What programs see in Pi's events and session file, and the model does not: anything that JSON can say."""


_converter = cattrs.Converter(unstruct_collection_overrides={set: list, frozenset: list})

_BLOCKS = (ToolImage, ImageContent, TextContent)


def to_plain(value: Any) -> Any:
    """``value`` in JSON's own types: classes to objects, enums to their values, sets to lists.

    Raises:
        TypeError: there is something in it that JSON has no form for.
    """
    return orjson.loads(_to_json(value))


def _to_json(value: Any) -> bytes:
    return orjson.dumps(_converter.unstructure(value), option=orjson.OPT_NON_STR_KEYS)


def to_result(value: Any) -> Record:
    """What Pi takes as a tool's result.

    A string is text. Images and texts, alone or in a list, are content. ``None`` is an empty result. Anything
    else is a structured value: its JSON is what the model reads, and the details.

    Raises:
        TypeError: it has no form in JSON.
    """
    if isinstance(value, ToolResult):
        made = {"content": _content(value.content)}
        return made if value.details is None else {**made, "details": to_plain(value.details)}
    if value is None:
        return {"content": [_text("(no result)")]}  # some providers refuse an empty one
    if isinstance(value, str | ToolImage | ImageContent | TextContent) or _is_content(value):
        return {"content": _content(value)}
    encoded = _to_json(value)
    return {"content": [_text(encoded.decode())], "details": orjson.loads(encoded)}


def _is_content(value: Any) -> bool:
    if not isinstance(value, list | tuple) or not any(isinstance(each, _BLOCKS) for each in value):
        return False
    return all(isinstance(each, (str, *_BLOCKS)) for each in value)


def _content(value: Any) -> list[Record]:
    return [_block(each) for each in (value if isinstance(value, list | tuple) else (value,))]


def _block(value: Any) -> Record:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, TextContent):
        return _text(value.text)
    if isinstance(value, ImageContent):
        return _image(value.data, value.mime_type)
    if isinstance(value, ToolImage):
        return _image(base64.b64encode(value.data).decode(), value.mime_type)
    raise TypeError(f"{type(value).__name__} is neither text nor an image")


def _image(data: str, mime_type: str) -> Record:
    # Neither class checks what it is made of, and what cannot be encoded would be found out when it is too late.
    if not isinstance(data, str):
        raise TypeError(f"the data of an ImageContent is base64 text, not {type(data).__name__}; ToolImage takes bytes")
    if not isinstance(mime_type, str):
        raise TypeError(f"the mime_type of an image is a string, not {type(mime_type).__name__}")
    return {"type": "image", "data": data, "mimeType": mime_type}


def _text(text: str) -> Record:
    if not isinstance(text, str):
        raise TypeError(f"the text of a TextContent is a string, not {type(text).__name__}")
    return {"type": "text", "text": text}
