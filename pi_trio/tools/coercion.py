"""What Pi made of the arguments to make them fit the schema, against what the model wrote."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["says_the_same"]


def says_the_same(written: Any, given: Any) -> bool:
    """Whether ``given`` is what the model wrote, but for how a value is spelled: ``"5"`` for ``5``, ``"true"`` for ``true``.

    ``null`` is itself only: Pi makes a 0, an empty string or the word of it.
    """
    if isinstance(written, dict) and isinstance(given, dict):
        return written.keys() == given.keys() and all(says_the_same(written[name], given[name]) for name in written)
    if isinstance(written, list) and isinstance(given, list):
        return len(written) == len(given) and all(map(says_the_same, written, given))
    if written is None or given is None:
        return written is given
    return _spelled(written) == _spelled(given)


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
