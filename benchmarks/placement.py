"""Which CPUs the two sides of a pipe run on: said, not left to chance.

The scheduler puts a process that blocks on a pipe and the one that fills it on one CPU or on two, as it likes.
On one, waking the other is a cheap switch; on two, it is an interrupt, which takes longer than everything else
if the CPU slept. Left alone, the same blocking loop took 45 us in one run and 180 us in the next.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = ["placed"]


@contextmanager
def placed(pids: Iterable[int], *, apart: bool) -> Iterator[None]:
    """Run the body on one CPU, with the processes ``pids`` on the same one, or with one of their own.

    Does nothing off Linux, or where there is only one CPU.
    """
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        yield
        return
    before = os.sched_getaffinity(0)
    ours, other = sorted(before)[:2]
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {other if apart else ours})
    os.sched_setaffinity(0, {ours})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
