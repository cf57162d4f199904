"""A registry without a runtime: for programs that spawn nothing, and use what runs elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from ..client import PiClient, RemoteOptions
from ..concurrency import open_service_nursery
from ..lifecycle import BreakerPolicy
from .health import Watch
from .registry import Registry
from .table import Entry

__all__ = ["open_registry"]


@asynccontextmanager
async def open_registry(
    *,
    open_client: Callable[[Entry], AbstractAsyncContextManager[PiClient]] | None = None,
    remote: RemoteOptions | None = None,
    watch: Watch | None = None,
    breaker: BreakerPolicy | None = None,
) -> AsyncIterator[Registry]:
    """A registry for the body, which it takes its members' events in for. Behind it, nobody is watched any more.

    Args:
        open_client: opens a client to an instance, instead of at its URL.
        remote: the options of the clients that are opened at a URL.
        watch: how the members are watched.
        breaker: when a member, or a discovery, is left alone for a while.
    """
    registry = Registry(open_client=open_client, remote=remote, watch=watch, breaker=breaker)

    async def stop(_: BaseException | None) -> None:
        registry.quiesce()
        registry.close()

    async with open_service_nursery(stop) as service:
        service.start_soon(registry.serve, name="registry")
        yield registry
