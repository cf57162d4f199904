"""The one HTTP request that comes before a WebSocket, read without answering it."""

from __future__ import annotations

import h11
import trio

__all__ = ["BadRequest", "read_request", "write_response"]

# A browser's headers are a few kilobytes, cookies of other servers on the same host included.
_MAX_HEAD_BYTES = 32 * 1024
_READ_BYTES = 4096


class BadRequest(Exception):
    """What came is no HTTP request, or not one that is taken here."""


async def read_request(stream: trio.abc.ReceiveStream) -> tuple[h11.Request, bytes, bytes]:
    """Wait for the head of a request; return it, its bytes, and those behind it that came with them.

    To be bounded by the caller.

    Raises:
        BadRequest: it is none, it is too long, or the stream ended in the middle.
        trio.BrokenResourceError: the connection broke.
    """
    parser, head = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES), b""
    while True:
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError as error:
            raise BadRequest(str(error)) from error
        if isinstance(event, h11.Request):
            behind, _ = parser.trailing_data
            return event, head.removesuffix(behind), behind
        if event is not h11.NEED_DATA:
            raise BadRequest("the connection was closed without a request")
        data = bytes(await stream.receive_some(_READ_BYTES))
        head += data
        parser.receive_data(data)


async def write_response(
    stream: trio.abc.SendStream,
    status: int,
    body: str,
    *,
    headers: tuple[tuple[str, str], ...] = (),
    content_type: str = "text/plain; charset=utf-8",
) -> None:
    """Answer, and say that the connection ends with that. Raises as ``stream.send_all`` does."""
    data = body.encode()
    all_headers = [
        ("Content-Type", content_type),
        ("Content-Length", str(len(data))),
        ("Cache-Control", "no-store"),
        *headers,
    ]
    if not any(name == "Connection" for name, _ in headers):
        all_headers.append(("Connection", "close"))
    writer = h11.Connection(h11.SERVER)
    answer = (h11.Response(status_code=status, headers=all_headers), h11.Data(data=data), h11.EndOfMessage())
    await stream.send_all(b"".join(writer.send(event) or b"" for event in answer))
