"""A prompt, run on whichever instance will do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..client import PiClient, Reply
from ..errors import ClientError, CommandFailed, ConnectionClosed, LeaseLost, NoMatchingInstance
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
        attempt = _Attempt(prompt, timeout)
        try:
            # Where one has refused, somebody else is tried who is there; nobody is waited for who might come some day.
            async with registry._acquire(criteria, strategy, acquire_timeout, newcomers=refusal is None) as lease:
                result = await attempt.on(lease)
        except NoMatchingInstance:
            if refusal is not None:
                break  # there is nobody else: what the last one said is more to the point
            raise
        except LeaseLost as lost:
            if attempt.began:
                raise
            result = lost
        if isinstance(result, Reply):
            return result
        refusal = result
        criteria = attrs.evolve(criteria, exclude=criteria.exclude | {attempt.instance_id})
    assert refusal is not None
    raise refusal


@attrs.define(eq=False)
class _Attempt:
    """The prompt on one instance."""

    prompt: str
    timeout: float | None
    instance_id: str = ""
    began: bool = False
    """Whether the prompt may have reached it."""

    async def on(self, lease: Lease) -> Reply | Exception:
        """The reply; or why nothing was started. What goes wrong later is raised."""
        self.instance_id = lease.instance_id
        opened = False
        try:
            async with lease.open_client() as client:
                opened = True
                if client.connected:
                    outcome = await self._run(client)
                    if isinstance(outcome, ConnectionClosed):
                        lease.blame()
                    return outcome
                # A run would wait until it is started again. Somebody else may be ready now.
                refusal: Exception = ConnectionClosed(f"{lease.instance_id} is not connected")
        except (ClientError, OSError) as error:
            if opened:
                raise
            refusal = error
        lease.blame()
        return refusal

    async def _run(self, client: PiClient) -> Reply | Exception:
        accepted = False
        try:
            async with client.run(self.prompt, timeout=self.timeout, on_turn=self._begin) as run:
                accepted = True
                return await run.result()
        except CommandFailed as error:
            if accepted or error.command != "prompt":
                raise
            return error
        except ConnectionClosed as error:
            if accepted or not error.unsent:
                raise
            return error  # the prompt never left this program

    def _begin(self) -> None:
        self.began = True
