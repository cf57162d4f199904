"""What the runtime published, and what its callers did and saw, as a trace tells it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from ...abc import ExitStatus
from ...concurrency import Lagged
from ...launch import InstanceSpec
from ...lifecycle import BreakerPolicy, InstanceEvent, StopManner
from ...registry import Numbered, Snapshot
from ...supervisor import Strategy

__all__ = [
    "CallEnded",
    "CallerEvent",
    "CallStarted",
    "Counted",
    "FaultsOff",
    "Heard",
    "Interrupted",
    "Limited",
    "Listened",
    "LogsRead",
    "Published",
    "RecordsDelivered",
    "RequestEnded",
    "RequestStarted",
    "ResourceAcquired",
    "ResourceReleased",
    "RunHeard",
    "ScopeCancelled",
    "ScopeEntered",
    "ScopeExited",
    "ScopeLeft",
    "Specified",
    "StopAsked",
    "Subscribed",
    "SubscriberItem",
    "TreeOpened",
    "Unsubscribed",
]


@attrs.frozen
class _CallerEvent:
    at: float
    """When, on the Trio clock, in seconds."""


@attrs.frozen
class Limited(_CallerEvent):
    """What the runtime was opened with."""

    max_instances: int
    max_starting: int
    breaker: BreakerPolicy


@attrs.frozen
class Published(_CallerEvent):
    """A supervisor sent an event into the registry's channel."""

    event: InstanceEvent

    @property
    def instance(self) -> str:
        """Whose event it is."""
        return self.event.instance_id


@attrs.frozen
class Specified(_CallerEvent):
    """Somebody asked for an instance."""

    instance: str
    spec: InstanceSpec
    tree: str | None = None
    """The scope of the supervision tree that it is a child of."""


@attrs.frozen
class TreeOpened(_CallerEvent):
    """Somebody asked for a supervision tree."""

    scope: str
    strategy: Strategy
    intensity: int
    period: float
    children: tuple[str, ...]
    """In the order they are to be started."""


@attrs.frozen
class ScopeEntered(_CallerEvent):
    """``async with`` was entered: the body runs. The runtime's own scope is called ``"runtime"``."""

    scope: str


@attrs.frozen
class ScopeLeft(_CallerEvent):
    """The body is over: what the scope owns has to be ended now."""

    scope: str
    how: str
    """``"returned"``, ``"cancelled"``, or the name of the exception."""


@attrs.frozen
class ScopeCancelled(_CallerEvent):
    """What is around ``async with`` was cancelled after the body was over: no more patience."""

    scope: str


@attrs.frozen
class ScopeExited(_CallerEvent):
    """``async with`` is over: nothing of what the scope owned may be left."""

    scope: str
    how: str
    """What came out of it, as in :class:`ScopeLeft`."""


@attrs.frozen
class StopAsked(_CallerEvent):
    """Somebody asked for the end of an instance."""

    instance: str
    manner: StopManner


@attrs.frozen
class Interrupted(_CallerEvent):
    """A Ctrl-C came: the ``count``-th."""

    count: int


@attrs.frozen
class CallStarted(_CallerEvent):
    """A caller awaits something of the runtime (``spawn``, ``stop``, ``run``, ...)."""

    call: int
    what: str
    instance: str


@attrs.frozen
class CallEnded(_CallerEvent):
    """It has the result: ``"ok"``, ``"cancelled"``, or the name of the exception."""

    call: int
    outcome: str
    detail: str = ""
    """What came of it, in words."""
    status: ExitStatus | None = None
    """Of an error that carries one."""
    stderr_tail: bytes = b""
    """Of an error that carries one."""
    about: str = ""
    """The instance that an error is about."""


