"""What the property tests of the wire draw from."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

__all__ = ["json_objects", "json_values", "pieces", "properties"]

properties = settings(max_examples=60)
"""The same examples in every run, and no limit on the time of one: the machine may be busy."""


def _merge_pairs(text: str) -> str:
    # Two halves of a surrogate pair side by side are one character in JSON.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


texts = st.text(st.characters(), max_size=12).map(_merge_pairs)
"""Any text, lone surrogates, control characters and line separators included."""

_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)


def json_values() -> st.SearchStrategy[Any]:
    """Any JSON value. Integers have at most 64 bits: longer ones are floats to a JSON parser."""
    return st.recursive(
        _scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=12,
    )


def json_objects() -> st.SearchStrategy[dict[str, Any]]:
    """Any JSON object."""
    return st.dictionaries(texts, json_values(), max_size=5)


def pieces(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """``data``, cut anywhere, any number of times; empty pieces too."""

    def cut(positions: list[int]) -> list[bytes]:
        ends = [*sorted(positions), len(data)]
        return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    return st.lists(st.integers(0, len(data)), max_size=12).map(cut) | st.just(
        [data[n : n + 1] for n in range(len(data))]
    )
