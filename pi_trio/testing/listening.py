"""Readers of what a Pi says: one that never falls behind, and others that do."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import trio

from ..client import EventStream, Lagged, Run
from ..concurrency import Subscription
from ..protocol import decoded
from .trace import Heard, Record, RecordsDelivered, RunHeard

__all__ = ["hear", "hear_run", "read_records"]


async def read_records(record: Record, name: str, stream: EventStream) -> None:
    """Take down all that comes, as soon as it comes."""
    subscription: Subscription[Any] = stream._subscription  # for its batches
    with suppress(trio.EndOfChannel, Exception):
        while True:
            batch = await subscription.receive_batch()
            record(RecordsDelivered(trio.current_time(), name, tuple(map(_text, batch))))


async def hear(record: Record, listener: int, name: str, stream: EventStream, pause: float) -> None:
    """Take down what comes, with a pause behind each record."""
    subscription: Subscription[Any] = stream._subscription
    with suppress(trio.EndOfChannel, Exception):
        while True:
            item = await subscription.receive()
            if isinstance(item, Lagged):
                record(Heard(trio.current_time(), listener, name, missed=item.missed))
            else:
                record(Heard(trio.current_time(), listener, name, _text(item)))
            await trio.sleep(pause)
    record(Heard(trio.current_time(), listener, name, ended=True))


async def hear_run(run: Run, call: int, instance: str, mark: str, connection: int | None) -> RunHeard:
    """Read a run to its end, and say what came of it."""
    pieces = [piece async for piece in run.text()]
    reply = await run.result(check=False)
    now = trio.current_time()
    messages, why = len(reply.messages), reply.stop_reason
    return RunHeard(now, call, instance, mark, connection, tuple(pieces), reply.text, messages, why)


def _text(item: Any) -> str:
    if isinstance(item, Lagged):
        return f"lagged {item.missed}"
    record = decoded(item)
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS).decode() if isinstance(record, dict) else "malformed"
