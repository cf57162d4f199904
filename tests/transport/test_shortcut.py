"""Frames that are short texts go one way, all others the other; together, nothing is lost, and the order is kept."""

from __future__ import annotations

import struct
from collections.abc import Callable

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Request, TextMessage
from wsproto.utilities import RemoteProtocolError

from pi_trio.transport import Shortcut

MOST = 2000


@attrs.frozen
class Frame:
    first: int
    payload: bytes
    mask: bytes = b"\x01\x02\x03\x04"
    wrong: bool = False
    """Masked where it must not be, or the other way round."""

    def encode(self, *, masked: bool = True) -> bytes:
        masked = masked is not self.wrong
        length, flag = len(self.payload), 0x80 if masked else 0
        if length < 126:
            head = struct.pack("!BB", self.first, flag | length)
        elif length < 65536:
            head = struct.pack("!BBH", self.first, flag | 126, length)
        else:
            head = struct.pack("!BBQ", self.first, flag | 127, length)
        if not masked:
            return head + self.payload
        return head + self.mask + bytes(byte ^ self.mask[at % 4] for at, byte in enumerate(self.payload))


masks = st.binary(min_size=4, max_size=4)
texts = st.one_of(st.text(max_size=40), st.integers(100, 70_000).map(lambda size: "x" * size))
frames = st.one_of(
    st.builds(lambda text, mask: [Frame(0x81, text.encode(), mask)], texts, masks),
    st.builds(lambda one, other: [Frame(0x01, one.encode()), Frame(0x80, other.encode())], texts, texts),
    st.builds(lambda data: [Frame(0x89, data)], st.binary(max_size=125)),
    st.builds(lambda data: [Frame(0x8A, data)], st.binary(max_size=125)),
)
endings: st.SearchStrategy[list[Frame]] = st.one_of(
    st.just([]),
    st.builds(lambda data: [Frame(0x81, data)], st.binary(max_size=10)),  # perhaps not UTF-8
    st.builds(
        lambda first, data, wrong: [Frame(first, data, wrong=wrong)],
        st.integers(0, 255),
        st.binary(max_size=200),
        st.booleans(),
    ),
    st.just([Frame(0x88, struct.pack("!H", 1000))]),
)


class Side:
    """wsproto alone, at one end: what is right."""

    def __init__(self, *, is_server: bool) -> None:
        server, client = WSConnection(ConnectionType.SERVER), WSConnection(ConnectionType.CLIENT)
        server.receive_data(client.send(Request(host="h", target="/")))
        list(server.events())
        client.receive_data(server.send(AcceptConnection()))
        list(client.events())
        self.connection = server if is_server else client
        self.messages: list[str] = []
        self.end: object = None
        self._parts: list[str] = []

    def receive(self, data: bytes) -> int:
        """How many messages that completes."""
        before = len(self.messages)
        if self.end is None:
            try:
                self.connection.receive_data(data)
                for event in self.connection.events():
                    self._heed(event)
            except RemoteProtocolError as error:
                self.end = str(error)
        return len(self.messages) - before

    def _heed(self, event: Event) -> None:
        if isinstance(event, TextMessage):
            self._parts.append(event.data)
            if event.message_finished:
                self.messages.append("".join(self._parts))
                self._parts.clear()
        elif isinstance(event, CloseConnection):
            self.end = event.code


def taker(messages: list[str]) -> Callable[[bytes], bool]:
    """Takes what is UTF-8."""

    def take(text: bytes) -> bool:
        try:
            messages.append(text.decode())
        except UnicodeDecodeError:
            return False
        return True

    return take


@settings(deadline=None)
@given(
    st.lists(frames, max_size=8),
    endings,
    st.lists(frames, max_size=2),
    st.integers(0, 3),
    st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 5)), min_size=1, max_size=30),
    st.booleans(),
)
def test_together_they_understand_what_wsproto_does(
    beginning: list[list[Frame]],
    ending: list[Frame],
    rest: list[list[Frame]],
    opened_at: int,
    steps: list[tuple[int, int]],
    masked: bool,
) -> None:
    stream = b"".join(frame.encode(masked=masked) for group in [*beginning, ending, *rest] for frame in group)
    alone = Side(is_server=masked)
    alone.receive(stream)

    beside, shortcut = Side(is_server=masked), Shortcut(MOST, masked=masked)
    untaken = at = number = 0
    while at < len(stream):
        if number == opened_at:
            shortcut.on_text = taker(beside.messages)
        size, taken = steps[number % len(steps)]
        passed_on = shortcut.feed(stream[at : at + size])
        if passed_on:
            untaken += beside.receive(passed_on)
        # trio-websocket hands its messages over in its own time.
        for _ in range(min(taken, untaken)):
            shortcut.taken()
            untaken -= 1
        at, number = at + size, number + 1
    assert beside.messages == alone.messages
    assert beside.end == alone.end


def test_a_short_text_is_not_passed_on() -> None:
    shortcut = Shortcut(MOST, masked=True)
    got: list[str] = []
    shortcut.on_text = taker(got)
    frame = Frame(0x81, '{"type":"get_state","ü":1}'.encode()).encode()
    for byte in frame:
        assert shortcut.feed(bytes([byte])) == b""
    assert shortcut.feed(frame + frame) == b""
    assert got == ['{"type":"get_state","ü":1}'] * 3


def test_what_is_passed_on_keeps_those_behind_it_waiting() -> None:
    shortcut = Shortcut(MOST, masked=True)
    got: list[str] = []
    shortcut.on_text = taker(got)
    long, short = Frame(0x81, b"x" * (MOST + 1)).encode(), Frame(0x81, b"y").encode()
    assert shortcut.feed(long + short) == long + short
    shortcut.taken()
    assert shortcut.feed(short) == short
    shortcut.taken()
    shortcut.taken()
    assert shortcut.feed(short) == b""
    assert got == ["y"]


def test_a_servers_texts_are_taken_as_they_are_until_it_is_shut() -> None:
    shortcut = Shortcut(MOST, masked=False)
    got: list[str] = []
    frame = Frame(0x81, b"y" * 300).encode(masked=False)
    assert shortcut.feed(frame) == frame
    shortcut.taken()
    shortcut.on_text = taker(got)
    assert shortcut.feed(frame + frame[:5]) == b""
    assert shortcut.feed(frame[5:]) == b""
    assert got == ["y" * 300] * 2
    shortcut.shut()
    assert shortcut.feed(frame) == frame
