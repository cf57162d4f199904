"""The breakers of the endpoints: told what went well and what did not, they say who is left alone for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import trio

from ..abc import Profile
from ..lifecycle import (
    Breaker,
    BreakerChanged,
    BreakerPolicy,
    BreakerState,
    after_abandoned,
    after_failure,
    after_success,
    try_again,
)
from .ledger import Change

if TYPE_CHECKING:
    from .registry import Registry

__all__ = ["Breakers", "endpoint_of"]

_NEW = Breaker()
_PORTS = {"ws": 80, "wss": 443}

# Whoever finds an endpoint again finds its breaker as it was; of so many that nobody is at any more, the last ones.
_REMEMBERED = 1024


def endpoint_of(instance_id: str, profile: Profile) -> str:
    """What the breaker of an instance is for: the URL that it is reached at, or the instance itself."""
    return instance_id if profile.url is None else _normal(profile.url)


@lru_cache(maxsize=4096)
def _normal(url: str) -> str:
    """The URL as everybody writes it who means the same place."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # whoever opens clients to it may know better
        return url
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    netloc = host if port in (None, _PORTS.get(parts.scheme)) else f"{host}:{port}"
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), parts.query, ""))


class Breakers:
    """One for each endpoint; the entry of each member that is reached there has it, too.

    An open one sends a probe by itself when its time is up: one request, to one of those that are reached there.
    """

    def __init__(
        self, registry: Registry, policy: BreakerPolicy, start_soon: Callable[[Callable[[], Awaitable[None]]], None]
    ) -> None:
        self._registry = registry
        self._policy = policy
        self._start_soon = start_soon
        self._breakers: dict[str, Breaker] = {}  # those that are not as new
        # Who is reached where, of those that are not supervised here; and the endpoints where nobody is any more.
        self._members: dict[str, dict[str, None]] = {}
        self._left: dict[str, None] = {}
        self._closings: dict[str, trio.Event] = {}

    @property
    def kept(self) -> Mapping[str, Breaker]:
        """The breakers that are not as new, by endpoint."""
        return MappingProxyType(self._breakers)

    def of(self, endpoint: str) -> Breaker:
        """The breaker of this endpoint."""
        return self._breakers.get(endpoint, _NEW)

    def is_closed(self, endpoint: str) -> bool:
        """Whether it may be asked anything."""
        return self.of(endpoint).state is BreakerState.CLOSED

    async def wait_closed(self, endpoint: str) -> None:
        """Wait until it may be asked. No checkpoint when it may."""
        while not self.is_closed(endpoint):
            await self._closings.setdefault(endpoint, trio.Event()).wait()

    # --- what is told --------------------------------------------------------------------------------

    def succeeded(self, instance_id: str) -> None:
        """It worked."""
        entry = self._registry.instances.get(instance_id)
        if entry is not None and not (entry.breaker.failures or entry.breaker.state is not BreakerState.CLOSED):
            return  # as nearly always
        endpoint = self._registry.endpoint_of(instance_id)
        if endpoint is not None and self.of(endpoint) != _NEW:
            self._change(endpoint, after_success(self.of(endpoint)))

    def failed(self, instance_id: str) -> None:
        """It could not be reached, or broke down."""
        endpoint = self._registry.endpoint_of(instance_id)
        if endpoint is not None:
            self._fail(endpoint)

    def news(self, instance_ids: Iterable[str]) -> None:
        """Whoever found these has got through again: where they are reached, a probe need not wait until it is due."""
        endpoints = {
            endpoint: None for each in instance_ids if (endpoint := self._registry.endpoint_of(each)) is not None
        }
        for endpoint in endpoints:
            self._probe_soon(endpoint, news=True)

    def _fail(self, endpoint: str) -> None:
        breaker = after_failure(self._policy, self.of(endpoint), trio.current_time())
        if breaker != self.of(endpoint):
            self._change(endpoint, breaker)
            self._probe_soon(endpoint)

    def _change(self, endpoint: str, breaker: Breaker) -> None:
        self._keep(endpoint, breaker)
        now = trio.current_time()
        told = [name for name in self._at(endpoint) if name in self._registry.instances]
        if told:
            self._registry.enter(*(BreakerChanged(name, now, breaker, endpoint) for name in told))

    def _keep(self, endpoint: str, breaker: Breaker) -> None:
        if breaker == _NEW:
            self._breakers.pop(endpoint, None)
        else:
            self._breakers[endpoint] = breaker
        if breaker.state is BreakerState.CLOSED and endpoint in self._closings:
            self._closings.pop(endpoint).set()

    # --- who is where --------------------------------------------------------------------------------

    def _at(self, endpoint: str) -> Sequence[str]:
        return tuple(self._members.get(endpoint, (endpoint,)))

    def joined(self, instance_id: str, endpoint: str) -> None:
        """A member that is not supervised here is reached at this endpoint."""
        self._left.pop(endpoint, None)
        if endpoint not in self._members:
            self._members[endpoint] = {}
            self._probe_soon(endpoint)  # there was nobody to ask
        self._members[endpoint][instance_id] = None

    def left(self, instance_id: str, endpoint: str) -> None:
        """It is a member no more."""
        members = self._members[endpoint]
        del members[instance_id]
        if members:
            return
        del self._members[endpoint]
        if endpoint == instance_id:
            self._keep(endpoint, _NEW)  # what comes by this name is another
        elif endpoint in self._breakers:
            self._left[endpoint] = None
            if len(self._left) > _REMEMBERED:
                oldest = next(iter(self._left))
                del self._left[oldest]
                self._keep(oldest, _NEW)

    def settle(self, changes: Sequence[Change]) -> None:
        """Enter the breaker of each endpoint for those that are in the table anew; forget those that are over."""
        if not self._breakers:
            return
        anew = dict[str, BreakerChanged]()
        for name, before, after in changes:
            if after is None:
                anew.pop(name, None)
                if name not in self._members:
                    self._breakers.pop(name, None)  # of an instance that was supervised here
            elif before is None:
                endpoint = endpoint_of(name, after.profile)
                if self.of(endpoint) != after.breaker:
                    anew[name] = BreakerChanged(name, trio.current_time(), self.of(endpoint), endpoint)
        if anew:
            self._registry.enter(*anew.values())

    # --- probes --------------------------------------------------------------------------------------

    def _probe_soon(self, endpoint: str, *, news: bool = False) -> None:
        breaker = self.of(endpoint)
        if breaker.state is BreakerState.OPEN:
            self._start_soon(lambda: self._probe_when_due(endpoint, breaker, news=news))

    async def _probe_when_due(self, endpoint: str, opened: Breaker, *, news: bool) -> None:
        """Send the one probe of this opening, and enter what comes of it."""
        if not news:
            assert opened.retry_at is not None
            await trio.sleep_until(opened.retry_at)
        # Closed by somebody who found out that it works, or probed by another: then there is nothing to do.
        while self.of(endpoint) == opened and (name := self._next_to_ask(endpoint)) is not None:
            async with self._registry.turn(name):
                if self.of(endpoint) == opened and self._registry.is_known(name):
                    await self._probe(endpoint, name, opened, news=news)

    def _next_to_ask(self, endpoint: str) -> str | None:
        """Another one each time, so that an endpoint is not judged by one of its members."""
        for name in self._at(endpoint):
            if self._registry.is_known(name):
                if endpoint in self._members:
                    self._members[endpoint][name] = self._members[endpoint].pop(name)
                return name
        return None

    async def _probe(self, endpoint: str, name: str, opened: Breaker, *, news: bool) -> None:
        probing = try_again(opened, trio.current_time(), news=news)
        assert probing is not None
        self._change(endpoint, probing)
        try:
            report = await self._registry.check_health(name)
        except BaseException:
            if self.of(endpoint) == probing:
                self._change(endpoint, after_abandoned(probing))
            raise
        if report.latency is None:
            self._registry.count_missed([each for each in self._at(endpoint) if each != name], report.error)
        if self.of(endpoint) != probing:
            return  # for one that is watched from here the check itself was entered
        if report.latency is None:
            self._fail(endpoint)
        else:
            self._change(endpoint, after_success(probing))
