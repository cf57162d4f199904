"""The seams: what the floors above need from outside, and nothing more.

A :class:`ProcessHost` starts process trees. There is one for real processes (``pi_trio.process``) and
one that simulates them (``pi_trio.testing``); the supervisor's code is the same on all of them. A
:class:`RecordTransport` carries records to and from one Pi. A :class:`Discovery` finds instances that were not
spawned here.
"""

from __future__ import annotations

import enum
import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from .client import PiClient

__all__ = [
    "Closing",
    "Link",
    "Discovery",
    "ExitStatus",
    "Found",
    "Mode",
    "ProcessCommand",
    "ProcessHost",
    "ProcessTree",
    "Profile",
    "ReceivePipe",
    "RecordTransport",
    "SendPipe",
    "Sightings",
    "Signal",
]


class Signal(enum.Enum):
    """The signals that the runtime sends. Numbers differ between systems; names do not."""

    CONT = "SIGCONT"
    INT = "SIGINT"
    KILL = "SIGKILL"
    STOP = "SIGSTOP"
    TERM = "SIGTERM"


@attrs.frozen
class ExitStatus:
    """How a process ended: with an exit code, or by a signal. Exactly one of the two is set."""

    code: int | None = None
    """The exit code, 0 to 255."""
    signal: str | None = None
    """The name of the signal that ended it, such as ``"SIGKILL"``."""

    def __attrs_post_init__(self) -> None:
        if (self.code is None) == (self.signal is None):
            raise ValueError("an exit status is either a code or a signal")

    def __str__(self) -> str:
        return f"exited with code {self.code}" if self.signal is None else f"was ended by {self.signal}"


def _names_only(env: Mapping[str, str]) -> str:
    """Environments carry keys and tokens: show the names, never the values."""
    return "{" + ", ".join(sorted(env)) + "}"


@attrs.frozen
class ProcessCommand:
    """One command line to start as a process tree of its own."""

    argv: tuple[str, ...]
    cwd: str
    """The folder it starts in. It must exist."""
    env: Mapping[str, str] = attrs.field(repr=_names_only)
    """The whole environment, not additions to ours."""
    marker: Mapping[str, str] = attrs.field(factory=dict)
    """Variables added to ``env`` by which every process of the tree can be recognized."""
    grace_timeout: float = 5.0
    """Seconds between SIGTERM and SIGKILL where the host has to end the tree by itself: when this process died."""


class SendPipe(ABC):
    """The writing end of a byte pipe. One task owns it."""

    @abstractmethod
    def write_nowait(self, data: bytes | memoryview) -> int:
        """Write what fits now; return how many bytes that was, 0 when the pipe is full.

        Raises:
            trio.BrokenResourceError: nobody reads the other end any more.
            trio.ClosedResourceError: this end was closed.
        """

    @abstractmethod
    async def wait_writable(self) -> None:
        """Wait until :meth:`write_nowait` may take something. Raises as it does."""

    @abstractmethod
    def close(self) -> None:
        """Close this end: the reader sees the end of the file. Idempotent; never blocks."""


class ReceivePipe(ABC):
    """The reading end of a byte pipe. One task owns it."""

    @abstractmethod
    async def receive_some(self) -> bytes | None:
        """Wait for bytes; return them, or ``b""`` at the end of the file, then and whenever it is asked again.

        ``None`` says that :meth:`interrupt` was called meanwhile. A cancelled or interrupted call loses nothing.

        Raises:
            trio.ClosedResourceError: this end was closed.
        """

    def read_nowait(self) -> bytes:
        """Bytes that are here already, if that can be told without waiting; or ``b""``, which says nothing of the end.

        Raises:
            trio.ClosedResourceError: this end was closed.
        """
        return b""

    @abstractmethod
    def interrupt(self) -> None:
        """Let a :meth:`receive_some` that is waiting return ``None``; if none is, nothing happens. Never blocks."""

    @abstractmethod
    def close(self) -> None:
        """Close this end. Idempotent; never blocks."""


