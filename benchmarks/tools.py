"""Tool calls: how much longer one of a Python function takes than one of a function inside of Pi.

Both do nothing, and are measured by the same clock inside of Pi, from ``tool_execution_start`` to
``tool_execution_end``: what the model waits for.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeGuard

import attrs
import trio

from pi_trio import Instance, InstanceSpec, open_runtime, tool
from pi_trio.protocol import Record
from pi_trio.testing import ModelRequest, ModelServer, ToolUse, Turn, open_model_server

from .comparison import Bar, Comparison, Measure, compare, percentile
from .pi import open_spec

__all__ = ["TOOLS"]

_EXTENSION = Path(__file__).with_suffix(".js")
_LIMIT_MS = 2.0
_CALLS_IN_A_RUN = 40


@tool
async def in_python(text: str) -> str:
    """Returns at once."""
    await trio.lowlevel.checkpoint()
    return text


def _script(request: ModelRequest) -> Turn:
    """One call in a turn, of the one and the other by turns."""
    calls = sum(message["role"] == "tool" for message in _since_prompt(request))
    if calls == _CALLS_IN_A_RUN:
        return Turn("done")
    return Turn(tools=[ToolUse(("in_pi", "in_python")[calls % 2], {"text": "nothing"})])


def _since_prompt(request: ModelRequest) -> Iterator[dict[str, object]]:
    return itertools.takewhile(lambda message: message["role"] != "user", map(dict, reversed(request.messages)))


@contextmanager
def _open_spec(model: ModelServer) -> Iterator[InstanceSpec]:
    with open_spec() as spec:
        yield attrs.evolve(
            spec,
            provider="scripted",
            model="scripted-1",
            env={**spec.env, **model.configure(Path(spec.cwd, "agent"))},
            extra_args=("-e", str(_EXTENSION)),
            python_tools=(in_python,),
        )


def _is_notification(record: object) -> TypeGuard[Record]:
    return isinstance(record, dict) and record.get("method") == "notify"


async def _run(instance: Instance) -> tuple[list[float], list[float]]:
    """One run's calls, in milliseconds: ours, and those inside of Pi."""
    async with instance.client.run("go") as run:
        # Undecoded: what a program does with events is not what is measured.
        (told,) = [record["message"] async for record in run.records() if _is_notification(record)]
    await instance.client.new_session()
    took = json.loads(told)
    return took["in_python"], took["in_pi"]


async def _measure(quick: bool) -> list[Comparison]:
    mine: list[list[float]] = []
    theirs: list[list[float]] = []
    rounds, warm_up = (5, 5) if quick else (25, 15)
    async with open_model_server(_script) as model, open_runtime() as runtime:
        with _open_spec(model) as spec:
            instance = await runtime.spawn(spec)
            for number in range(warm_up + rounds):
                ours, in_pi = await _run(instance)
                if number >= warm_up:
                    mine.append(ours)
                    theirs.append(in_pi)
            await instance.stop()
    return [*_compare("p50", 50, mine, theirs, Bar(1.0)), *_compare("p99", 99, mine, theirs, None)]


def _compare(
    name: str, percent: float, mine: list[list[float]], theirs: list[list[float]], bar: Bar | None
) -> list[Comparison]:
    ours = [percentile(each, percent) for each in mine]
    in_pi = [percentile(each, percent) for each in theirs]
    over = [one - other for one, other in zip(ours, in_pi, strict=True)]
    return [
        compare(f"tool call, {name}", "ms", ours, in_pi),
        compare(f"tool call, {name}, over Pi's own (of {_LIMIT_MS:g} ms)", "ms", over, [_LIMIT_MS] * len(over), bar),
    ]


TOOLS = Measure("tools", _measure)
