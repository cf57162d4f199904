"""Every error pi-trio raises on purpose, in one tree.

    PiTrioError
    ├── SetupError                what has to be installed is not there, or not as it must be
    │   ├── PiNotFound
    │   ├── PiTooOld
    │   ├── NodeNotFound
    │   └── InstallFailed
    ├── SpecError                 an instance spec that cannot be launched (also a ValueError)
    ├── SpawnError                a Pi that died, or said nothing, before it was ready
    ├── PortAllocationError       no address that an endpoint could be bound to
    ├── RestartIntensityExceeded  a supervisor has restarted as often as it may
    ├── RegistryError
    │   ├── InstanceNotFound      (also a KeyError)
    │   ├── InstanceExists
    │   ├── MaxInstancesError
    │   ├── NoMatchingInstance    nobody is what the criteria ask for
    │   ├── AcquireTimeout        nobody had room within the caller's own time-out
    │   ├── LeaseLost             the instance of a lease is gone
    │   └── NoRuntime             no runtime is open where it was asked for
    ├── ToolSpecError             a tool that Pi cannot be given (also a ValueError)
    ├── ToolError                 what a tool's function raises to tell the model something
    ├── ProtocolError             the wire broke its rules
    │   └── InvalidResponse
    └── ClientError               a request or a run that did not end well
        ├── BranchNotFound        (also a KeyError)
        ├── CommandFailed         Pi answered ``success: false``
        ├── RequestTimeout        the request's own deadline passed
        ├── ConnectionClosed      there is nothing to send the request to
        │   ├── ConnectFailed     nobody answers there, or who does refuses us
        │   ├── ConnectionLost    it dropped
        │   └── ProcessExited     because the process is gone
        ├── ProviderUnavailable   Pi cannot switch to that provider, or to that model of it
        ├── RunBusy
        ├── RunOver               there is no run any more to say something to
        ├── RunTimeout            the run's own deadline passed
        ├── RunFailed             the model's run ended with an error
        ├── Unsupported           what is asked has no counterpart where this instance lives
        └── GatewayError          an OpenClaw gateway refused what was asked of it
            └── MissingScope      because the token's connection has no right to it

Facts are attributes; the message repeats them for a reader. Streams raise Trio's own
``trio.ClosedResourceError``, ``trio.BrokenResourceError`` and ``trio.EndOfChannel``. None of our
time-outs is ``trio.TooSlowError``: that one belongs to the caller's own scopes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .abc import ExitStatus
    from .client.reply import Reply

__all__ = [
    "AcquireTimeout",
    "BranchNotFound",
    "ClientError",
    "CommandFailed",
    "ConnectFailed",
    "ConnectionClosed",
    "ConnectionLost",
    "GatewayError",
    "InstallFailed",
    "InstanceExists",
    "InstanceNotFound",
    "InvalidResponse",
    "LeaseLost",
    "MaxInstancesError",
    "MissingScope",
    "NoMatchingInstance",
    "NoRuntime",
    "NodeNotFound",
    "PiNotFound",
    "PiTooOld",
    "PiTrioError",
    "PortAllocationError",
    "ProcessExited",
    "ProtocolError",
    "ProviderUnavailable",
    "RegistryError",
    "RequestTimeout",
    "RestartIntensityExceeded",
    "RunBusy",
    "RunFailed",
    "RunOver",
    "RunTimeout",
    "SetupError",
    "SpawnError",
    "SpecError",
    "ToolError",
    "ToolSpecError",
    "Unsupported",
]

_TAIL_LINES_IN_MESSAGE = 8
_TRIED_IN_MESSAGE = 4


class PiTrioError(Exception):
    """The root: catching this catches whatever pi-trio raises on purpose."""


class SetupError(PiTrioError):
    """Something that has to be installed is missing or unfit; the message names the command that mends it."""

    mend: str = ""
    """The command that mends it."""


class PiNotFound(SetupError):
    """No Pi where it was looked for (``searched``: the places, in order)."""

    def __init__(self, message: str, *, mend: str, searched: tuple[str, ...] = ()) -> None:
        super().__init__(f"{message}; mend it with: {mend}")
        self.mend = mend
        self.searched = searched


class PiTooOld(SetupError):
    """A Pi was found, but its version is older than the oldest that is supported."""

    def __init__(self, *, path: Path, version: str, minimum: str, mend: str) -> None:
        super().__init__(f"Pi {version} at {path} is older than {minimum}, the oldest supported; mend it with: {mend}")
        self.mend = mend
        self.path = path
        self.version = version
        self.minimum = minimum


class NodeNotFound(SetupError):
    """No Node.js that is new enough for Pi (``found``: what was there instead)."""

    def __init__(self, message: str, *, mend: str, found: tuple[str, ...] = ()) -> None:
        super().__init__(f"{message}; mend it with: {mend}")
        self.mend = mend
        self.found = found


class InstallFailed(SetupError):
    """npm could not install Pi (``output``: the end of what it printed)."""

    def __init__(self, message: str, *, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class SpecError(PiTrioError, ValueError):
    """An instance spec that cannot be launched; the message names the field and what it may be."""


def stderr_lines(tail: bytes, limit: int = _TAIL_LINES_IN_MESSAGE) -> str:
    """The last ``limit`` non-empty lines of ``tail``, decoded for a human."""
    lines = [line for line in tail.decode("utf-8", "replace").splitlines() if line.strip()]
    return "\n".join(lines[-limit:])


def _with_tail(message: str, tail: bytes) -> str:
    said = stderr_lines(tail)
    return f"{message}; it said:\n{said}" if said else message


class SpawnError(PiTrioError):
    """A process that could not be started, or died or kept silent before it was ready.

    Attributes:
        instance_id: which instance.
        status: how the process ended, or ``None`` when it never started or had to be killed.
        stderr_tail: the end of what it wrote to stderr (at most 64 KiB).
    """

    def __init__(
        self,
        message: str,
        *,
        instance_id: str = "",
        status: ExitStatus | None = None,
        stderr_tail: bytes = b"",
    ) -> None:
        super().__init__(_with_tail(message, stderr_tail))
        self.instance_id = instance_id
        self.status = status
        self.stderr_tail = stderr_tail


class PortAllocationError(PiTrioError):
    """No address to listen at: the one that was asked for is taken, or every port of the range is.

    Attributes:
        tried: the addresses that were tried, in order, each with why it could not be had.
    """

    def __init__(self, message: str, *, tried: tuple[tuple[str, str], ...] = ()) -> None:
        shown = [f"{address}: {reason}" for address, reason in tried[:_TRIED_IN_MESSAGE]]
        more = len(tried) - len(shown)
        if more > 0:
            shown.append(f"and {more} more")
        super().__init__(f"{message} ({'; '.join(shown)})" if shown else message)
        self.tried = tried


class RestartIntensityExceeded(PiTrioError):
    """Another restart was asked for, but the budget (``intensity`` restarts in ``period`` seconds) is spent.

    Attributes:
        instance_id: whose ending it was.
        status: how its last process ended, or ``None`` when that could not be observed.
        stderr_tail: the end of what that process wrote to stderr (at most 64 KiB).
    """

    def __init__(
        self,
        *,
        instance_id: str,
        intensity: int,
        period: float,
        status: ExitStatus | None = None,
        stderr_tail: bytes = b"",
    ) -> None:
        ended = "its process could not be started" if status is None else f"its process {status}"
        message = (
            f"{instance_id} was restarted {intensity} times within {period:g} s, as often as it may be; last, {ended}"
        )
        super().__init__(_with_tail(message, stderr_tail))
        self.instance_id = instance_id
        self.intensity = intensity
        self.period = period
        self.status = status
        self.stderr_tail = stderr_tail


class RegistryError(PiTrioError):
    """Something about which instances there are."""


class InstanceNotFound(RegistryError, KeyError):
    """No instance has this id."""

    def __init__(self, instance_id: str, *, known: tuple[str, ...] = ()) -> None:
        listing = ", ".join(known) if known else "none"
        self._message = f"there is no instance {instance_id!r} (there are: {listing})"
        super().__init__(self._message)
        self.instance_id = instance_id
        self.known = known

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return self._message


class InstanceExists(RegistryError):
    """An instance with this id is already there."""

    def __init__(self, instance_id: str) -> None:
        super().__init__(f"an instance {instance_id!r} is already there; choose another id or stop it first")
        self.instance_id = instance_id


class MaxInstancesError(RegistryError):
    """As many instances as ``max_instances`` allows are already there."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit} instances are running, which is the limit; "
            "stop one, or open the runtime with a larger max_instances"
        )
        self.limit = limit


