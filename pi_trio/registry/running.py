"""A prompt, run on whichever instance will do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..client import PiClient, Reply
from ..errors import ClientError, CommandFailed, ConnectionClosed, NoMatchingInstance
from .leases import Lease
from .selection import Criteria, Strategy

if TYPE_CHECKING:
    from .registry import Registry

__all__ = ["run_somewhere"]


async def run_somewhere(
    registry: Registry,
    prompt: str,
    criteria: Criteria,
    strategy: Strategy,
    *,
    timeout: float | None,
    acquire_timeout: float | None,
    attempts: int,
) -> Reply:
    """See :meth:`Registry.run`."""
    if attempts < 1:
        raise ValueError(f"attempts must be positive, not {attempts}")
    refusal: Exception | None = None
    for _ in range(attempts):
        try:
            async with registry.acquire(criteria, strategy, timeout=acquire_timeout) as lease:
                result = await _try(lease, prompt, timeout)
        except NoMatchingInstance:
            if refusal is not None:
                break  # there is nobody else: what the last one said is more to the point
            raise
        if isinstance(result, Reply):
            return result
        refusal = result
        criteria = attrs.evolve(criteria, exclude=criteria.exclude | {lease.instance_id})
    assert refusal is not None
    raise refusal


async def _try(lease: Lease, prompt: str, timeout: float | None) -> Reply | Exception:
    """The reply; or why nothing was started. What goes wrong later is raised."""
    opened = False
    try:
        async with lease.open_client() as client:
            opened = True
            if client.connected:
                return await _run(client, prompt, timeout)
            # A run would wait until it is started again. Somebody else may be ready now.
            refusal: Exception = ConnectionClosed(f"{lease.instance_id} is not connected")
    except (ClientError, OSError) as error:
        if opened:
            raise
        refusal = error
    lease.blame()
    return refusal


async def _run(client: PiClient, prompt: str, timeout: float | None) -> Reply | Exception:
    accepted = False
    try:
        async with client.run(prompt, timeout=timeout) as run:
            accepted = True
            return await run.result()
    except CommandFailed as error:
        if accepted or error.command != "prompt":
            raise
        return error
