"""The first words on a connection to a gateway: what is said, and what an answer to it means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from ..errors import ConnectFailed
from ..protocol import Record, Wire
from .frames import Fault

__all__ = ["PROTOCOL", "Features", "Hello", "Policy", "connect_params", "is_starting", "refused"]

PROTOCOL = 4
"""The version of the gateway's protocol that is spoken here. Gateways 2026.5.22 to 2026.9.6 speak it."""

_VERSION = "0.1.0"

# Of the ids that a gateway lets in, the one that needs no paired device and keeps its scopes on every version.
_CLIENT = {
    "id": "gateway-client",
    "version": _VERSION,
    "platform": "python",
    "mode": "backend",
    "displayName": "pi-trio",
}

# Without it a gateway tells nothing of the tools that a run calls.
_CAPABILITIES = ["tool-events"]


@attrs.frozen
class Features(Wire):
    """What a gateway can do, as far as it tells: some methods are there without being told."""

    methods: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


@attrs.frozen
class Policy(Wire):
    """The gateway's limits."""

    max_payload: int | None = None
    """Bytes of the longest message it takes."""
    tick_interval_ms: float | None = None


@attrs.frozen
class ServerInfo(Wire):
    """Which gateway it is."""

    version: str | None = None
    conn_id: str | None = None


@attrs.frozen
class Granted(Wire):
    """What the connection may do."""

    role: str | None = None
    scopes: tuple[str, ...] = ()


@attrs.frozen
class Hello(Wire):
    """A gateway's answer to a ``connect`` that it accepted."""

    protocol: int
    server: ServerInfo = attrs.field(factory=ServerInfo)
    features: Features = attrs.field(factory=Features)
    auth: Granted = attrs.field(factory=Granted)
    policy: Policy = attrs.field(factory=Policy)


def connect_params(token: str | None, scopes: Sequence[str], protocol: int = PROTOCOL) -> Record:
    """The parameters of ``connect``."""
    params: dict[str, Any] = {
        "minProtocol": protocol,
        "maxProtocol": protocol,
        "client": dict(_CLIENT),
        "role": "operator",
        "scopes": list(scopes),
        "caps": list(_CAPABILITIES),
        "locale": "en-US",
        "userAgent": f"pi-trio/{_VERSION}",
    }
    if token is not None:
        params["auth"] = {"token": token}
    return params


# What each refusal is about, in words that say what to do. The gateway's own sentence stands behind them.
_REASONS = {
    "AUTH_TOKEN_MISMATCH": "the token is not the gateway's",
    "AUTH_TOKEN_MISSING": "the gateway asks for a token",
    "DEVICE_IDENTITY_REQUIRED": "the gateway asks for a token",
    "NOT_PAIRED": "the gateway asks for a token",
    "AUTH_RATE_LIMITED": "there were too many failures with a wrong token",
    "PROTOCOL_MISMATCH": "the gateway speaks another protocol",
}

# These pass by themselves; with the others, trying again is of no use.
_PASSING = frozenset({"UNAVAILABLE", "AUTH_RATE_LIMITED"})


def is_starting(fault: Fault) -> bool:
    """Whether the gateway is still starting, and wants to be asked again."""
    return fault.code == "UNAVAILABLE"


def refused(url: str, fault: Fault) -> ConnectFailed:
    """The error that a refused ``connect`` comes to."""
    what = _REASONS.get(fault.word, "the gateway is still starting" if is_starting(fault) else "the gateway refused")
    details = fault.details if isinstance(fault.details, dict) else {}
    if "expectedProtocol" in details:
        what += f" ({details['expectedProtocol']}, not {details.get('clientMaxProtocol', PROTOCOL)})"
    final = not {fault.code, fault.word} & _PASSING
    return ConnectFailed(url, f"{what}: {fault.message}", final=final, code=fault.word)