class ProcessTree(ABC):
    """A started process and everything that descends from it.

    Whoever got it from :meth:`ProcessHost.spawn` owns it, and must end it with :meth:`kill_tree`,
    :meth:`wait_empty` and :meth:`close`, in this order, whatever else happens.
    """

    @property
    @abstractmethod
    def pid(self) -> int:
        """The process id of the root of the tree."""

    @property
    @abstractmethod
    def stdin(self) -> SendPipe:
        """What the process reads from."""

    @property
    @abstractmethod
    def stdout(self) -> ReceivePipe:
        """What the process writes to."""

    @property
    @abstractmethod
    def stderr(self) -> ReceivePipe:
        """What the process complains to."""

    @abstractmethod
    def send_signal(self, signal: Signal) -> None:
        """Send ``signal`` to the root process; nothing happens when it is gone already."""

    def listens_at(self, port: int) -> bool:  # noqa: ARG002  # most cannot tell
        """Whether what answers at this port of 127.0.0.1 belongs to the tree; also true where that cannot be told."""
        return True

    @abstractmethod
    def kill_tree(self) -> None:
        """Send SIGKILL to every process of the tree that can be found. May be called again at any time."""

    @abstractmethod
    async def wait_exit(self) -> ExitStatus:
        """Wait for the root process to end. May be called by several tasks, and again."""

    @abstractmethod
    async def wait_empty(self) -> None:
        """Wait until no process of the tree is left. To be bounded by the caller."""

    @abstractmethod
    def close(self) -> None:
        """Close the pipes and give everything back. Never blocks. The tree is not touched."""


class ProcessHost(ABC):
    """Starts process trees."""

    def has_folder(self, path: str) -> bool:
        """Whether there is a folder at this absolute path for a process to start in.

        Of this system, unless the host's processes live on another.
        """
        return os.path.isdir(path)

    @abstractmethod
    async def spawn(self, command: ProcessCommand) -> ProcessTree:
        """Start ``command`` in a session of its own.

        A cancelled call either raised and left nothing, or returned a tree that the caller owns: the
        caller must not pass a checkpoint between the return and the ``try`` that ends the tree.

        Raises:
            OSError: the operating system refused (no such file, not executable, no more processes).
        """


class RecordTransport(ABC):
    """Carries records to and from one Pi. One task at a time receives, anyone sends."""

    @abstractmethod
    def send_nowait(self, record: bytes) -> None:
        """Queue one encoded record, in order.

        Raises:
            trio.BrokenResourceError: the other side is gone, or a record was cut off while it was written.
            trio.ClosedResourceError: the sending side was closed.
        """

    @abstractmethod
    async def receive(self) -> Sequence[Any]:
        """Wait for records; return them in order, each as its line, as it was decoded, or as what was wrong with it.

        Nothing is returned when :meth:`interrupt` was called meanwhile. A cancelled or interrupted call loses
        nothing: what it would have returned, the next one returns.

        Raises:
            trio.EndOfChannel: there will be no more; so says every later call.
        """

    @abstractmethod
    def interrupt(self) -> None:
        """Let a :meth:`receive` that is waiting return nothing; if none is, nothing happens. Never blocks."""

    def receive_nowait(self) -> Sequence[Any]:
        """What :meth:`receive` would return at once, if that can be told; or nothing, which says nothing of the end."""
        return ()

    def settle(self) -> None:  # noqa: B027  # most have put nothing off
        """Do what was put off so that somebody got what :meth:`receive` returned a little sooner. Never blocks."""

    @abstractmethod
    async def run_sender(self) -> None:
        """Write what is queued, until cancelled, closed or broken."""

    @abstractmethod
    def close_sending(self) -> None:
        """Tell the other side that nothing more will come, once what is queued has been written."""


@attrs.frozen
class Closing:
    """How a connection ended."""

    code: int
    """A close code of WebSocket: what the other side said, or 1006 when it just was gone."""
    reason: str = ""
    """Why, in the words of whoever closed it."""

    def __str__(self) -> str:
        return f"{self.reason or 'no reason was given'} ({self.code})"


class Link(RecordTransport):
    """A transport to a Pi that outlives it: it may drop, and another may take its place."""

    keeps_runs = True
    """Whether a run can go on over a drop: what was said while nobody heard it can be asked behind it."""

    @property
    @abstractmethod
    def closing(self) -> Closing | None:
        """How it ended; ``None`` while it has not."""

    @abstractmethod
    def unsent(self) -> Sequence[bytes]:
        """The records of which nothing was written: the other side cannot have seen them."""


