"""How a gateway is talked to."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import attrs

from .handshake import PROTOCOL

__all__ = ["READ", "WRITE", "GatewayOptions"]

READ = "operator.read"
"""The right to list sessions, and to read what is said in them."""

WRITE = "operator.write"
"""The right to prompt, and to abort."""

# What a gateway itself takes for its largest answer (`policy.maxPayload` is 25 MiB), and a little for the frame.
_MAX_MESSAGE_BYTES = 26 * 1024 * 1024


def _positive(_instance: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError(f"{attribute.name} must be positive, not {value!r}")


def _several(value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ValueError(f"expected several strings, not the one string {value!r}")
    return tuple(value)


@attrs.frozen(kw_only=True)
class GatewayOptions:
    """How a connection to a gateway behaves. Times are in seconds.

    Raises:
        ValueError: a field has a value it cannot have.
    """

    token: str | None = attrs.field(default=None, repr=lambda token: "None" if token is None else "'...'")
    """What the gateway was told to ask for."""
    scopes: tuple[str, ...] = attrs.field(default=(READ, WRITE), converter=_several)
    """Which rights the connection asks for."""
    request_timeout: float = attrs.field(default=30.0, validator=_positive)
    """How long an answer is waited for."""
    connect_timeout: float = attrs.field(default=30.0, validator=_positive)
    """How long a connection may take, a gateway that is still starting included."""
    heartbeat: float | None = attrs.field(default=30.0, validator=_positive)
    """How often the gateway is pinged; when nothing came back for twice that, it is gone. ``None``: not at all."""
    max_message_bytes: int = attrs.field(default=_MAX_MESSAGE_BYTES, validator=_positive)
    """The longest message taken in; a longer one ends the connection."""
    ssl_context: ssl.SSLContext | None = None
    """For ``wss://``, instead of the system's trust."""
    protocol: int = PROTOCOL
    """The version of the protocol that is asked for."""