class NoMatchingInstance(RegistryError):
    """No instance is what the criteria ask for.

    Attributes:
        criterion: the one that was too much, such as ``"provider"`` or ``"free capacity"``; ``"registered"`` when there
            is no instance at all.
        passed: each criterion until that one, and how many instances were left behind it.
    """

    def __init__(self, criterion: str, *, passed: tuple[tuple[str, int], ...]) -> None:
        if len(passed) < 2:
            message = "there is no instance"
        else:
            message = f"of {passed[0][1]} instances, {passed[-2][1]} were left, and none had the right {criterion}"
        super().__init__(message)
        self.criterion = criterion
        self.passed = passed


class AcquireTimeout(RegistryError):
    """No instance that matches had room within ``timeout`` seconds (``waiting``: how many others waited then)."""

    def __init__(self, timeout: float, *, waiting: int = 0) -> None:
        super().__init__(f"no instance that matches had room within {timeout:g} s ({waiting} others are waiting)")
        self.timeout = timeout
        self.waiting = waiting


class LeaseLost(RegistryError):
    """The instance of a lease is gone, or is going (``reason``: why); what was under way on it has ended."""

    def __init__(self, instance_id: str, reason: str) -> None:
        super().__init__(f"the lease of {instance_id} is lost: {reason}")
        self.instance_id = instance_id
        self.reason = reason


