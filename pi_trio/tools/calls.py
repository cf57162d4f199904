"""The calls that one instance's Pi has under way."""

from __future__ import annotations

import contextvars
from collections.abc import Collection
from functools import partial
from typing import Any

import attrs
import trio

from .call import Answer, Call, answer_line
from .tool import Tool

__all__ = ["Asked", "Calls"]


@attrs.frozen
class Asked:
    """Pi calls a tool; or, with the key alone, asks what comes behind an update."""

    key: str
    tool: str | None = None
    id: str = ""
    arguments: dict[str, Any] = attrs.field(factory=dict)
    """As Pi passes them on."""
    written: Any = None
    """What the model wrote, when that is not the same."""


class Calls:
    """Runs calls side by side, up to a limit, in a nursery that :meth:`serve` keeps open."""

    def __init__(self, instance_id: str, answer: Answer, *, max_concurrent: int) -> None:
        self._id = instance_id
        self._answer = answer
        self._turns = trio.CapacityLimiter(max_concurrent)
        self._by_key: dict[str, Call] = {}
        self._nursery: trio.Nursery | None = None  # None: no calls are taken
        self._context = contextvars.Context()
        self._tasks: set[trio.lowlevel.Task] = set()

    def __len__(self) -> int:
        return len(self._by_key)

    async def serve(self) -> None:
        """Run the calls of one Pi, until cancelled: then they are cancelled, too."""
        self._context = contextvars.copy_context()
        try:
            async with trio.open_nursery() as self._nursery:
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._by_key.clear()

    def take(self, dialog: str, asked: Asked, tool: Tool | None) -> None:
        """Start a call, or go on with it. ``tool`` is the one it asks for, if it is on offer."""
        if asked.tool is None:
            if asked.key in self._by_key:
                self._by_key[asked.key].ask_again(dialog)
        elif tool is None or self._nursery is None:
            self._answer(answer_line(dialog, {"error": f"{asked.tool} is not there any more"}))
        else:
            call = self._by_key[asked.key] = Call(
                tool,
                call_id=asked.id,
                arguments=asked.arguments,
                written=asked.written,
                instance_id=self._id,
                dialog=dialog,
                answer=self._answer,
            )
            # Records are read by whichever task waits for one. Its context variables are not the call's.
            start = partial(self._nursery.start_soon, name=f"call of {tool.name}")
            self._context.run(start, self._run, asked.key, call)

    async def _run(self, key: str, call: Call) -> None:
        task = trio.lowlevel.current_task()
        self._tasks.add(task)
        try:
            await call.run(self._turns)
        finally:
            self._tasks.remove(task)
        await call.wait_taken()
        del self._by_key[key]

    def is_inside(self) -> bool:
        """Whether the calling task is a call's, or runs in a nursery of one: Pi waits for it."""
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None and task not in self._tasks:
            task = task.parent_nursery.parent_task if task.parent_nursery is not None else None
        return task is not None

    def aborted(self, key: str) -> None:
        """Pi aborted the call with this key. It may be over, as far as this side knows."""
        if key in self._by_key:
            self._by_key[key].cancel("Pi aborted it")

    def taken(self, key: str) -> None:
        """Pi is done with the call with this key."""
        if key in self._by_key:
            self._by_key[key].taken()

    async def end_those_of(self, tools: Collection[Tool], why: str) -> None:
        """Cancel the calls of these tools, and wait until their functions have unwound."""
        calls = [call for call in self._by_key.values() if call.tool in tools]
        for call in calls:
            call.cancel(why)
        for call in calls:
            await call.wait_unwound()

    async def end(self, why: str) -> None:
        """Take no more calls from this Pi, cancel those under way, and wait until Pi has taken that. To be bounded."""
        self._nursery = None
        calls = list(self._by_key.values())
        for call in calls:
            call.cancel(why)
        for call in calls:
            await call.wait_taken()
