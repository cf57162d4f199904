"""Virtual time for runs to which nothing comes from outside."""

from __future__ import annotations

import heapq
import math

import trio

__all__ = ["JumpingClock", "sleep"]


class JumpingClock(trio.abc.Clock):
    """The time of a run without threads, descriptors and ``wait_all_tasks_blocked``: when no task can run, it is later.

    So says ``trio.testing.MockClock(autojump_threshold=0)``, too, but only after a look whether there was any I/O: one
    more turn of Trio's loop for each jump. And whoever sleeps by :func:`sleep` is woken by this clock itself: what a
    simulated world does most is to wait for a moment, and a cancel scope for each is most of what that takes.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._alarms: list[tuple[float, int]] = []
        self._sleeping: dict[int, trio.lowlevel.Task] = {}
        self._slept = 0

    def __repr__(self) -> str:
        return f"<JumpingClock at {self._now:g}>"

    def start_clock(self) -> None:
        """Trio calls this at the beginning."""

    def current_time(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Trio asks when no task can run: it need not sleep until ``deadline``, it is that late already."""
        alarms, sleeping = self._alarms, self._sleeping
        while alarms and alarms[0][1] not in sleeping:  # it was cancelled
            heapq.heappop(alarms)
        if alarms:
            deadline = min(deadline, alarms[0][0])
        if deadline == math.inf:
            return math.inf
        self._now = max(self._now, deadline)
        while alarms and alarms[0][0] <= self._now:
            task = sleeping.pop(heapq.heappop(alarms)[1], None)
            if task is not None:
                trio.lowlevel.reschedule(task)
        return 0.0

    async def sleep_until(self, instant: float) -> None:
        """Sleep until then."""
        self._slept = number = self._slept + 1
        self._sleeping[number] = trio.lowlevel.current_task()
        heapq.heappush(self._alarms, (instant, number))

        def abort(_: object) -> trio.lowlevel.Abort:
            del self._sleeping[number]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)


async def sleep(seconds: float) -> None:
    """What ``trio.sleep`` does, for less where the clock is a :class:`JumpingClock`."""
    clock = trio.lowlevel.current_clock()
    if isinstance(clock, JumpingClock) and 0 < seconds < math.inf:
        await clock.sleep_until(clock.current_time() + seconds)
    else:
        await trio.sleep(seconds)
