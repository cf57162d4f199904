"""What a plan does, step by step. Each is a frozen value; what it does is in :mod:`pi_trio.testing.simulation`.

Instances are numbered in the order in which the plan asks for them, children of trees included: ``target`` is such a
number, taken modulo how many there are (so a plan stays one when steps are taken out of it). The same goes for
``subscriber``, ``tree`` and ``call``. A step that has nothing to act on does nothing.

``wait`` says whether the next step waits for the end of this one. ``cancel_at`` cancels what the step does at its k-th
checkpoint (when its task is about to wait for the k-th time), ``None`` not at all.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from ...registry import Criteria, LeastLoaded
from ...registry import Strategy as Selecting
from ...supervisor import Strategy

__all__ = [
    "Acquire",
    "Advance",
    "Ask",
    "Cancel",
    "Connect",
    "CutOff",
    "Discover",
    "Drop",
    "Ending",
    "Exec",
    "FailDiscovery",
    "Interrupt",
    "Kill",
    "KillKeeper",
    "LeaveDiscovery",
    "LeaveTree",
    "Listen",
    "OpenTree",
    "Prompt",
    "Report",
    "Request",
    "RunSomewhere",
    "Spawn",
    "Stall",
    "Step",
    "Stop",
    "Subscribe",
    "Tell",
    "Unregister",
    "Unsubscribe",
]


@attrs.frozen
class Spawn:
    """Ask for an instance."""

    spec: int = 0
    """Which of the plan's specs, modulo how many it has."""
    wait: bool = True
    cancel_at: int | None = None


@attrs.frozen
class OpenTree:
    """Open a supervision tree, and stay in it."""

    specs: tuple[int, ...] = (0, 0)
    """A child for each."""
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = 3
    period: float = 10.0
    wait: bool = True
    cancel_at: int | None = None


@attrs.frozen
class LeaveTree:
    """Leave a supervision tree: by the end of its body, or by an exception."""

    tree: int = 0
    raises: bool = False


@attrs.frozen
class Prompt:
    """Have a run, and read it to its end, or leave it after ``records`` of its records."""

    target: int = 0
    records: int | None = None
    tool: bool = False
    """Whether the model runs a tool first."""
    connection: int | None = None
    """If given: over this connection, and ``target`` does not count."""
    wait: bool = False
    cancel_at: int | None = None


@attrs.frozen
class Request:
    """Send one request."""

    target: int = 0
    command: str = "get_state"
    timeout: float | None = 5.0
    wait: bool = False
    cancel_at: int | None = None
    padding_bytes: int = 0
    """So much is sent beside it: more than a pipe holds is not taken at once."""


@attrs.frozen
class Connect:
    """Connect a client to an instance, over a link that may drop. It connects again by itself."""

    target: int = 0
    attempts: int = 10
    """How often it tries in a row."""
    places: int = 1000
    """How many requests may wait for another link ..."""
    patience: float = 30.0
    """... and for how many seconds each."""


@attrs.frozen
class Drop:
    """A connection drops, with what is on its way, and there is no other for a while."""

    connection: int = 0
    seconds: float = 0.0


@attrs.frozen
class Ask:
    """Send a request over a connection."""

    connection: int = 0
    timeout: float | None = 5.0
    wait: bool = False
    cancel_at: int | None = None


@attrs.frozen
class Exec:
    """Run a shell command in an instance's session: it takes ``seconds``."""

    target: int = 0
    seconds: float = 0.1
    timeout: float | None = None
    wait: bool = False
    cancel_at: int | None = None


@attrs.frozen
class Acquire:
    """Take a lease of an instance, hold it, give it back."""

    criteria: Criteria = attrs.field(factory=Criteria)
    strategy: Selecting = attrs.field(factory=LeastLoaded)
    """One that draws needs a seed: a plan has one trace."""
    timeout: float | None = None
    seconds: float = 1.0
    """For how long it is held."""
    use: Literal["hold", "prompt", "raise", "break", "blame"] = "hold"
    """``prompt``: a run, and no longer than that; ``raise``: at last the body raises; ``break``: it raises
    ``ConnectionClosed``, as from a client; ``blame``: it says that the instance failed."""
    target: int | None = None
    """If given: of this very instance, and there are no criteria."""
    wait: bool = False
    cancel_at: int | None = None


