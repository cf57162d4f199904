"""A peer of an endpoint, in a process of its own: what a client costs must not be paid by the endpoint's process.

Run as a script: ``endpoint_peer.py MODE URL TOKEN COUNT``. It says ``ready``, waits for a line, does its work, prints
what it measured as JSON.

Its own part of a round trip is measured, too. So it does for a request what the pipe's client does, with the same
encoder and decoder, and no more than a WebSocket asks for; ``requests-json`` is the same with the standard library's.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import orjson

_READ_BYTES = 256 * 1024


def _connect(url: str, token: str, subprotocol: str) -> tuple[socket.socket, bytearray]:
    place = urlsplit(url)
    sock = socket.create_connection((place.hostname, place.port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(
        (
            f"GET / HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Protocol: {subprotocol}\r\nAuthorization: Bearer {token}\r\n\r\n"
        ).encode()
    )
    data = bytearray()
    while b"\r\n\r\n" not in data:
        data += sock.recv(4096)
    head, _, rest = bytes(data).partition(b"\r\n\r\n")
    if b" 101 " not in head:
        raise SystemExit(f"refused: {head!r}")
    return sock, bytearray(rest)


def _frame(text: bytes) -> bytes:
    """A short message."""
    length = len(text)
    assert length < 126
    mask = os.urandom(4)
    key = mask * (length // 4) + mask[: length % 4]
    masked = (int.from_bytes(text, "little") ^ int.from_bytes(key, "little")).to_bytes(length, "little")
    return b"\x81%c%b%b" % (0x80 | length, mask, masked)


class _Messages:
    """Messages out of frames, as a server sends them: whole, and not masked."""

    def __init__(self, sock: socket.socket, rest: bytearray) -> None:
        self._sock = sock
        self._data = rest
        self._at = 0

    def _need(self, count: int) -> None:
        while len(self._data) - self._at < count:
            if self._at > _READ_BYTES:
                del self._data[: self._at]
                self._at = 0
            read = self._sock.recv(_READ_BYTES)
            if not read:
                raise SystemExit("the endpoint hung up")
            self._data += read

    def next(self) -> bytes:
        """The next text message."""
        if self._at == len(self._data):  # then it mostly comes whole, and alone
            data = self._sock.recv(_READ_BYTES)
            if len(data) > 3 and data[0] == 0x81 and data[1] == 126 and len(data) - 4 == data[2] << 8 | data[3]:
                return data[4:]
            self._data, self._at = bytearray(data), 0
        while True:
            self._need(2)
            opcode, length = self._data[self._at] & 15, self._data[self._at + 1]
            self._at += 2
            if length > 125:
                size = 2 if length == 126 else 8
                self._need(size)
                length = int.from_bytes(self._data[self._at : self._at + size], "big")
                self._at += size
            self._need(length)
            payload = bytes(self._data[self._at : self._at + length])
            self._at += length
            if opcode == 1:
                return payload
            if opcode == 8:
                raise SystemExit(f"the endpoint closed the connection: {payload!r}")


def _count_events(messages: _Messages, count: int) -> None:
    """Read until that many streamed records have come, however many are in a message."""
    while count > 0:
        message = messages.next()
        if message.startswith(b'{"type":"message_update"'):
            count -= message.count(b"\n") or 1
        elif b"\n" in message:
            count -= sum(line.startswith(b'{"type":"message_update"') for line in message.split(b"\n"))


def _ask(
    sock: socket.socket, messages: _Messages, count: int, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]
) -> None:
    for number in range(count):
        sock.sendall(_frame(encode({"id": number, "type": "get_state"})))
        decode(messages.next())


def main() -> None:
    """See the module."""
    mode, url, token, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    sock, rest = _connect(url, token, "pi-rpc.v1.batch" if mode == "batch" else "pi-rpc.v1")
    messages = _Messages(sock, rest)
    print("ready", flush=True)
    for _ in sys.stdin:
        began = perf_counter()
        if mode == "requests":
            _ask(sock, messages, count, orjson.dumps, orjson.loads)
        elif mode == "requests-json":
            _ask(sock, messages, count, lambda record: json.dumps(record).encode(), json.loads)
        else:
            _count_events(messages, count)
        print(json.dumps(perf_counter() - began), flush=True)


if __name__ == "__main__":
    main()
