"""What a user asks for: one Pi, in one folder, with one model to begin with."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from ..abc import Profile
from ..errors import SpecError
from ..lifecycle import HealthPolicy, RestartPolicy, RestartType
from ..protocol import DEFAULT_MAX_RECORD_BYTES, DialogHandler, State
from ..tools import EXTENSION, Tool
from .find import PiInstall

__all__ = ["THINKING_LEVELS", "InstanceSpec", "check_text"]

THINKING_LEVELS = ("off", "minimal", "low", "medium", "high", "xhigh", "max")

# Arguments that would take the protocol away from under us, or show a secret to every user of the machine.
_REFUSED_ARGS = {
    "--mode": "the runtime speaks RPC to Pi",
    "--print": "the runtime speaks RPC to Pi",
    "-p": "the runtime speaks RPC to Pi",
    "--api-key": "any user of this machine can read command lines; put the key into the environment",
    "--provider": "use the provider field",
    "--model": "use the model field",
    "--session-id": "use the session_id field",
    "--no-session": "use ephemeral=True",
    "--server": 'use launch="server"',
    "--port": "use the port field",
    "--workdir": "use the cwd field",
}


def check_text(name: str, value: object) -> None:
    """Refuse what the operating system cannot pass on as an argument or a variable.

    Raises:
        SpecError: ``value`` is no string, is empty, contains NUL, or has no form in bytes.
    """
    if not isinstance(value, str) or not value or not _passable(value):
        raise SpecError(f"{name} must be a non-empty string without NUL or half surrogate pairs, not {value!r}")


def _passable(value: str) -> bool:
    try:
        return b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _text(_instance: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        check_text(attribute.name, value)


def _seconds(_instance: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise SpecError(f"{attribute.name} must be a number of seconds, 0 or more, not {value!r}")


def _thinking(_instance: Any, _attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and value not in THINKING_LEVELS:
        raise SpecError(f"thinking must be one of {', '.join(THINKING_LEVELS)}, not {value!r}")


def _strings(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, str):
        raise SpecError(f"expected several strings, not the one string {value!r}; write ({value!r},)")
    return tuple(value)


def _names(value: Any) -> Any:
    names = _strings(value)
    return frozenset() if names is None else frozenset(names)


def _tools(value: Any) -> Any:
    if value is None:
        return None
    tools = tuple(value) if isinstance(value, Iterable) else (value,)
    for each in tools:
        if not isinstance(each, Tool):
            raise SpecError(f"python_tools must contain tools, made with @tool or Tool.from_function, not {each!r}")
        if [tool.name for tool in tools].count(each.name) > 1:
            raise SpecError(f"python_tools has two tools with the name {each.name!r}")
    return tools


def _no_nul(_instance: Any, attribute: attrs.Attribute[Any], value: Collection[object] | None) -> None:
    for each in value or ():
        if not isinstance(each, str) or not _passable(each):
            raise SpecError(f"{attribute.name} must contain strings without NUL, not {each!r}")


def _restart_policy(value: object) -> object:
    return RestartPolicy(type=value) if isinstance(value, RestartType) else value


def _bytes(_instance: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SpecError(f"{attribute.name} must be a positive number of bytes, not {value!r}")


def _positive(_instance: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SpecError(f"{attribute.name} must be a positive number, not {value!r}")


def _port(_instance: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535):
        raise SpecError(f"{attribute.name} must be from 1 to 65535, not {value!r}")


def _a(kind: type, *, or_none: bool = False) -> Any:
    def check(_instance: Any, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, kind) and not (or_none and value is None):
            raise SpecError(f"{attribute.name} must be a {kind.__name__}{' or None' if or_none else ''}, not {value!r}")

    return check


def _callable(_instance: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not callable(value):
        raise SpecError(f"{attribute.name} must be an async function or None, not {value!r}")


def _args(instance: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    _no_nul(instance, attribute, value)
    for each in value:
        name = each.split("=", 1)[0]
        if name in _REFUSED_ARGS:
            raise SpecError(f"extra_args must not contain {name}: {_REFUSED_ARGS[name]}")


def _without_sessions(args: tuple[str, ...]) -> tuple[str, ...]:
    """Arguments for Pi without those that choose a session: they would contradict ``--session-id``."""
    kept: list[str] = []
    rest = iter(args)
    for each in rest:
        if each in ("--session", "--fork"):
            next(rest, None)
        elif each not in ("--continue", "-c", "--resume", "-r"):
            kept.append(each)
    return tuple(kept)


def _environment(_instance: Any, _attribute: attrs.Attribute[Any], value: Mapping[object, object]) -> None:
    for name, text in value.items():
        if not isinstance(name, str) or not name or "=" in name or not _passable(name):
            raise SpecError(f"env has a name that cannot be one: {name!r}")
        if text is not None and (not isinstance(text, str) or not _passable(text)):
            raise SpecError(f"env[{name!r}] must be a string without NUL or half surrogate pairs, or None to remove it")


def _env_names(env: Mapping[str, str | None]) -> str:
    return "{" + ", ".join(f"{'-' if value is None else ''}{name}" for name, value in sorted(env.items())) + "}"


def _folder(value: str | os.PathLike[str]) -> str:
    if not isinstance(value, str | os.PathLike):
        raise SpecError(f"cwd must be a path, not {value!r}")
    return os.fspath(value)


BRANCHING = Path(__file__).parent / "branching.js"
"""The extension with which ``client.branches`` moves."""


@attrs.frozen(kw_only=True)
class InstanceSpec:
    """How to launch one Pi. Everything has a default: ``InstanceSpec()`` is Pi as the user configured it.

    Secrets belong into ``env``, whose values are never shown, or into Pi's own configuration.

    Raises:
        SpecError: a field has a value it cannot have.
    """

    provider: str | None = attrs.field(default=None, validator=_text)
    """Pi's name of a provider, such as ``"anthropic"``."""
    model: str | None = attrs.field(default=None, validator=_text)
    """A model id or pattern."""
    cwd: str = attrs.field(default=".", converter=_folder)
    """The folder Pi works in."""
    thinking: str | None = attrs.field(default=None, validator=_thinking)
    """One of :data:`THINKING_LEVELS`."""
    tools: tuple[str, ...] | None = attrs.field(default=None, converter=_strings, validator=_no_nul)
    """The only tools of its own that Pi may use; ``()`` for none, ``None`` for Pi's default."""
    python_tools: tuple[Tool, ...] | None = attrs.field(default=None, converter=_tools)
    """Tools that are functions of this program. ``()`` for none at first: ``instance.tools`` takes more later. With
    ``None`` there never are any, and Pi is not loaded with the extension that asks for them."""
    max_concurrent_tools: int = attrs.field(default=8, validator=_positive)
    """How many calls of them may run at the same time; others wait for their turn."""
    session_id: str | None = attrs.field(default=None, validator=_text)
    """Continue the session with this id in ``cwd``, or create it."""
    session: str | None = attrs.field(default=None, validator=_text)
    """Open an existing session: its file, or the start of its id."""
    ephemeral: bool = False
    """Keep no session file."""
    append_system_prompt: tuple[str, ...] = attrs.field(default=(), converter=_strings, validator=_no_nul)
    """Texts added to the system prompt."""
    extra_args: tuple[str, ...] = attrs.field(default=(), converter=_strings, validator=_args)
    """More arguments for Pi, as they are."""
    env: Mapping[str, str | None] = attrs.field(factory=dict, validator=_environment, repr=_env_names)
    """Variables to add to the environment, or with ``None`` to remove from it."""
    inherit_env: bool = True
    """Whether Pi gets this process's environment, or only a ``PATH`` and ``HOME`` and what ``env`` says."""
    pi: str | Path | PiInstall | None = None
    """Which Pi: its executable or its folder, or one that was found already; ``None`` to look for it (see
    :func:`pi_trio.launch.find_pi`)."""

    launch: Literal["stdio", "server"] = "stdio"
    """How it is talked to: over its own stdin and stdout (``pi --mode rpc``), or as a server that answers on a WebSocket
    by itself (``pi --server --port 4000 --model x``)."""
    port: int | None = attrs.field(default=None, validator=_port)
    """Where a server answers on 127.0.0.1; ``None`` for any port that is free."""

    start_timeout: float = attrs.field(default=30.0, validator=_seconds)
    """Seconds from the spawn to the first answer."""
    request_timeout: float = attrs.field(default=30.0, validator=_seconds)
    """Seconds a request waits for its response, unless it says otherwise."""
    drain_timeout: float = attrs.field(default=2.0, validator=_seconds)
    """Seconds Pi is given to finish after its stdin was closed, in a polite stop."""
    grace_timeout: float = attrs.field(default=5.0, validator=_seconds)
    """Seconds between SIGTERM and SIGKILL."""
    max_record_bytes: int = attrs.field(default=DEFAULT_MAX_RECORD_BYTES, validator=_bytes)
    """The longest record taken from Pi; a longer one becomes a ``MalformedRecord`` event."""
    log_bytes: int = attrs.field(default=1024 * 1024, validator=_bytes)
    """How much of what Pi writes (stdout and stderr together) is kept for ``instance.logs()``."""

    capabilities: frozenset[str] = attrs.field(default=frozenset(), converter=_names, validator=_no_nul)
    """What it can do, in words of the program's own: instances are selected by them."""
    region: str | None = attrs.field(default=None, validator=_text)
    """Where it is, for the selection."""
    tags: frozenset[str] = attrs.field(default=frozenset(), converter=_names, validator=_no_nul)
    """Whatever else it is to be selected by."""
    max_concurrent: int = attrs.field(default=1, validator=_positive)
    """How many leases of it there may be at the same time. Pi itself does one run at a time; others wait."""
    selectable: bool = attrs.field(default=True, validator=_a(bool))
    """Whether it can be had by criteria; one in a reserve is handed out by whoever keeps that."""

    branching: bool = attrs.field(default=False, validator=_a(bool))
    """Whether ``client.branches`` can move within a session: for that Pi loads an extension of ours."""
    dialogs: DialogHandler | None = attrs.field(default=None, validator=_callable)
    """Who answers the dialogs of Pi's extensions (see :mod:`pi_trio.client.dialogs`); ``None``: they are dismissed."""

    restart: RestartPolicy = attrs.field(factory=RestartPolicy, converter=_restart_policy, validator=_a(RestartPolicy))
    """What follows an ending that nobody asked for; a bare ``RestartType`` will do. The first start is not part of
    it: one that fails raises ``SpawnError`` where it was asked for."""
    restart_session: Literal["continue", "fresh"] = "continue"
    """Whether a restarted Pi continues the session of the one before, or begins a new one."""
    health: HealthPolicy | None = attrs.field(factory=HealthPolicy, validator=_a(HealthPolicy, or_none=True))
    """How it is watched while it runs; ``None`` for not at all."""

    def __attrs_post_init__(self) -> None:
        sessions = [self.session_id is not None, self.session is not None, self.ephemeral]
        if sum(sessions) > 1:
            raise SpecError("session_id, session and ephemeral exclude each other: choose one")
        if self.launch not in ("stdio", "server"):
            raise SpecError(f'launch must be "stdio" or "server", not {self.launch!r}')
        if self.launch == "server" and self.model is None:
            raise SpecError('a Pi with launch="server" has to be told its model')
        if self.launch == "stdio" and self.port is not None:
            raise SpecError('only a Pi with launch="server" has a port')
        if self.restart_session not in ("continue", "fresh"):
            raise SpecError(f'restart_session must be "continue" or "fresh", not {self.restart_session!r}')

    def continued(self, last: State) -> InstanceSpec:
        """The spec for a Pi that takes over from one that was like this: with its model, and in its session.

        A fresh session begins as the spec says.
        """
        args = _without_sessions(self.extra_args)
        if self.restart_session == "fresh":
            return self if self.ephemeral else attrs.evolve(self, session=None, session_id=None, extra_args=args)
        spec = self
        if last.model is not None:
            spec = attrs.evolve(self, provider=last.model.provider, model=last.model.id)
        if last.thinking_level in THINKING_LEVELS:
            spec = attrs.evolve(spec, thinking=last.thinking_level)
        return spec if self.ephemeral else attrs.evolve(spec, session=None, session_id=last.session_id, extra_args=args)

    def profile(self) -> Profile:
        """What the registry is told, for selecting it."""
        return Profile(
            capabilities=self.capabilities,
            region=self.region,
            tags=self.tags,
            max_concurrent=self.max_concurrent,
            selectable=self.selectable,
            source="spawned",
        )

    def arguments(self) -> tuple[str, ...]:
        """The arguments for Pi's command line, the way it is talked to first."""
        serving = self.launch == "server"
        args = self._serving() if serving else ["--mode", "rpc"]
        options = {
            "--provider": self.provider,
            "--model": None if serving else self.model,
            "--thinking": self.thinking,
            "--session-id": None if serving else self.session_id,
            "--session": None if serving else self.session,
        }
        for name, value in options.items():
            if value is not None:
                args += [name, value]
        if self.ephemeral:
            args.append("--no-session")
        if self.tools is not None:
            # What Pi is told to use, it refuses to be told more of: tools of this program belong into the list, too.
            names = dict.fromkeys((*self.tools, *(tool.name for tool in self.python_tools or ())))
            args += ["--tools", ",".join(names)] if names else ["--no-tools"]
        if self.python_tools is not None:
            args += ["-e", str(EXTENSION)]
        for text in self.append_system_prompt:
            args += ["--append-system-prompt", text]
        if self.branching:
            args += ["--extension", str(BRANCHING)]
        return (*args, *self.extra_args)

    def _serving(self) -> list[str]:
        """One of the two forms that there are: for a new session, and for one that goes on."""
        if self.model is None or self.port is None:
            raise SpecError("a server has a port and a model")
        port, session = str(self.port), self.session_id or self.session
        if session is None:
            return ["--server", "--port", port, "--model", self.model]
        return ["--model", self.model, "--session", session, "--workdir", self.cwd, "--port", port]

    def environment(self, ours: Mapping[str, str]) -> dict[str, str]:
        """The whole environment for Pi, made from ``ours`` as the spec says."""
        names = list(ours) if self.inherit_env else ["PATH", "HOME"]
        made = {name: ours[name] for name in names if name in ours}
        for name, value in self.env.items():
            if value is None:
                made.pop(name, None)
            else:
                made[name] = value
        return made
