"""Lines to records and back."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.errors import ProtocolError
from pi_trio.protocol import MalformedRecord, Record, RecordDecoder, decode_line, encode_record
from pi_trio.protocol.framing import HEAD_BYTES
from tests.protocol.strategies import json_objects, json_values, pieces, properties

DEEP = 100_000

MALFORMED = {
    "not JSON: no value": (b"{", "^not JSON: "),
    "not JSON: two values": (b"{} {}", "^not JSON: "),
    "not JSON: NaN": (b'{"a":NaN}', "^not JSON: NaN is not JSON$"),
    "not JSON: infinity": (b'{"a":-Infinity}', "^not JSON: -Infinity is not JSON$"),
    "not JSON: single quotes": (b"{'a':1}", "^not JSON: "),
    "not JSON: a control character": (b'{"a":"\x01"}', "^not JSON: "),
    "not JSON: a byte order mark": (b"\xef\xbb\xbf{}", "^not JSON: "),
    "not JSON: an endless integer": (b'{"a":' + b"9" * 10_000 + b"}", "^not JSON: "),
    "not UTF-8": (b'{"a":"\xff"}', "^not UTF-8 at byte 6$"),
    "not UTF-8: a surrogate": (b'{"a":"\xed\xa0\xbd"}', "^not UTF-8 at byte 6$"),
    "too deep: an object": (b'{"a":' * DEEP + b"1" + b"}" * DEEP, "^nested too deeply$"),
    "too deep: a list": (b'{"a":' + b"[" * DEEP + b"]" * DEEP + b"}", "^nested too deeply$"),
    "no object: a list": (b"[]", "^a JSON list, not an object$"),
    "no object: a string": (b'"a"', "^a JSON str, not an object$"),
    "no object: half an emoji": (b'"\\ud83d"', "^a JSON str, not an object$"),
    "no object: a number": (b"1", "^a JSON int, not an object$"),
    "no object: null": (b"null", "^a JSON NoneType, not an object$"),
}


def decode(feeds: list[bytes], cap: int = 10_000) -> list[Record | MalformedRecord]:
    """Everything a decoder makes of a stream, what it was cut off in included."""
    decoder = RecordDecoder(cap)
    records = [record for data in feeds for record in decoder.feed(data)]
    rest = decoder.end()
    return records if rest is None else [*records, rest]


@properties
@given(json_objects())
def test_decoding_undoes_encoding(record: Record) -> None:
    line = encode_record(record)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_line(line[:-1]) == record
    assert decode([line]) == [record]


@properties
@given(json_values())
def test_what_is_no_object_is_no_record(value: Any) -> None:
    line = encode_record({"value": value}).removeprefix(b'{"value":').removesuffix(b"}\n")

    decoded = decode_line(line)

    if isinstance(value, dict):
        assert decoded == value
    else:
        assert isinstance(decoded, MalformedRecord)


garbage = st.binary(max_size=12).map(lambda data: data.replace(b"\n", b""))
lines = st.one_of(
    json_objects().map(lambda record: encode_record(record)[:-1]),
    json_objects().map(lambda record: encode_record(record)[:-1] + b"\r"),
    garbage,
    st.sampled_from(
        [b"", b" \t", b"\r", b'{"a":"\\ud83d"}', '{"a":"\u2028\u2029\x85"}'.encode(), b"[1]", b'{"a":1e400}']
    ),
    st.integers(30, 60).map(lambda size: b'{"long":"' + b"x" * size + b'"}'),
)


@properties
@given(st.data(), st.lists(lines, max_size=8), garbage, st.sampled_from([1, 10, 40, 10_000]))
def test_records_do_not_depend_on_how_the_bytes_arrive(
    draw: st.DataObject, whole: list[bytes], rest: bytes, cap: int
) -> None:
    stream = b"".join(line + b"\n" for line in whole) + rest
    feeds = draw.draw(pieces(stream))

    assert decode(feeds, cap) == decode([stream], cap)


@properties
@given(st.lists(lines, max_size=8))
def test_a_stream_is_the_sum_of_its_lines(whole: list[bytes]) -> None:
    # Each line in a decoder of its own: nothing of one line, good or bad, reaches into the next.
    apart = [record for line in whole for record in decode([line + b"\n"], 40)]

    assert decode([line + b"\n" for line in whole], 40) == apart


@properties
@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 20) | st.just(10_000))
def test_garbage_never_raises(feeds: list[bytes], cap: int) -> None:
    for record in decode(feeds, cap):
        assert isinstance(record, dict) or (record.reason and len(record.head) <= min(HEAD_BYTES, 200))


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_line_is_reported_and_the_stream_goes_on(name: str) -> None:
    line, reason = MALFORMED[name]

    bad, good = decode([line + b"\n" + b'{"type":"next"}\n'], cap=10_000_000)

    assert isinstance(bad, MalformedRecord)
    assert re.search(reason, bad.reason)
    assert bad.head == line[:HEAD_BYTES]
    assert good == {"type": "next"}
    assert decode_line(line) == bad


def test_a_line_over_the_cap_is_reported_and_the_stream_goes_on() -> None:
    assert decode([b'{"a":"' + b"x" * 100 + b'"}\n{"b":2}\n'], cap=20) == [
        MalformedRecord("longer than 20 bytes", b'{"a":"xxxxxxxxxxxxxx'),
        {"b": 2},
    ]


def test_a_record_cut_off_by_the_end_is_reported() -> None:
    assert decode([b'{"a":1}\n{"b":2}']) == [
        {"a": 1},
        MalformedRecord("the stream ended inside this record", b'{"b":2}'),
    ]


@pytest.mark.parametrize("blank", [b"", b" ", b"\r", b"\t \r"])
def test_blank_lines_are_no_records(blank: bytes) -> None:
    assert decode([b'{"a":1}\n' + blank + b"\n" + blank]) == [{"a": 1}]


def test_half_a_surrogate_pair_is_text() -> None:
    # JavaScript cuts strings wherever it is told to, and writes the half it is left with.
    assert decode_line(b'{"half":"\\ud83d","whole":"\\ud83d\\ude00"}') == {"half": "\ud83d", "whole": "\U0001f600"}
    assert encode_record({"half": "\ud83d", "\udc00": 1}) == b'{"half":"\\ud83d","\\udc00":1}\n'


def test_line_separators_stay_in_the_text() -> None:
    record = {"text": "a\u2028b\u2029c\x85d\x0be\r\nf"}

    assert decode([encode_record(record)]) == [record]


def test_an_integer_of_more_than_64_bits_is_written_out_and_read_as_javascript_does() -> None:
    line = encode_record({"n": 2**70})

    assert line == b'{"n":1180591620717411303424}\n'
    assert decode([line]) == [{"n": float(2**70)}]


def test_what_is_no_number_in_json_becomes_null() -> None:
    assert encode_record({"a": math.nan, "b": math.inf}) == b'{"a":null,"b":null}\n'
    with pytest.raises(ProtocolError, match="cannot be encoded"):  # beside what only the standard library takes
        encode_record({"a": math.nan, "half": "\ud83d"})


@pytest.mark.parametrize("value", [object(), b"bytes", {1, 2}, 1j, print])
def test_what_has_no_json_form_is_refused(value: object) -> None:
    with pytest.raises(ProtocolError, match="cannot be encoded"):
        encode_record({"value": value})


def test_a_record_that_contains_itself_is_refused() -> None:
    record: Record = {}
    record["self"] = record

    with pytest.raises(ProtocolError, match="cannot be encoded"):
        encode_record(record)


def test_a_record_that_is_too_deep_is_refused() -> None:
    record: Record = {}
    for _ in range(DEEP):
        record = {"a": record}

    with pytest.raises(ProtocolError, match="cannot be encoded"):
        encode_record(record)