@attrs.frozen
class RunHeard(_CallerEvent):
    """A run was read to its end: what came of it. Which Pi had it is seen in the world: ``mark`` is in its prompt."""

    call: int
    instance: str
    mark: str
    """A text that is in this prompt, and in no other."""
    connection: int | None
    """Over which it was asked for, if not of the instance's own client."""
    pieces: tuple[str, ...]
    """The text as it was streamed."""
    reply: str
    """The text of the reply."""
    messages: int
    """How many it had."""
    stop_reason: str | None


@attrs.frozen
class RequestStarted(_CallerEvent):
    """A caller sends one request. Which incarnation gets it is seen in the world: ``mark`` is in its bytes."""

    request: int
    instance: str
    command: str
    mark: str
    """A text that is in the bytes of this command, and of no other."""
    timeout: float | None
    """In seconds; ``None`` for none."""


@attrs.frozen
class RequestEnded(_CallerEvent):
    """The request's outcome: ``"ok"``, ``"cancelled"``, or the name of the exception."""

    request: int
    outcome: str
    detail: str = ""
    """The response's data as JSON with sorted keys; or what the error says."""
    status: ExitStatus | None = None
    stderr_tail: bytes = b""


@attrs.frozen
class Subscribed(_CallerEvent):
    """Somebody subscribed to the registry's events."""

    subscriber: int
    capacity: int


@attrs.frozen
class SubscriberItem(_CallerEvent):
    """A subscriber was given something."""

    subscriber: int
    item: Snapshot | Numbered | Lagged


@attrs.frozen
class Unsubscribed(_CallerEvent):
    """A subscriber's feed ended (``"ended"``), or the subscriber closed it (``"closed"``)."""

    subscriber: int
    how: Literal["ended", "closed"]


@attrs.frozen
class RecordsDelivered(_CallerEvent):
    """A reader of Pi's events, who never falls behind, was given records: one JSON text each, keys sorted.

    A line that is no record is told as ``"malformed"``.
    """

    instance: str
    records: tuple[str, ...]


@attrs.frozen
class Listened(_CallerEvent):
    """Somebody else reads an instance's events from here on, and may fall behind."""

    listener: int
    instance: str


@attrs.frozen
class Heard(_CallerEvent):
    """Such a reader was given a record, or was told how many were lost, or that there will be no more."""

    listener: int
    instance: str
    record: str | None = None
    missed: int = 0
    ended: bool = False


@attrs.frozen
class LogsRead(_CallerEvent):
    """What ``instance.logs()`` had when the instance was over."""

    instance: str
    incarnation: int
    stream: str
    lines: tuple[str, ...]


@attrs.frozen
class ResourceAcquired(_CallerEvent):
    """Something of which there is a limited number was taken: a start slot, a port, a lease."""

    resource: str
    """What kind, and which one if they differ: ``"port 4000"``."""
    holder: str
    limit: int = 1
    """How many holders there may be at the same time."""


@attrs.frozen
class ResourceReleased(_CallerEvent):
    """It was given back."""

    resource: str
    holder: str


@attrs.frozen
class Counted(_CallerEvent):
    """How much there is of what must not grow, before the runtime was opened and after it was closed."""

    when: Literal["before", "after"]
    tasks: int
    """Trio tasks, those of a simulated world's own processes left out."""
    descriptors: int
    """Ends of pipes that the runtime has open."""
    threads: int
    """Those that were not there when the first count was made."""


@attrs.frozen
class FaultsOff(_CallerEvent):
    """No fault of the plan acts any more: from here on everything must come right within a bound."""


CallerEvent: TypeAlias = (
    Limited
    | Published
    | Specified
    | TreeOpened
    | ScopeCancelled
    | ScopeEntered
    | ScopeLeft
    | ScopeExited
    | StopAsked
    | Interrupted
    | CallStarted
    | CallEnded
    | RunHeard
    | RequestStarted
    | RequestEnded
    | Subscribed
    | SubscriberItem
    | Unsubscribed
    | RecordsDelivered
    | Listened
    | Heard
    | LogsRead
    | ResourceAcquired
    | ResourceReleased
    | Counted
    | FaultsOff
)
