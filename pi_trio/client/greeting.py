"""The first words on a new link: whether there is a Pi, and how it is."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from ..abc import Link
from ..errors import ConnectFailed, InvalidResponse
from ..lifecycle import is_final_close
from ..protocol import STREAMED, Item, Record, State, decoded, encode_record, response_data

__all__ = ["Greeting", "greet"]

# No request of a client has this id: theirs are numbered.
_ID = "greeting"


@attrs.frozen
class Greeting:
    """What came back."""

    state: State
    items: Sequence[Item]
    """What Pi said to everybody before it answered, and behind that in the same breath."""


async def greet(link: Link, name: str, *, timeout: float) -> Greeting:
    """Ask for Pi's state, and wait for it. Nobody else may read the link meanwhile.

    Raises:
        ConnectFailed: no answer from ``name`` within ``timeout`` seconds, not the right one, or the link ended.
    """
    items: list[Item] = []
    with trio.move_on_after(timeout):
        try:
            link.send_nowait(encode_record({"type": "get_state", "id": _ID}))
            while True:
                came = await link.receive()
                for at, item in enumerate(came):
                    answer = _answer(item)
                    if answer is not None:
                        return Greeting(_state(name, answer), (*items, *came[at + 1 :]))
                    items.append(item)
        except (trio.EndOfChannel, trio.BrokenResourceError):
            final = link.closing is not None and is_final_close(link.closing.code)
            raise ConnectFailed(name, f"it was closed before Pi had answered: {link.closing}", final=final) from None
    raise ConnectFailed(name, f"Pi did not answer within {timeout:g} s")


def _answer(item: Item) -> Record | None:
    if isinstance(item, bytes) and item.startswith(STREAMED):
        return None
    record = decoded(item)
    is_it = isinstance(record, dict) and record.get("type") == "response" and record.get("id") == _ID
    return record if is_it and isinstance(record, dict) else None


def _state(name: str, answer: Record) -> State:
    if answer.get("success") is not True:
        raise ConnectFailed(name, f"Pi refused its first request: {answer.get('error', 'no reason was given')}")
    try:
        return response_data("get_state", answer.get("data"), State)
    except InvalidResponse as error:
        raise ConnectFailed(name, str(error)) from error