class NoRuntime(RegistryError):
    """No runtime is open where :func:`pi_trio.current_runtime` was called."""

    def __init__(self) -> None:
        super().__init__("no runtime is open here; enter `async with open_runtime()` around this")


class ToolSpecError(PiTrioError, ValueError):
    """A tool that Pi cannot be given: its function, its name, or that Pi refuses it. The message says what would do."""


class ToolError(PiTrioError):
    """Raised in a tool's function: the model is told its message, as it is, and that the call failed."""


class ProtocolError(PiTrioError):
    """What came over the wire is not what the protocol says."""


class InvalidResponse(ProtocolError):
    """Pi's answer to a command does not have the documented shape (``data``: what came)."""

    def __init__(self, command: str, reason: str, *, data: object = None) -> None:
        super().__init__(f"Pi's response to {command!r} is not what it documents: {reason}")
        self.command = command
        self.reason = reason
        self.data = data


class ClientError(PiTrioError):
    """A request or a run that did not end well."""


class CommandFailed(ClientError):
    """Pi refused a command; ``error`` is in Pi's own words."""

    def __init__(self, command: str, error: str) -> None:
        super().__init__(f"Pi refused {command!r}: {error}")
        self.command = command
        self.error = error


class RequestTimeout(ClientError):
    """No response within the request's own time-out of ``timeout`` seconds.

    Pi may still carry the command out: its response, should it come, is dropped.
    """

    def __init__(self, command: str, timeout: float) -> None:
        super().__init__(f"no response to {command!r} within {timeout:g} s")
        self.command = command
        self.timeout = timeout


class ConnectionClosed(ClientError):
    """There is no connection to Pi: not yet, not any more, or closed on this side.

    Attributes:
        unsent: whether it is certain that the request never reached Pi, so that nothing can have come of it.
    """

    unsent = False


class ConnectFailed(ConnectionClosed):
    """No connection to ``url`` came about.

    Attributes:
        url: what was to be reached.
        status: the HTTP status of a refusal; 401 is about the token, 403 about the name
            in the URL (``Host``). ``None`` when nobody answered.
        final: whether trying again is of no use.
        code: the refusal in the other side's own word, where it has one: ``"AUTH_TOKEN_MISMATCH"``, for example.
    """

    def __init__(
        self, url: str, reason: str, *, status: int | None = None, final: bool = False, code: str | None = None
    ) -> None:
        super().__init__(f"no connection to {url}: {reason}")
        self.url = url
        self.reason = reason
        self.status = status
        self.final = final
        self.code = code


