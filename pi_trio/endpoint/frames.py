"""WebSocket text messages as bytes, the way a server sends them (RFC 6455, section 5.2): made once, for any number of
peers.

A server's frames are not masked, so a message is the same bytes for every peer. trio-websocket would make them anew for
each, which takes some 50 microseconds a message.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["batch_frames", "single_frames", "text_frame", "well_formed"]

# A message of several records is not longer than that, unless a record is: whoever reads it wants to begin.
_BATCH_BYTES = 64 * 1024


def text_frame(text: bytes) -> bytes:
    """One message. ``text`` is UTF-8: see :func:`well_formed`."""
    length = len(text)
    if length < 126:
        return b"\x81%c%b" % (length, text)
    if length < 65536:
        return b"\x81\x7e%b%b" % (length.to_bytes(2, "big"), text)
    return b"\x81\x7f%b%b" % (length.to_bytes(8, "big"), text)


def well_formed(text: bytes) -> bytes:
    """``text`` as it is when it is UTF-8, else with U+FFFD for what is not: a peer has to hang up on anything else."""
    if text.isascii():
        return text
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.decode("utf-8", "replace").encode()
    return text


def single_frames(lines: Iterable[bytes]) -> bytes:
    """The lines (without their line ends), each as a message of its own."""
    return b"".join([text_frame(well_formed(line)) for line in lines])


def batch_frames(lines: Iterable[bytes]) -> bytes:
    """The lines, each with its LF, in as few messages as may be."""
    messages: list[bytes] = []
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and size + len(line) >= _BATCH_BYTES:
            messages.append(_batch(batch))
            batch, size = [], 0
        batch.append(line)
        size += len(line) + 1
    if batch:
        messages.append(_batch(batch))
    return b"".join(messages)


def _batch(lines: list[bytes]) -> bytes:
    lines.append(b"")
    return text_frame(well_formed(b"\n".join(lines)))
