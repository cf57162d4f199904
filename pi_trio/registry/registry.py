"""The registry: who is there, how they are, which one to take."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import attrs
import trio

from ..abc import Discovery, Found
from ..client import PiClient, RemoteOptions, Reply
from ..concurrency import open_service_nursery
from ..lifecycle import (
    BreakerPolicy,
    Health,
    InstanceState,
    Registered,
    Unregistered,
)
from .breakers import Breakers, endpoint_of
from .capacity import CapacityReport, report_capacity
from .discovery.runner import run_discovery
from .health import HealthReport, Pulse, Watch
from .leases import Holding, Lease, Leases
from .ledger import Change
from .membership import Member, Membership
from .running import run_somewhere
from .selection import Criteria, Index, LeastLoaded, Selection, Strategy
from .table import Entry

__all__ = ["Registry", "RegistryStatistics"]

ANY = Criteria()
LEAST_LOADED = LeastLoaded()


@attrs.frozen
class RegistryStatistics:
    """What the registry has seen so far, and what is in it."""

    events: int
    registered: int
    """How often an instance became a member."""
    unregistered: int
    by_state: Mapping[InstanceState, int]
    """How many members are in each state now."""
    by_health: Mapping[Health, int]
    leases_taken: int
    leases_lost: int
    """How many of these were lost because their instance went."""
    waiting: int
    """How many wait for a lease now."""


class Registry(Membership):
    """Folds the events of all instances, selects among them, and leases them out.

    A client to an instance that is not supervised here is opened at its URL, with ``remote`` as its options and what its
    :class:`Found` says of a token. ``open_client`` does it otherwise: it is given the instance's entry.
    """

    def __init__(
        self,
        *,
        open_client: Callable[[Entry], AbstractAsyncContextManager[PiClient]] | None = None,
        remote: RemoteOptions | None = None,
        watch: Watch | None = None,
        breaker: BreakerPolicy | None = None,
    ) -> None:
        super().__init__(open_client, remote)
        self._breaker_policy = BreakerPolicy() if breaker is None else breaker
        self._index = Index(self.instances)
        self._running_discoveries: set[str] = set()
        self._background = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._unstarted: list[Callable[[], Awaitable[None]]] = []
        self._breakers = Breakers(self, self._breaker_policy, self._start_soon)
        self._leases = Leases(self, self._index, self._breakers, lambda: bool(self._running_discoveries))
        self._pulse = Pulse(self, Watch() if watch is None else watch, self._breakers, self._start_soon)

    def __repr__(self) -> str:
        return f"<Registry {len(self.instances)} instances seq={self._seq}>"

    def statistics(self) -> RegistryStatistics:
        """What has been seen so far, in one frozen value."""
        return RegistryStatistics(
            events=self._seq,
            registered=self._counts[Registered],
            unregistered=self._counts[Unregistered],
            by_state=Counter(entry.state for entry in self.instances.values()),
            by_health=Counter(entry.health for entry in self.instances.values()),
            leases_taken=self._leases.taken,
            leases_lost=self._leases.lost,
            waiting=self._leases.waiting,
        )

    def capacity(self) -> CapacityReport:
        """How many places there are, and how many of them are in use."""
        return report_capacity(
            self.instances.values(),
            discoveries=self._discoveries.values(),
            waiting=self._leases.waiting,
            breakers=self._breakers.kept,
        )

    @property
    def waiting(self) -> int:
        """How many wait for a lease."""
        return self._leases.waiting

    def count_waiting_for(self, entries: Sequence[Entry]) -> int:
        """How many of those who wait would take one of these instances, were it free."""
        return self._leases.count_waiting_for(entries)

    # --- choosing ------------------------------------------------------------------------------------

    def select(
        self, criteria: Criteria = ANY, strategy: Strategy = LEAST_LOADED, *, alternatives: int = 3
    ) -> Selection:
        """Which instance would be taken now, why, and what comes next. For a rotation, that counts as a turn.

        Nothing is reserved by it: that is what :meth:`acquire` is for.

        Raises:
            NoMatchingInstance: nobody is what the criteria ask for; it says which one was too much.
        """
        return self._index.select(criteria, strategy, alternatives=alternatives)

    def acquire(
        self, criteria: Criteria = ANY, strategy: Strategy = LEAST_LOADED, *, timeout: float | None = None
    ) -> AbstractAsyncContextManager[Lease]:
        """A place on an instance, kept for the body of an ``async with``.

        When all that match are taken, it waits, and those who wait are served in the order they came. When the instance
        is lost (its process ends, it is stopped or unregistered), the body is cancelled; a client in it may say so first,
        with :class:`ProcessExited` or :class:`ConnectionClosed`. The lease is given back exactly once, whatever happens.

        Args:
            criteria: what the instance must be.
            strategy: which of those.
            timeout: how many seconds to wait at most; ``None`` for as long as it takes.

        Raises:
            NoMatchingInstance: no member is of that kind, and no discovery is running that might bring one.
            AcquireTimeout: none had room in time.
            LeaseLost: the instance was lost during the body.
        """
        return self._acquire(criteria, strategy, timeout)

    def _acquire(
        self, criteria: Criteria, strategy: Strategy, timeout: float | None, *, newcomers: bool = True
    ) -> AbstractAsyncContextManager[Lease]:
        return Holding(self._leases, lambda: self._leases.acquire(criteria, strategy, timeout, newcomers=newcomers))

    def lease(self, instance_id: str, *, well: bool = False) -> AbstractAsyncContextManager[Lease]:
        """A place on this very instance, kept for the body of an ``async with``; see :meth:`acquire`.

        With ``well``, only if it is not unhealthy and its breaker is closed. Without, somebody may look what it has.

        Raises:
            InstanceNotFound: there is none with this id.
            NoMatchingInstance: it does not run, is about to be ended, has no room, or is not well.
            LeaseLost: the instance was lost during the body.
        """
        return Holding(self._leases, lambda: self._leases.acquire_from(instance_id, well=well))

    async def run(
        self,
        prompt: str,
        criteria: Criteria = ANY,
        strategy: Strategy = LEAST_LOADED,
        *,
        timeout: float | None = None,
        acquire_timeout: float | None = None,
        attempts: int = 3,
    ) -> Reply:
        """Acquire an instance, run the prompt on it, give it back; return the reply.

        When the instance turns out to be unreachable, is lost, or refuses the prompt, before anything was started, another
        of the members is tried, ``attempts`` in all. What was started is never started again: the model may have acted already.

        Args:
            prompt: what to do.
            criteria: what the instance must be.
            strategy: which of those.
            timeout: how many seconds the run may take.
            acquire_timeout: how many seconds to wait for an instance.
            attempts: how many instances to try.

        Raises:
            NoMatchingInstance, AcquireTimeout, LeaseLost: as :meth:`acquire`.
            RunFailed, RunTimeout, CommandFailed, ProcessExited, ConnectionClosed: as :meth:`PiClient.send`.
        """
        return await run_somewhere(
            self, prompt, criteria, strategy, timeout=timeout, acquire_timeout=acquire_timeout, attempts=attempts
        )

    # --- how they are --------------------------------------------------------------------------------

    async def check_health(self, instance_id: str) -> HealthReport:
        """Ask an instance now, by a real request, how it is.

        What comes of it is published for an instance that is not supervised here. One that is has a supervisor for that,
        which goes by its own probes. Whoever asks for it is obeyed, whatever the breaker says: an answer closes it, and
        while it is open, none changes nothing.

        Raises:
            InstanceNotFound: there is none with this id.
        """
        return await self._pulse.check(instance_id)

    def last_report(self, instance_id: str) -> HealthReport | None:
        """What came of it when an instance was last asked that is not supervised here; ``None`` before that."""
        return self._pulse.last(instance_id)

    async def check_all(self) -> tuple[HealthReport, ...]:
        """Ask all of them now, side by side, as many at once as :class:`Watch` says; in the order they were registered."""
        reports: dict[str, HealthReport] = {}

        async def check(name: str) -> None:
            async with self.turn(name):
                if name in self._members:  # not gone meanwhile
                    reports[name] = await self.check_health(name)

        names = [name for name in self.instances if name in self._members]
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(check, name)
        return tuple(reports[name] for name in names if name in reports)

    def turn(self, instance_id: str) -> AbstractAsyncContextManager[object]:
        """A place among those that are asked at once: as :class:`Watch` says, for those that are not supervised here."""
        return self._pulse.turn() if self.is_elsewhere(instance_id) else nullcontext()

    def count_missed(self, instance_ids: Iterable[str], error: str | None) -> None:
        """Nobody answered where these are reached, too."""
        for name in instance_ids:
            self._pulse.missed(name, error)

    def found_again(self, instance_ids: Iterable[str]) -> None:
        """Whoever found these has got through again, having failed before."""
        self._breakers.news(instance_ids)

    def report_success(self, instance_id: str) -> None:
        """Tell the breaker of where the instance is reached that it worked."""
        self._breakers.succeeded(instance_id)

    def report_failure(self, instance_id: str) -> None:
        """Tell the breaker of where the instance is reached that it could not be, or broke down."""
        self._breakers.failed(instance_id)

    def _begin_watching(self, member: Member, found: Found) -> None:
        endpoint = endpoint_of(found.instance_id, found.profile)
        self._breakers.joined(found.instance_id, endpoint)
        self._start_soon(lambda: self._pulse.watch(member, found.instance_id, endpoint))

    def _end_watching(self, member: Member, found: Found) -> None:
        member.watching.cancel()
        self._pulse.forget(found.instance_id)
        self._breakers.left(found.instance_id, endpoint_of(found.instance_id, found.profile))

    # --- finding others ------------------------------------------------------------------------------

    @asynccontextmanager
    async def discover(self, *discoveries: Discovery, breaker: BreakerPolicy | None = None) -> AsyncIterator[None]:
        """Run discoveries for the body. What they found is unregistered behind it.

        One that fails is run again when its breaker allows; that and what it finds is told in events.

        Raises:
            ValueError: two of them have one name, or one by that name is running.
            trio.ClosedResourceError: the registry is over.
        """
        names = [discovery.name for discovery in discoveries]
        if len(set(names)) < len(names) or self._running_discoveries & set(names):
            raise ValueError(f"each discovery needs a name of its own: {', '.join(names)}")
        policy = self._breaker_policy if breaker is None else breaker
        running = trio.CancelScope()

        async def stop(_: BaseException | None) -> None:
            running.cancel()

        async def run_all() -> None:
            with running:
                async with trio.open_nursery() as nursery:
                    for discovery in discoveries:
                        nursery.start_soon(run_discovery, self, discovery, sender.clone(), policy)

        with self.sender() as sender:
            self._running_discoveries.update(names)
            try:
                async with open_service_nursery(stop) as service:
                    service.start_soon(run_all, name=f"discoveries {', '.join(names)}")
                    yield
            finally:
                self._running_discoveries.difference_update(names)
                with trio.CancelScope(shield=True):  # what they found is gone behind the body, not soon after
                    await self.catch_up(sender)
                self._leases.settle(())  # those who waited for what they might bring

    # --- the task ------------------------------------------------------------------------------------

    def _start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        if self._background.cancel_called:
            return  # everything is about to be stopped
        if self._nursery is None:
            self._unstarted.append(task)
        else:
            self._nursery.start_soon(task)

    async def serve(self) -> None:
        """Take events in until every sender was closed; watch those that nobody else watches. To be run by one task."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_background)
            await self._take_in()
            self._background.cancel()

    async def _serve_background(self) -> None:
        with self._background:
            async with trio.open_nursery() as self._nursery:
                for task in self._unstarted:
                    self._nursery.start_soon(task)
                self._unstarted.clear()
                await trio.sleep_forever()

    def quiesce(self) -> None:
        """Stop watching and probing: everything is about to be stopped."""
        self._background.cancel()

    def _settle(self, changes: Sequence[Change]) -> None:
        for name, _, after in changes:
            self._index.changed(name, after)
        self._leases.tell_lost(changes)  # before anybody is given who came by the same name
        self._breakers.settle(changes)  # before anybody who waits is given what is left alone
        self._leases.settle(changes)
