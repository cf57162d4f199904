"""An instance of a reserve: what it was like when it was new, and how it is made so again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ...errors import ClientError, ProtocolError

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["Spare", "look_at", "renew"]

# What a session may be changed in without being another. Whatever of it is as it was at the start, a new session is
# like that of a new Pi.
_SETTINGS = ("model", "thinking_level", "steering_mode", "follow_up_mode", "auto_compaction_enabled")


@attrs.frozen
class Spare:
    """A clean instance in the reserve, or on its way there."""

    instance_id: str
    settings: tuple[object, ...]
    """What it was like when it was new."""


async def look_at(registry: Registry, instance_id: str) -> Spare:
    """What a new instance is like.

    Raises:
        ClientError, ProtocolError: it does not say.
    """
    async with registry.open_client(instance_id) as client:
        state = await client.get_state()
    return Spare(instance_id, tuple(getattr(state, each) for each in _SETTINGS))


async def renew(registry: Registry, spare: Spare) -> bool:
    """Give it a fresh session. Whether it is like new then."""
    try:
        async with registry.open_client(spare.instance_id) as client:
            if (await client.new_session()).cancelled:
                return False
        return await look_at(registry, spare.instance_id) == spare
    except (ClientError, ProtocolError):
        return False
