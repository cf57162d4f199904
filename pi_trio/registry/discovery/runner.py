"""A discovery at work: what it tells is entered, what it raises is reported, and its breaker says when to try again."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import trio

from ...abc import Discovery, Found, Sightings
from ...errors import InstanceExists, InstanceNotFound
from ...lifecycle import (
    Breaker,
    BreakerPolicy,
    BreakerState,
    DiscoveryBreakerChanged,
    DiscoveryCompleted,
    DiscoveryFailed,
    after_failure,
    after_success,
    try_again,
)

if TYPE_CHECKING:
    from ..ledger import Sender
    from ..registry import Registry

__all__ = ["run_discovery"]

_log = logging.getLogger("pi_trio.registry")

# Between a failure and the next attempt at least, whatever the breaker or the news say.
_PAUSE = 1.0


class _Seen(Sightings):
    """What one discovery has told, and its breaker."""

    def __init__(self, registry: Registry, discovery: Discovery, sender: Sender) -> None:
        self._registry = registry
        self._sender = sender
        self._discovery = discovery
        self._name = discovery.name
        self._known: dict[str, Found] = {}
        self.breaker = Breaker()
        self.silent = True
        """Whether it has told nothing since this was set."""

    def snapshot(self, found: Iterable[Found]) -> None:
        """See :class:`Sightings`. What cannot be a member keeps nobody else from being one; then it is raised."""
        there = {each.instance_id: each for each in found}
        gone = [name for name in self._known if name not in there]
        for name in gone:
            self._remove(name, f"{self._name} does not list it any more")
        new, refused = 0, list[ValueError]()
        for each in there.values():
            try:
                new += self._add(each)
            except ValueError as error:
                refused.append(error)
        if refused:
            raise ValueError("; ".join(map(str, refused))) from refused[0]
        self._told(new, len(gone))

    def found(self, found: Found) -> None:
        """See :class:`Sightings`."""
        self._told(int(self._add(found)), 0)

    def lost(self, instance_id: str, reason: str) -> None:
        """See :class:`Sightings`."""
        known = instance_id in self._known
        if known:
            self._remove(instance_id, reason)
        self._told(0, int(known))

    def _add(self, found: Found) -> bool:
        found = attrs.evolve(found, profile=attrs.evolve(found.profile, source=self._name))
        name = found.instance_id
        if self._known.get(name) == found:
            return False
        before = self._known.get(name)
        if before is not None and before.profile == found.profile:
            self._known[name] = found
            self._registry.change_model_through(self._sender, found)
            return False
        if before is not None:
            self._remove(name, f"{self._name} describes it anew")
        try:
            opener = self._discovery.opener(found)
            self._registry.register_through(self._sender, found, open_client=opener)
        except InstanceExists:
            # Spawned here, or told by another: the first word counts.
            _log.debug("%s found %s, which is a member already", self._name, name)
            return False
        self._known[name] = found
        return True

    def _remove(self, name: str, reason: str) -> None:
        del self._known[name]
        with suppress(InstanceNotFound):  # somebody else may have unregistered it
            self._registry.unregister_through(self._sender, name, reason)

    def returned(self) -> None:
        """It is done, and has told everything; though that may be nothing."""
        if self.silent:
            self._told(0, 0)

    def _told(self, found: int, lost: int) -> None:
        self.silent = False
        if self.breaker != Breaker():
            self.enter(after_success(self.breaker))
            self._registry.found_again(self._known)
        self._sender.send_nowait(DiscoveryCompleted(self._name, trio.current_time(), found, lost))

    def failed(self, policy: BreakerPolicy, error: str) -> None:
        now = trio.current_time()
        self._sender.send_nowait(DiscoveryFailed(self._name, now, error))
        self.enter(after_failure(policy, self.breaker, now))

    def enter(self, breaker: Breaker) -> None:
        if breaker != self.breaker:
            self.breaker = breaker
            self._sender.send_nowait(DiscoveryBreakerChanged(self._name, trio.current_time(), breaker))

    def forget_all(self) -> None:
        for name in tuple(self._known):
            self._remove(name, f"{self._name} was ended")


async def run_discovery(registry: Registry, discovery: Discovery, sender: Sender, policy: BreakerPolicy) -> None:
    """Run it until cancelled, again after each failure; behind it, nothing that it found is left.

    One that returns has told everything: it is not run again, and what it told stays until this is cancelled. What it tells
    goes through ``sender``, which is its own, and is closed behind it.
    """
    with sender:
        await _run(_Seen(registry, discovery, sender), discovery, policy)


async def _run(seen: _Seen, discovery: Discovery, policy: BreakerPolicy) -> None:
    try:
        while True:
            seen.silent = True
            try:
                await discovery.run(seen)
            except Exception as error:
                _log.warning("the discovery %s failed: %s", discovery.name, error)
                seen.failed(policy, str(error) or type(error).__name__)
            else:
                seen.returned()
                await trio.sleep_forever()
            await trio.sleep(_PAUSE)
            if seen.breaker.state is BreakerState.OPEN:
                assert seen.breaker.retry_at is not None
                news = await _wait_news(discovery, seen.breaker.retry_at)
                seen.enter(try_again(seen.breaker, trio.current_time(), news=news) or seen.breaker)
    finally:
        seen.forget_all()
        with trio.CancelScope(shield=True):
            await discovery.close()


async def _wait_news(discovery: Discovery, deadline: float) -> bool:
    """Wait until another attempt is worth it, and no longer than until ``deadline``. Whether there are news."""
    wait = discovery.news() or trio.sleep_forever
    with trio.move_on_at(deadline):
        try:
            await wait()
        except Exception as error:  # a stranger's function, and its own mistake
            _log.warning("the discovery %s cannot tell whether there are news: %s", discovery.name, error)
            await trio.sleep_forever()
        return True
    return False
