"""What an operating system did, simulated or real, as a trace tells it.

Processes have a number of their own that is never used again (``process``), beside their pid, which is. The
``incarnation`` counts the calls of ``ProcessHost.spawn`` for one instance, from 1, failed ones included. (The
runtime counts its starts; one that is given up before it comes to the spawn has a number there, and none here.)
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from ...abc import ExitStatus

__all__ = [
    "FaultActed",
    "Misuse",
    "PipeClosed",
    "PipeName",
    "PipeOpened",
    "PipeRead",
    "PipeWritten",
    "ProcessExited",
    "ProcessReaped",
    "ProcessSignalled",
    "ProcessSpawned",
    "SignalFate",
    "SignalSender",
    "SpawnFailed",
    "TreeEmptied",
    "WorldEvent",
]

PipeName: TypeAlias = Literal["stdin", "stdout", "stderr"]

SignalSender: TypeAlias = Literal["runtime", "keeper", "process", "fault"]
"""``runtime``: through the methods of a ``ProcessTree``; ``keeper``: the host by itself, which sweeps what a dead root
left; ``process``: another process of the tree; ``fault``: a plan, as somebody with ``kill`` at a terminal would."""

SignalFate: TypeAlias = Literal["acted", "handled", "ignored", "pending", "gone"]
"""``acted``: the default action was taken; ``handled``: a handler of the program runs; ``pending``: it is stopped, and
will see it when it continues; ``gone``: the process had ended already (a zombie takes signals, and nothing comes of it)."""


@attrs.frozen
class _WorldEvent:
    at: float
    """When, on the Trio clock, in seconds."""
    instance: str
    incarnation: int
    """How many times the instance's process was asked for, this one included."""


@attrs.frozen
class SpawnFailed(_WorldEvent):
    """The operating system refused to start a process, or the caller was cancelled before there was one."""

    error: str


@attrs.frozen
class ProcessSpawned(_WorldEvent):
    """There is a process."""

    process: int
    pid: int
    parent: int | None
    """The ``process`` that started it; ``None`` for the root of a tree, which the host started."""


@attrs.frozen
class ProcessSignalled(_WorldEvent):
    """A signal was sent to a process."""

    process: int
    pid: int
    signal: str
    """Its name, such as ``"SIGTERM"``."""
    sender: SignalSender
    fate: SignalFate


@attrs.frozen
class ProcessExited(_WorldEvent):
    """A process ended: from here on it is a zombie."""

    process: int
    pid: int
    status: ExitStatus


@attrs.frozen
class ProcessReaped(_WorldEvent):
    """A zombie's status was taken: from here on its pid may be another's."""

    process: int
    pid: int


@attrs.frozen
class TreeEmptied(_WorldEvent):
    """The last process of a tree was reaped."""


@attrs.frozen
class PipeOpened(_WorldEvent):
    """The runtime was given its end of a pipe."""

    pipe: PipeName


@attrs.frozen
class PipeClosed(_WorldEvent):
    """The runtime closed its end of a pipe."""

    pipe: PipeName


@attrs.frozen
class PipeWritten(_WorldEvent):
    """Bytes went into a pipe."""

    pipe: PipeName
    process: int | None
    """Who wrote them; ``None`` for the runtime."""
    data: bytes = attrs.field(repr=lambda data: f"{data[:60]!r}{'...' if len(data) > 60 else ''}")


@attrs.frozen
class PipeRead(_WorldEvent):
    """Bytes came out of a pipe, in the order they went in."""

    pipe: PipeName
    process: int | None
    """Who read them; ``None`` for the runtime."""
    size: int


@attrs.frozen
class FaultActed(_WorldEvent):
    """A fault of the plan did what it does."""

    fault: str
    """The fault's ``repr``."""


@attrs.frozen
class Misuse(_WorldEvent):
    """The runtime did what a real system would not forgive: the reason is in words."""

    what: str


WorldEvent: TypeAlias = (
    SpawnFailed
    | ProcessSpawned
    | ProcessSignalled
    | ProcessExited
    | ProcessReaped
    | TreeEmptied
    | PipeOpened
    | PipeClosed
    | PipeWritten
    | PipeRead
    | FaultActed
    | Misuse
)
