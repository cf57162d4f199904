"""What becomes of processes."""

from __future__ import annotations

from collections.abc import Iterator

from ..trace import Misuse
from .invariant import Finding, invariant
from .story import Story

__all__ = [
    "every_process_is_reaped_once",
    "no_signal_after_reaping",
    "nothing_is_left_behind",
    "nothing_lives_after_the_end",
    "one_incarnation_at_a_time",
    "what_comes_out_went_in",
]


@invariant(4)
def one_incarnation_at_a_time(story: Story) -> Iterator[Finding]:
    """No process of an instance is started while one of its previous incarnation lives."""
    for life in story.lives:
        for earlier, launch in zip(life.launches, life.launches[1:], strict=False):
            alive = [each for each in earlier.processes if each.lives_at(launch.root.spawned.index)]
            if alive:
                says = f"{life.instance}/{launch.incarnation} was started beside processes of the one before"
                yield Finding(says, *[each.spawned for each in alive], launch.root.spawned)


@invariant(5)
def nothing_lives_after_the_end(story: Story) -> Iterator[Finding]:
    """``stopped`` or ``failed`` implies that no process of the instance's trees lives."""
    for life in story.lives:
        if life.terminal is None:
            continue
        for launch in life.launches:
            for process in launch.processes:
                if process.exited is None or process.exited.index > life.terminal.index:
                    says = f"{life.instance} was said to be over, and a process of it lived"
                    yield Finding(says, process.spawned, life.terminal, process.exited)


@invariant(6)
def nothing_is_left_behind(story: Story) -> Iterator[Finding]:
    """A runtime scope that has exited, by whatever way, has left no process; and every scope that was entered exits."""
    for scope, entered in story.entered.items():
        if scope not in story.scope_exits:
            yield Finding(f"the scope {scope!r} was entered and never exited", entered, story.left.get(scope))
    over = story.scope_exits.get("runtime")
    if over is None:
        return
    for process in story.processes.values():
        if process.exited is None or process.exited.index > over.index:
            yield Finding("the runtime was over, and a process lived", process.spawned, over, process.exited)


@invariant(0)
def what_comes_out_went_in(story: Story) -> Iterator[Finding]:
    """What the body of a runtime's scope raised comes out of it unchanged, and nothing else does."""
    left, exited = story.left.get("runtime"), story.scope_exits.get("runtime")
    if left is None or exited is None or exited.event.how == left.event.how:
        return
    if not (exited.event.how == "cancelled" and "runtime" in story.cancelled):
        yield Finding(f"{left.event.how} went in, and {exited.event.how} came out", left, exited)


@invariant(9)
def no_signal_after_reaping(story: Story) -> Iterator[Finding]:
    """No signal to a pid after it was reaped, no pid reaped twice, nothing else that a real system would not forgive."""
    for launch in story.launches:
        for each in launch.signals:
            process = story.processes[each.event.process]
            if process.reaped and process.reaped[0].index < each.index:
                yield Finding(f"pid {each.event.pid} had been reaped", process.reaped[0], each)
    for process in story.processes.values():
        if len(process.reaped) > 1:
            yield Finding(f"pid {process.spawned.event.pid} was reaped twice", *process.reaped)
    for misuse in story.all(Misuse):
        yield Finding(misuse.event.what, misuse)


@invariant(10)
def every_process_is_reaped_once(story: Story) -> Iterator[Finding]:
    """When the runtime's scope has exited, every process that was spawned has been reaped, exactly once."""
    over = story.scope_exits.get("runtime")
    if over is None:
        return
    for process in story.processes.values():
        count = sum(each.index < over.index for each in process.reaped)
        if count != 1:
            pid = process.spawned.event.pid
            yield Finding(f"pid {pid} was reaped {count} times when the runtime was over", process.spawned, over)