@attrs.frozen
class Report:
    """Tell an instance's breaker that it worked, or failed."""

    target: int = 0
    worked: bool = False


@attrs.frozen
class Unregister:
    """Let an instance be a member of the registry no more; it goes on running."""

    target: int = 0


@attrs.frozen
class Tell:
    """A discovery tells of members: each is an instance of the plan, reached from somewhere else. While it does not run,
    it tells when it is run again.
    """

    discovery: int = 0
    how: Literal["snapshot", "found", "lost"] = "snapshot"
    members: tuple[int, ...] = ()
    """Targets."""
    region: str | None = None
    provider: str | None = None
    room: int = 1
    """How many leases each has room for."""


@attrs.frozen
class Discover:
    """Run a discovery, which begins with telling of these."""

    first: Tell = attrs.field(factory=Tell)


@attrs.frozen
class FailDiscovery:
    """A discovery fails; its breaker says when it is run again."""

    discovery: int = 0


@attrs.frozen
class LeaveDiscovery:
    """A discovery is not wanted any more."""

    discovery: int = 0


@attrs.frozen
class CutOff:
    """Nobody gets to an instance from somewhere else for a while; links to it drop."""

    target: int = 0
    seconds: float = 1.0


@attrs.frozen
class RunSomewhere:
    """Have a prompt run on any member of the registry."""

    criteria: Criteria = attrs.field(factory=Criteria)
    strategy: Selecting = attrs.field(factory=LeastLoaded)
    timeout: float | None = None
    acquire_timeout: float | None = None
    attempts: int = 3
    tool: bool = False
    wait: bool = False
    cancel_at: int | None = None


@attrs.frozen
class Stop:
    """End an instance."""

    target: int = 0
    force: bool = False
    wait: bool = False
    cancel_at: int | None = None


@attrs.frozen
class Kill:
    """Send a signal to an instance's process, as somebody at a terminal would."""

    target: int = 0
    signal: str = "SIGKILL"


@attrs.frozen
class KillKeeper:
    """Kill the process that keeps an instance's tree. That of the program itself has no plan: nothing of it would go on
    to be seen. What the system does then is the business of the tests with real processes.
    """

    target: int = 0


@attrs.frozen
class Interrupt:
    """A Ctrl-C at the program's terminal. The second one of a plan makes everything hasty, the third takes force."""


@attrs.frozen
class Cancel:
    """Cancel what an earlier step started, if that is not over."""

    call: int = 0
    """0 is the last, 1 the one before it."""


@attrs.frozen
class Advance:
    """Let time pass."""

    seconds: float = 1.0


@attrs.frozen
class Subscribe:
    """Subscribe to the registry's events."""

    capacity: int = 16


@attrs.frozen
class Stall:
    """A subscriber reads nothing for a while."""

    subscriber: int = 0
    seconds: float = 1.0


@attrs.frozen
class Listen:
    """Read an instance's events slowly."""

    target: int = 0
    capacity: int = 3
    pause: float = 0.05
    """Seconds behind each."""


@attrs.frozen
class Unsubscribe:
    """A subscriber wants no more."""

    subscriber: int = 0


Step: TypeAlias = (
    Spawn
    | Acquire
    | Report
    | Unregister
    | Tell
    | Discover
    | FailDiscovery
    | LeaveDiscovery
    | CutOff
    | RunSomewhere
    | OpenTree
    | LeaveTree
    | Prompt
    | Request
    | Connect
    | Drop
    | Ask
    | Exec
    | Stop
    | Kill
    | KillKeeper
    | Interrupt
    | Cancel
    | Advance
    | Subscribe
    | Stall
    | Listen
    | Unsubscribe
)

How: TypeAlias = Literal["return", "raise", "cancel", "interrupt"]


@attrs.frozen
class Ending:
    """How the runtime's scope is left, after the last step."""

    how: How = "return"
    """``interrupt`` is a ``KeyboardInterrupt``."""
    settle: bool = False
    """Before that, no fault acts any more, and time passes until everything must have come right."""
    cancel_at: int | None = None
    """The body is cancelled at its k-th checkpoint already, whatever step it is in."""
    impatient_after: float | None = None
    """So many seconds after the body returned, what is around the runtime is cancelled."""
    interrupts: tuple[float, ...] = ()
    """So many seconds after the body is over, a Ctrl-C comes: see :class:`Interrupt`."""