class ConnectionLost(ConnectionClosed):
    """The connection dropped.

    Attributes:
        uncertain: whether the request may have been carried out: it was sent, and its answer was lost. If not, it was
            never sent.
        reason: what became of the connection.
    """

    def __init__(self, reason: str, *, uncertain: bool) -> None:
        certainty = "it is not known whether Pi carried the request out" if uncertain else "the request was never sent"
        super().__init__(f"the connection was lost: {reason}; {certainty}")
        self.reason = reason
        self.uncertain = uncertain
        self.unsent = not uncertain


class ProcessExited(ConnectionClosed):
    """The Pi process is gone.

    Attributes:
        status: how it ended, or ``None`` when its end could not be observed.
        stderr_tail: the end of what it wrote to stderr (at most 64 KiB).
    """

    def __init__(self, *, instance_id: str = "", status: ExitStatus | None = None, stderr_tail: bytes = b"") -> None:
        name = f"Pi ({instance_id})" if instance_id else "Pi"
        ended = "ended" if status is None else str(status)
        super().__init__(_with_tail(f"{name} {ended}", stderr_tail))
        self.instance_id = instance_id
        self.status = status
        self.stderr_tail = stderr_tail


class BranchNotFound(ClientError, KeyError):
    """The session has no branch, entry or label ``to`` (``known``: the names of its branches)."""

    def __init__(self, to: str, *, known: tuple[str, ...] = ()) -> None:
        listing = f" (there are the branches: {', '.join(known)})" if known else ""
        self._message = f"there is no branch, entry or label {to!r}{listing}"
        super().__init__(self._message)
        self.to = to
        self.known = known

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return self._message


class ProviderUnavailable(ClientError):
    """Pi does not know the provider or has no key for it (it does not say which), or it has no such model.

    Attributes:
        provider: the one that was asked for.
        model: the model that was asked for, if any.
        providers: those that Pi has keys for.
        models: the models of ``provider`` that there are.
    """

    def __init__(
        self, provider: str, model: str | None, *, providers: tuple[str, ...], models: tuple[str, ...]
    ) -> None:
        if models:
            message = f"{provider} has no model {model!r} (it has: {', '.join(models)})"
        else:
            known = ", ".join(providers) if providers else "none"
            message = f"Pi does not know the provider {provider!r}, or has no key for it (it has one for: {known})"
        super().__init__(message)
        self.provider = provider
        self.model = model
        self.providers = providers
        self.models = models


class RunBusy(ClientError):
    """A run is already going on, and the caller asked not to wait for it."""


class RunOver(ClientError):
    """The run is over, and cannot be steered or aborted."""


class RunFailed(ClientError):
    """The run ended with an error from the model or its provider; ``reply`` is what had come until then."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"the run ended with an error: {reply.error_message or 'no reason was given'}")
        self.reply = reply


class RunTimeout(ClientError):
    """The run was not over within its own time-out of ``timeout`` seconds, and was aborted.

    ``reply`` is what had come until then, as far as it had been read; ``None`` when the run had not begun.
    """

    def __init__(self, timeout: float, reply: Reply | None = None) -> None:
        super().__init__(f"the run was not over within {timeout:g} s, and was aborted")
        self.timeout = timeout
        self.reply = reply


class Unsupported(ClientError):
    """What is asked for has no counterpart where this instance lives (``where``: what that is)."""

    def __init__(self, command: str, where: str) -> None:
        super().__init__(f"{command!r} is not supported by {where}")
        self.command = command
        self.where = where


class GatewayError(ClientError):
    """An OpenClaw gateway refused what was asked of it.

    Attributes:
        method: what was asked.
        code: the gateway's own word for why: ``"INVALID_REQUEST"``, ``"FORBIDDEN"``, ``"UNAVAILABLE"``, ...
        error: the gateway's own sentence.
        retry_after: seconds after which it wants to be asked again; ``None`` when it does not say.
    """

    def __init__(self, method: str, code: str, error: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"the gateway refused {method!r}: {error} ({code})")
        self.method = method
        self.code = code
        self.error = error
        self.retry_after = retry_after


class MissingScope(GatewayError):
    """The connection to the gateway has no right to that (``scope``: which one it lacks)."""

    def __init__(self, method: str, code: str, error: str, *, scope: str) -> None:
        super().__init__(method, code, error)
        self.scope = scope
