"""A stream as fast as the pipe takes it: how many records a second reach somebody who joins the text."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import attrs

from pi_trio import InstanceSpec, PiClient, WhenFull
from pi_trio.protocol import MessageUpdate

from . import flood_child
from .comparison import Bar, Comparison, Measure, compare, in_turn
from .pi import open_both, open_spec

__all__ = ["FLOOD", "open_flood"]

_BAR = Bar(4.0, at_least=True)

# Pieces of about the length that models stream, some of which JSON has to escape or UTF-8 to spell out.
_PIECES = ("The", " function", " returns", " a", ' "path"', ",\n", " für", " → ", "日本", "🙂", " import", " of", "```")


def _records(count: int) -> tuple[bytes, str]:
    """The lines that Pi writes for one run of ``count`` text deltas, and the text they add up to."""
    pick = random.Random(count)
    text: list[str] = []
    records: list[dict[str, object]] = [{"type": "agent_start"}]
    for number in range(count):
        text.append(pick.choice(_PIECES) + pick.choice(_PIECES))
        usage = {"input": 100, "output": number, "cacheRead": 0, "cacheWrite": 0, "reasoning": 0, "totalTokens": 0}
        cost = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": 0}
        step = {"type": "text_delta", "contentIndex": 0, "delta": text[-1]}
        records.append({"type": "message_update", "usage": {**usage, "cost": cost}, "assistantMessageEvent": step})
    records.append({"type": "agent_settled"})
    lines = (json.dumps(record, ensure_ascii=False, separators=(",", ":")) for record in records)
    return "".join(f"{line}\n" for line in lines).encode(), "".join(text)


@contextmanager
def open_flood(count: int) -> Iterator[tuple[InstanceSpec, str]]:
    """A spec whose Pi is the flooding child, and the text that it sends."""
    data, text = _records(count)
    with open_spec() as spec:
        file = Path(spec.cwd, "flood.jsonl")
        file.write_bytes(data)
        script = Path(spec.cwd, "flood")
        source = Path(flood_child.__file__).read_text(encoding="utf-8")
        script.write_text(f"#!{sys.executable} -IS\n{source}", encoding="utf-8")
        os.chmod(script, 0o700)
        yield attrs.evolve(spec, pi=script, env={**spec.env, "PI_TRIO_FLOOD": str(file)}), text


async def _join_text(client: PiClient, count: int) -> str:
    """Through a subscription of our own, text only."""
    parts: list[str] = []
    with client.subscribe(when_full=WhenFull.WAIT) as events:
        await client.prompt("go")
        async for delta in events.text():
            parts.append(delta)
            if len(parts) == count:
                break
    return "".join(parts)


async def _join_events(client: PiClient, count: int) -> str:
    """Through typed events."""
    parts: list[str] = []
    with client.subscribe(when_full=WhenFull.WAIT) as events:
        await client.prompt("go")
        async for event in events:
            if isinstance(event, MessageUpdate):
                parts.append(event.text_delta)
                if len(parts) == count:
                    break
    return "".join(parts)


async def _join_run(client: PiClient, _: int) -> str:
    """Through a run: what most programs do."""
    async with client.run("go") as run:
        return "".join([delta async for delta in run.text()])


_READERS: tuple[tuple[str, Callable[[PiClient, int], Awaitable[str]], Bar | None], ...] = (
    ("flood, text of a subscription", _join_text, _BAR),
    ("flood, text of a run", _join_run, None),
    ("flood, typed events", _join_events, None),
)


async def _measure(quick: bool) -> list[Comparison]:
    count = 20_000 if quick else 100_000
    comparisons = []
    with open_flood(count) as (spec, text):
        async with open_both(spec) as (instance, bare):
            for name, read, bar in _READERS:

                async def ours(read: Callable[[PiClient, int], Awaitable[str]] = read) -> float:
                    began = perf_counter()
                    got = await read(instance.client, count)
                    took = perf_counter() - began
                    assert got == text, "a reader lost something"
                    return count / took

                def baseline() -> float:
                    began = perf_counter()
                    got = bare.prompt()
                    took = perf_counter() - began
                    assert got == text, "the bare loop lost something"
                    return count / took

                mine, theirs = await in_turn(3 if quick else 9, ours, baseline)
                comparisons.append(compare(name, "records/s", mine, theirs, bar))
    return comparisons


FLOOD = Measure("flood", _measure)
