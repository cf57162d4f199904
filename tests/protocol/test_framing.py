"""Bytes to lines: whatever the cuts, the cap, and the garbage."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.protocol import LineSplitter, MalformedRecord
from pi_trio.protocol.framing import HEAD_BYTES
from tests.protocol.strategies import pieces, properties


def by_hand(data: bytes, cap: int) -> tuple[list[bytes | MalformedRecord], bytes | None]:
    """The rule, told all at once: the lines of ``data``, and what it was cut off in."""

    def line(piece: bytes) -> bytes | MalformedRecord:
        if len(piece) > cap:
            return MalformedRecord(f"longer than {cap} bytes", piece[: min(HEAD_BYTES, cap)])
        return piece.removesuffix(b"\r")

    *whole, rest = data.split(b"\n")
    if len(rest) > cap:
        return [line(piece) for piece in [*whole, rest]], None
    return [line(piece) for piece in whole], rest or None


def split(feeds: list[bytes], cap: int) -> tuple[list[bytes | MalformedRecord], bytes | None]:
    splitter = LineSplitter(cap)
    return [line for data in feeds for line in splitter.feed(data)], splitter.end()


# Line ends, and what some readers take for one.
streams = st.lists(
    st.sampled_from([b"\n", b"\n", b"\r\n", b"\r", b"a", b"bc", b"\xe2\x80\xa8", b"\x85", b"\x0b", b"\0", b"\xff"]),
    max_size=24,
).map(b"".join)


@properties
@given(st.data(), streams, st.integers(1, 8) | st.just(1000))
def test_lines_do_not_depend_on_how_the_bytes_arrive(draw: st.DataObject, stream: bytes, cap: int) -> None:
    feeds = draw.draw(pieces(stream))

    assert split(feeds, cap) == by_hand(stream, cap)


def test_only_lf_ends_a_line() -> None:
    odd = "a\rb\x0bc\x0cd\x1ce\x85f\u2028g\u2029h".encode()

    assert split([odd + b"\n" + b"next\n"], 100) == ([odd, b"next"], None)


def test_one_cr_before_the_lf_is_stripped() -> None:
    assert split([b"a\r\n", b"b\r\r\n", b"\r\n", b"c\r", b"\n"], 100) == ([b"a", b"b\r", b"", b"c"], None)


def test_the_cap_counts_the_cr_and_not_the_lf() -> None:
    assert split([b"abcd\n", b"abc\r\n"], 4) == ([b"abcd", b"abc"], None)
    assert split([b"abcd\r\nz\n"], 4) == ([MalformedRecord("longer than 4 bytes", b"abcd"), b"z"], None)


def test_a_line_that_is_too_long_is_reported_once_and_as_soon_as_it_is() -> None:
    splitter = LineSplitter(4)

    assert splitter.feed(b"good\nabc") == [b"good"]
    assert splitter.feed(b"de") == [MalformedRecord("longer than 4 bytes", b"abcd")]
    assert splitter.feed(b"f" * 1000) == []
    assert repr(splitter) == "<LineSplitter 0 bytes pending>", "what is skipped is not kept"
    assert splitter.feed(b"g\nnext\n") == [b"next"]


def test_of_a_line_that_is_too_long_only_the_head_is_kept() -> None:
    (overlong,) = LineSplitter(1000).feed(b"x" * 5000 + b"\n")

    assert overlong == MalformedRecord("longer than 1000 bytes", b"x" * HEAD_BYTES)


def test_the_end_inside_a_line_returns_it_and_starts_anew() -> None:
    splitter = LineSplitter(4)
    splitter.feed(b"a\nbc")

    assert splitter.end() == b"bc"
    assert splitter.end() is None
    assert splitter.feed(b"d\n") == [b"d"]


def test_the_end_inside_a_skipped_line_returns_nothing_and_starts_anew() -> None:
    splitter = LineSplitter(4)
    splitter.feed(b"abcdefg")

    assert splitter.end() is None
    assert splitter.feed(b"h\n") == [b"h"]


@pytest.mark.parametrize("cap", [0, -1])
def test_a_cap_that_nothing_fits_into_is_refused(cap: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        LineSplitter(cap)


def test_each_byte_is_searched_once() -> None:
    # Counted, not timed: how many bytes the methods of `bytes` are called on. Searching the pending line
    # again for each of its 2048 pieces would make it a thousand times the line.
    line = b"x" * (8 * 1024 * 1024)
    feeds = [line[start : start + 4096] for start in range(0, len(line), 4096)]
    splitter = LineSplitter()
    calls: Counter[str] = Counter()
    searched = 0

    def watch(_: object, event: str, called: Any) -> None:
        nonlocal searched
        owner = getattr(called, "__self__", None)
        if event == "c_call" and isinstance(owner, bytes | bytearray):
            calls[called.__name__] += 1
            searched += len(owner)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        for data in feeds:
            assert splitter.feed(data) == []
        lines = splitter.feed(b"\n")
    finally:
        sys.setprofile(before)

    assert lines == [line]
    assert 0 < searched <= len(line) + 1
    assert calls["join"] == 1, "the pieces are copied together once"
