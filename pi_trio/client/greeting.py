"""The first words on a new link: whether there is a Pi, and how it is."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from ..abc import Link
from ..errors import ConnectFailed, InvalidResponse
from ..lifecycle import is_final_close
from ..protocol import STREAMED, Item, Record, State, decoded, encode_record, response_data

__all__ = ["POSITION", "Greeting", "Position", "greet"]

POSITION = "endpoint_position"
"""The type of what an endpoint says first on a link whose events are to be counted."""

# No request of a client has this id: theirs are numbered.
_ID = "greeting"


@attrs.frozen
class Position:
    """Where in an endpoint's events a link began."""

    of: str
    """Which endpoint: another one has counted others."""
    shown: int
    """How many it had shown before. Dialogs are put to some peers only, and do not count."""


@attrs.frozen
class Greeting:
    """What came back."""

    state: State
    items: Sequence[Item]
    """What Pi said to everybody before it answered, and behind that in the same breath."""
    position: Position | None = None
    """``None``: its events are not counted on the other side."""


async def greet(link: Link, name: str, *, timeout: float) -> Greeting:
    """Ask for Pi's state, and wait for it. Nobody else may read the link meanwhile.

    Raises:
        ConnectFailed: no answer from ``name`` within ``timeout`` seconds, not the right one, or the link ended.
    """
    items: list[Item] = []
    position: Position | None = None
    with trio.move_on_after(timeout):
        try:
            link.send_nowait(encode_record({"type": "get_state", "id": _ID}))
            while True:
                came = await link.receive()
                for at, item in enumerate(came):
                    record = _record(item)
                    if record.get("type") == POSITION:
                        position = _position(record)
                    elif record.get("type") == "response" and record.get("id") == _ID:
                        return Greeting(_state(name, record), (*items, *came[at + 1 :]), position)
                    else:
                        items.append(item)
        except (trio.EndOfChannel, trio.BrokenResourceError):
            final = link.closing is not None and is_final_close(link.closing.code)
            raise ConnectFailed(name, f"it was closed before Pi had answered: {link.closing}", final=final) from None
    raise ConnectFailed(name, f"Pi did not answer within {timeout:g} s")


def _record(item: Item) -> Record:
    """What it says; nothing, where that is no answer in any case."""
    if isinstance(item, bytes) and item.startswith(STREAMED):
        return {}
    record = decoded(item)
    return record if isinstance(record, dict) else {}


def _position(record: Record) -> Position | None:
    of, shown = record.get("of"), record.get("shown")
    return Position(of, shown) if isinstance(of, str) and isinstance(shown, int) else None


def _state(name: str, answer: Record) -> State:
    if answer.get("success") is not True:
        raise ConnectFailed(name, f"Pi refused its first request: {answer.get('error', 'no reason was given')}")
    try:
        return response_data("get_state", answer.get("data"), State)
    except InvalidResponse as error:
        raise ConnectFailed(name, str(error)) from error
