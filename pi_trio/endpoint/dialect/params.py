"""Parameters that have more than one shape."""

from __future__ import annotations

from ...protocol import ImageContent, Record
from .wire import Call, DialectError

__all__ = ["content_of", "tools_of"]


def content_of(call: Call) -> tuple[str, list[ImageContent]]:
    """A text, or blocks of text and images."""
    content = call.params.get("content")
    if content is None or isinstance(content, str):
        return content or "", []
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise DialectError("invalid_params", "content is a string, or a list of blocks of type text or image")
    texts, images = [], []
    for block in content:
        if block.get("type") == "text" and isinstance(block.get("text"), str):
            texts.append(block["text"])
        elif block.get("type") == "image" and isinstance(block.get("data"), str):
            images.append(ImageContent(data=block["data"], mime_type=str(block.get("mime_type", "image/png"))))
        else:
            raise DialectError("invalid_params", "a block is of type text, with text, or image, with data")
    return "\n".join(texts), images


def tools_of(call: Call) -> tuple[tuple[str, ...] | None, list[Record] | None]:
    """The names of Pi's own tools, and the definitions of the peer's: each ``None`` when none is there."""
    tools = call.take("tools", list)
    if tools is None:
        return None, None
    names = tuple(each for each in tools if isinstance(each, str))
    definitions = [each for each in tools if isinstance(each, dict)]
    if len(names) + len(definitions) != len(tools):
        raise DialectError("invalid_params", "tools are names of Pi's own, or objects that describe the peer's")
    return names or None, definitions
