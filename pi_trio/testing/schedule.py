"""The order in which tasks run, made a function of a seed; cancelling a task at its k-th checkpoint; giving up.

What is under here reaches into Trio: it has no public way to seed its scheduler. (Hypothesis's plugin for Trio does the
same, but with one seed for a whole run of examples, which explores one interleaving.)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio
import trio._core._run as trio_run

from .clock import JumpingClock

__all__ = ["Checkpoints", "Watchdog", "seeded"]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within the body, Trio's scheduler and the global ``random`` follow from ``seed``; behind it, all is as before."""
    scheduler = trio_run._r
    before = scheduler.getstate(), random.getstate(), trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    scheduler.seed(seed)
    random.seed(seed + 1)
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    try:
        yield
    finally:
        scheduler.setstate(before[0])
        random.setstate(before[1])
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = before[2]  # type: ignore[misc]


class Checkpoints(trio.abc.Instrument):
    """Cancels scopes at the k-th checkpoint of the task that is in them."""

    def __init__(self) -> None:
        self._watched: dict[trio.lowlevel.Task, list[tuple[int, trio.CancelScope]]] = {}

    def cancel_at(self, scope: trio.CancelScope, checkpoint: int) -> None:
        """Cancel ``scope`` when the calling task comes to its ``checkpoint``-th checkpoint from now, 1 the next."""
        task = trio.lowlevel.current_task()
        steps = task._schedule_points
        self._watched.setdefault(task, []).append((steps + max(1, checkpoint), scope))

    def forget(self) -> None:
        """The calling task has come through."""
        self._watched.pop(trio.lowlevel.current_task(), None)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Trio calls this when a task has given up control."""
        if task in self._watched:
            waiting = []
            for steps, scope in self._watched[task]:
                if task._schedule_points < steps:
                    waiting.append((steps, scope))
                else:
                    scope.cancel()
            self._watched[task] = waiting

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """Trio calls this at the end of a task."""
        self._watched.pop(task, None)


class Watchdog(JumpingClock):
    """A clock that ends a run that does not end: a shield without a deadline, a loop without progress.

    Everything is cancelled then, shields or not, as soon as it is ``seconds`` late, or the clock was read ``readings``
    times: Trio reads it each time it goes round its loop.
    """

    def __init__(self, *, seconds: float, readings: int, before_biting: Callable[[], None]) -> None:
        super().__init__()
        self._seconds = seconds
        self._readings_left = readings
        self._before_biting = before_biting
        self.bit = False
        """Whether it had to."""

    def current_time(self) -> float:
        """Seconds since the beginning."""
        self._readings_left -= 1
        if self._readings_left < 0 and self._readings_left % 400 == 0:  # not each time: let it come to its end
            self._bite()
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """See :class:`JumpingClock`."""
        seconds = super().deadline_to_sleep_time(deadline)
        if seconds and self.bit:  # once was not enough: what was cancelled waits for ever again
            self._bite()
            return 0.0
        return seconds

    async def watch(self) -> None:
        """To be run as a system task: then there is always something to come, if only this."""
        await self.sleep_until(self._seconds)
        self._bite()

    def _bite(self) -> None:
        if not self.bit:
            self.bit = True
            self._before_biting()
        root = trio.lowlevel.current_root_task()
        assert root is not None
        tasks = [task for nursery in root.child_nurseries for task in nursery.child_tasks]
        for task in tasks:
            status: Any = task._cancel_status
            while status is not None and status is not root._cancel_status:
                status._scope.shield = False
                status._scope.cancel()
                status = status._parent
            for nursery in task.child_nurseries:
                tasks += nursery.child_tasks
