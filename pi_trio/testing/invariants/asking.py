"""What whoever asks for the end of an instance may count on."""

from __future__ import annotations

from collections.abc import Iterator

from ...lifecycle import InstanceState, StopManner
from ..trace import PipeOpened, StopAsked
from .invariant import Finding, invariant
from .launch import Launch
from .life import Life
from .placed import EPSILON, Placed
from .story import Story

__all__ = [
    "a_forced_stop_kills_at_once",
    "a_prompt_stop_begins_at_once",
    "a_stop_is_announced",
    "a_stop_returns_when_all_is_gone",
]

# A host has to find what it is to kill.
_KILL_SECONDS = 0.1


@invariant(7)
def a_forced_stop_kills_at_once(story: Story) -> Iterator[Finding]:
    """A stop by force sends SIGKILL at once, whatever the process was given before."""
    for life in story.lives:
        for stop in life.stops:
            launch = _owned_at(story, life, stop)
            if stop.event.manner is not StopManner.FORCE or launch is None:
                continue
            by = stop.event.at + _KILL_SECONDS + story.trace.lateness
            terms = [each for each in launch.sent("SIGTERM") if each.index > stop.index]
            killed = [each for each in launch.signals if each.event.signal == "SIGKILL" and each.event.at <= by]
            if terms or (not killed and (launch.exited is None or launch.exited.event.at > by)):
                yield Finding(f"{life.instance} was to be killed at once", stop, *terms[:1])


@invariant(7)
def a_prompt_stop_begins_at_once(story: Story) -> Iterator[Finding]:
    """A stop that is prompt from the beginning, or hasty, sends SIGTERM at once, and so does any of an instance that is not
    ready yet; in a supervision tree, each in its turn where it is only prompt.
    """
    for life in story.lives:
        stop = life.stops[0] if life.stops else None
        is_prompt = stop is not None and (stop.event.manner is StopManner.PROMPT or _is_unready(life, stop))
        if life.tree is not None or not is_prompt:
            stop = next((each for each in life.stops if each.event.manner is StopManner.HASTY), None)
        if stop is None or (life.terminal is not None and life.terminal.index < stop.index):
            continue
        launch, by = _owned_at(story, life, stop), stop.event.at + _KILL_SECONDS + story.trace.lateness
        if launch is None or (launch.exited is not None and launch.exited.event.at <= by):
            continue
        # Whoever sent it; and one to a process that is dying already counts.
        if not any(each.event.at <= by and each.event.signal in ("SIGTERM", "SIGKILL") for each in launch.signals):
            yield Finding(f"{life.instance} was to be ended at once", stop, *launch.sent("SIGTERM")[:1])


def _is_unready(life: Life, stop: Placed[StopAsked]) -> bool:
    """Whether its process has not answered yet, and so has nothing to finish."""
    launches = [each for each in life.launches if each.root.lives_at(stop.index)]
    return bool(launches) and not any(
        each.event.incarnation == launches[-1].incarnation and each.event.at < stop.event.at + EPSILON
        for each in life.readies
    )


@invariant(8)
def a_stop_is_announced(story: Story) -> Iterator[Finding]:
    """That an instance is being stopped is published when its process is told so, not only when that is gone."""
    for life in story.lives:
        stop = life.stops[0] if life.stops else None
        launch = None if stop is None else _owned_at(story, life, stop)
        if stop is None or launch is None or launch.exited is None:
            continue
        by = stop.event.at + EPSILON + story.trace.lateness
        stopping = any(
            each.event.state is InstanceState.STOPPING and each.index < launch.exited.index for each in life.states
        )
        if launch.exited.event.at > by and not stopping:
            yield Finding(f"that {life.instance} was being stopped was never published", stop, launch.exited)


def _owned_at(story: Story, life: Life, stop: Placed[StopAsked]) -> Launch | None:
    """The process tree that the runtime had when this was asked."""
    for launch in life.launches:
        given = [
            each
            for each in story.all(PipeOpened)
            if (each.event.instance, each.event.incarnation) == (life.instance, launch.number)
        ]
        if given and given[-1].index < stop.index and launch.root.lives_at(stop.index):
            return launch
    return None


@invariant(8)
def a_stop_returns_when_all_is_gone(story: Story) -> Iterator[Finding]:
    """A call that stops an instance, and is not cancelled, returns when nothing of it is left."""
    for started, ends in story.calls.values():
        if started.event.what != "stop":
            continue
        for end in ends:
            lives = [each for each in story.lives if each.instance == started.event.instance]
            life = lives[-1] if lives else None
            if end.event.outcome != "ok" or life is None or life.registered > started.index:
                continue
            if life.terminal is None or life.terminal.index > end.index:
                yield Finding(f"{life.instance} was not over when its stop returned", started, end, life.terminal)