class Mode(enum.Enum):
    """Where an instance is."""

    LOCAL = "local"
    """On this machine."""
    REMOTE = "remote"
    """Behind a network."""

    def __str__(self) -> str:
        return self.value


def _several(value: Iterable[str]) -> frozenset[str]:
    if isinstance(value, str):
        raise ValueError(f"expected several strings, not the one string {value!r}; write {{{value!r}}}")
    return frozenset(value)


def _at_least_one(_instance: object, attribute: attrs.Attribute[int], value: object) -> None:
    if type(value) is not int or value < 1:
        raise ValueError(f"{attribute.name} must be a positive number, not {value!r}")


_HERE = ("127.0.0.1", "localhost", "::1")


def _mode_of(profile: Profile) -> Mode:
    if profile.url is None:
        return Mode.LOCAL
    try:
        parts = urlsplit(profile.url)
        return Mode.LOCAL if parts.scheme == "ws+unix" or parts.hostname in _HERE else Mode.REMOTE
    except ValueError:  # who wants to connect to it is told
        return Mode.REMOTE


@attrs.frozen(kw_only=True)
class Profile:
    """What an instance is, as far as choosing one goes; it does not change while the instance is a member."""

    url: str | None = None
    """Where it is reached, if not over pipes of this program."""
    mode: Mode = attrs.field(default=attrs.Factory(_mode_of, takes_self=True))
    """By default what ``url`` says: loopback, or none at all, is local."""
    capabilities: frozenset[str] = attrs.field(default=frozenset(), converter=_several)
    """What it can do, in words of the program's own."""
    region: str | None = None
    tags: frozenset[str] = attrs.field(default=frozenset(), converter=_several)
    max_concurrent: int = attrs.field(default=1, validator=_at_least_one)
    """How many leases of it there may be at the same time."""
    selectable: bool = True
    """Whether it can be had by criteria. One in a reserve is handed out by whoever keeps that."""
    source: str = "registered"
    """How it became a member: ``"spawned"``, ``"registered"``, or the name of the discovery that found it."""


@attrs.frozen
class Found:
    """An instance that was not spawned here, as whoever knows of it describes it."""

    instance_id: str
    provider: str | None = None
    model: str | None = None
    profile: Profile = attrs.field(factory=Profile)
    token: str | None = attrs.field(default=None, kw_only=True, repr=False)
    """What it asks for at ``profile.url``. It stands in no event and in no ``repr``."""
    token_file: str | None = attrs.field(default=None, kw_only=True)
    """Or the file that this is in: read whenever a client is opened, so another token may take its place."""

    def __attrs_post_init__(self) -> None:
        if self.token is not None and self.token_file is not None:
            raise ValueError(f"{self.instance_id}: token and token_file exclude each other")


class Sightings(ABC):
    """Where a :class:`Discovery` tells what it finds. Nothing here blocks."""

    @abstractmethod
    def snapshot(self, found: Iterable[Found]) -> None:
        """Tell all there is now: what was told before and is not among it is lost."""

    @abstractmethod
    def found(self, found: Found) -> None:
        """Tell of one that is there, too; or of one that is described anew."""

    @abstractmethod
    def lost(self, instance_id: str, reason: str) -> None:
        """Tell that one is gone. One that was never told is ignored."""


class Discovery(ABC):
    """Finds instances. Any number of them may feed one registry."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name in events and in :attr:`Profile.source`; no two in one registry have the same."""

    @abstractmethod
    async def run(self, sightings: Sightings) -> None:
        """Tell what is found, until cancelled; or return, when one look is all there is to it.

        What it raises is reported, and it is run again when its breaker allows, or there are news: what it told stays
        until it tells otherwise.
        """

    def news(self) -> Callable[[], Awaitable[None]] | None:
        """What waits until another :meth:`run` may come to something else than the one that failed.

        It may cut the time of an open breaker short. For those who can tell cheaply; ``None``: nobody can. What it raises
        is logged, and says that nobody can.
        """
        return None

    def opener(self, found: Found) -> Callable[[], AbstractAsyncContextManager[PiClient]] | None:  # noqa: ARG002
        """What opens a client to an instance that it found; ``None``: whatever opens the registry's other clients."""
        return None

    async def close(self) -> None:
        """Give back what it holds. Called once, under a shield, when it will not be run again: it bounds its waiting."""
        return
