"""How endpoints are served."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Iterable
from typing import Any

import attrs

from ..process import Ports
from .scope import Scope

__all__ = ["EndpointConfig"]


def _positive(_instance: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be positive, not {value!r}")


def _strings(value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ValueError(f"expected several strings, not the one string {value!r}; write ({value!r},)")
    return tuple(value)


def _origin(_instance: Any, _attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for origin in value:
        if origin in ("null", "*") or "://" not in origin or origin.endswith("/"):
            raise ValueError(f"an origin looks like https://example.com or http://127.0.0.1:8080, not {origin!r}")


def _literal(_instance: Any, _attribute: attrs.Attribute[Any], value: str) -> None:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValueError(f"host must be an address such as 127.0.0.1 or ::1, not the name {value!r}") from None


@attrs.frozen(kw_only=True)
class EndpointConfig:
    """How a runtime serves its instances' endpoints. Safe as it is.

    Raises:
        ValueError: a field has a value it cannot have, or the whole would let strangers in.
    """

    host: str = attrs.field(default="127.0.0.1", validator=_literal)
    """The address to listen at. Another than loopback needs ``ssl_context`` and ``allowed_hosts``, and excludes
    ``anonymous``."""
    base_port: int = 0
    """The first port of the range that endpoints get; 0, with ``max_port``: whatever the system gives."""
    max_port: int = 0
    """The last one."""
    token_file: str | os.PathLike[str] | None = None
    """Where the runtime's token is written, readable for this user only; ``None``: in the user's data folder."""
    anonymous: Scope | None = None
    """What a peer without a token may do. ``None``: nothing, it is refused. Anything else lets every program of every
    user of this machine in: see ``docs/security.md``."""
    allowed_origins: tuple[str, ...] = attrs.field(default=(), converter=_strings, validator=_origin)
    """The web pages that may connect, such as ``"http://127.0.0.1:8080"``: exact, no patterns. By default none may."""
    allowed_hosts: tuple[str, ...] = attrs.field(default=(), converter=_strings)
    """Names, with their port if it is not 443, that may stand in ``Host`` beside the loopback ones."""
    ssl_context: ssl.SSLContext | None = attrs.field(default=None, repr=False)
    """Serve ``wss``. With a certificate loaded."""

    max_connections: int = attrs.field(default=256, validator=_positive)
    """Peers of one endpoint at the same time; further ones are refused."""
    max_handshakes: int = attrs.field(default=64, validator=_positive)
    """Connections of one endpoint that have not said who they are yet; when there are more, the oldest has to go."""
    max_message_bytes: int = attrs.field(default=32 * 1024 * 1024, validator=_positive)
    """The longest message taken from a peer: a prompt with several images fits."""
    max_in_flight: int = attrs.field(default=64, validator=_positive)
    """Requests of one peer that wait for an answer; further ones are refused."""
    outbox_bytes: int = attrs.field(default=32 * 1024 * 1024, validator=_positive)
    """How much may be waiting for a peer that does not read; then it is dropped. Peers that wait for the same share
    it in memory."""

    handshake_timeout: float = attrs.field(default=10.0, validator=_positive)
    """Seconds to say who one is."""
    ping_period: float = attrs.field(default=20.0, validator=_positive)
    """Seconds between two pings."""
    ping_timeout: float = attrs.field(default=20.0, validator=_positive)
    """Seconds to answer one; a peer that does not is dropped."""
    close_timeout: float = attrs.field(default=2.0, validator=_positive)
    """Seconds that a peer has to take what is left for it, and to say goodbye."""

    def __attrs_post_init__(self) -> None:
        Ports(self.base_port, self.max_port, host=self.host)  # raises
        if self.loopback:
            return
        if self.ssl_context is None:
            raise ValueError(f"{self.host} can be reached from other machines: that takes ssl_context")
        if self.anonymous is not None:
            raise ValueError(f"{self.host} can be reached from other machines: nobody is let in without a token")
        if not self.allowed_hosts:
            raise ValueError(f"{self.host} can be reached from other machines: allowed_hosts must name it")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback
