"""Capacity that is really kept: who has which instance, and who waits for one."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING

import attrs
import trio

from ..client import PiClient
from ..errors import AcquireTimeout, ConnectionClosed, InstanceNotFound, LeaseLost, NoMatchingInstance
from ..lifecycle import CapacityChanged, InstanceState
from .breakers import Breakers
from .ledger import Change
from .reservations import Reservations
from .selection import Criteria, Index, Strategy, hindrance
from .table import Entry

if TYPE_CHECKING:
    from .registry import Registry

__all__ = ["Holding", "Lease", "Leases"]


class Lease:
    """One place on one instance, for as long as its ``async with`` lasts."""

    def __init__(self, registry: Registry, entry: Entry) -> None:
        self._registry = registry
        self._counted = True  # in the `in_use` of the entry that is in the table
        self._held = True
        self._scope = trio.CancelScope()  # around the body; cancelled when the lease is lost
        self._blamed = False
        self.entry = entry
        """The instance, as it was when the lease was taken."""
        self.lost: str | None = None
        """Why the lease is lost; ``None`` while it is not."""

    def __repr__(self) -> str:
        state = "held" if self._held else "given back"
        return f"<Lease of {self.instance_id} {'lost' if self.lost is not None else state}>"

    @property
    def instance_id(self) -> str:
        """Which instance."""
        return self.entry.instance_id

    def blame(self) -> None:
        """Count this as a failure of the instance, however the body ends: see its breaker."""
        self._blamed = True

    def open_client(self) -> AbstractAsyncContextManager[PiClient]:
        """The instance's client: that of its supervisor, or one that is connected for the body.

        Raises:
            ClientError, OSError: it cannot be reached.
        """
        if self.lost is not None:
            raise ConnectionClosed(f"{self.instance_id} is gone: {self.lost}")
        try:
            return self._registry.open_client(self.instance_id)
        except InstanceNotFound as error:  # its end is on its way into the table
            raise ConnectionClosed(f"{self.instance_id} is gone") from error


@attrs.define(eq=False)
class _Waiter:
    criteria: Criteria
    strategy: Strategy
    newcomers: bool
    task: trio.lowlevel.Task
    result: Lease | NoMatchingInstance | None = None


class Holding(AbstractAsyncContextManager[Lease]):
    """Holds a lease for a body: gives it back exactly once, whatever happens, and ends the body when it is lost.

    A class, and not a generator in a decorator: half of what an undisputed lease costs would be that.
    """

    def __init__(self, leases: Leases, get: Callable[[], Awaitable[Lease]]) -> None:
        self._leases = leases
        self._get = get

    async def __aenter__(self) -> Lease:
        self._lease = lease = await self._get()
        lease._scope.__enter__()  # no checkpoint since it was taken
        return lease

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        lease, left = self._lease, error
        try:
            if lease._scope.__exit__(kind, error, traceback):
                left = None
        except BaseException as rest:  # what else there was in a group with the cancellation
            left = rest
        # One that was lost did not work, though nothing is left of the cancellation that ended its body.
        self._leases.give_back(lease, error if left is None else left)
        if lease.lost is not None and error is not None and (left is None or _only_tells_that_it_is_gone(left)):
            raise LeaseLost(lease.instance_id, lease.lost) from left
        if left is not None and left is not error:
            raise left
        return False


class Leases:
    """Which leases there are, and who waits for one. Everything but the waiting is done at once, without a checkpoint.

    Whenever anything changes, those who wait are served in the order they came, each by its own criteria. So when
    somebody new finds an instance with room, nobody who waits could have used it, and nobody is overtaken. For who waits
    for more than one free place, an instance is kept meanwhile: see :class:`Reservations`.
    """

    def __init__(self, registry: Registry, index: Index, breakers: Breakers, may_come: Callable[[], bool]) -> None:
        self._registry = registry
        self._index = index
        self._may_come = may_come
        self._breakers = breakers
        self._held: dict[str, set[Lease]] = {}
        self._waiting: dict[_Waiter, None] = {}
        self._reservations = Reservations(registry.instances)
        self._serving = False
        self.taken = 0
        """How many leases have been taken so far."""
        self.lost = 0
        """How many of them were lost."""

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._waiting)

    def count_waiting_for(self, entries: Sequence[Entry]) -> int:
        """See :meth:`Registry.count_waiting_for`."""
        return sum(any(map(waiter.criteria.fits, entries)) for waiter in self._waiting)

    async def acquire(
        self, criteria: Criteria, strategy: Strategy, timeout: float | None, *, newcomers: bool = True
    ) -> Lease:
        """Take a lease, or wait for one. A cancelled call has none. Raises as :meth:`Registry.acquire`.

        ``newcomers`` says whether there is hope where no member fits, but a discovery is running that may bring one.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        entry = self._first(criteria, strategy, self._reservations.names)
        if entry is not None:
            lease = self.take(entry)
            try:
                await trio.lowlevel.cancel_shielded_checkpoint()
            except BaseException as error:  # a KeyboardInterrupt
                self.give_back(lease, error)
                raise
            return lease
        if not self._hopeful(criteria, newcomers):
            raise self._index.nobody(criteria)
        with trio.move_on_after(math.inf if timeout is None else timeout):
            return await self._wait(criteria, strategy, newcomers)
        raise AcquireTimeout(timeout or 0.0, waiting=len(self._waiting))

    def _first(self, criteria: Criteria, strategy: Strategy, kept: frozenset[str]) -> Entry | None:
        if kept:
            criteria = attrs.evolve(criteria, exclude=criteria.exclude | kept)
        return self._index.first(criteria, strategy)

    async def _wait(self, criteria: Criteria, strategy: Strategy, newcomers: bool) -> Lease:
        waiter = _Waiter(criteria, strategy, newcomers, trio.lowlevel.current_task())
        self._waiting[waiter] = None
        if criteria.min_free > 1:
            self._serve()  # nobody can be, but something is kept for this one
        self._registry._look()  # whoever spawns for those who wait

        def give_up(_: object) -> trio.lowlevel.Abort:
            del self._waiting[waiter]
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            # Who was given a lease is not cancelled any more before this returns.
            await trio.lowlevel.wait_task_rescheduled(give_up)
        finally:
            if self._reservations.forget(waiter):  # it gave up; until now nobody new could take what was kept for it
                self._serve()
        if isinstance(waiter.result, NoMatchingInstance):
            raise waiter.result
        assert waiter.result is not None
        return waiter.result

    def _hopeful(self, criteria: Criteria, newcomers: bool) -> bool:
        return self._index.any_fits(criteria) or (newcomers and self._may_come())

    def take(self, entry: Entry) -> Lease:
        """Take one place on this instance, which must have room."""
        lease = Lease(self._registry, entry)
        self._held.setdefault(entry.instance_id, set()).add(lease)
        self.taken += 1
        self._registry.enter(CapacityChanged(entry.instance_id, trio.current_time(), entry.in_use + 1))
        return lease

    async def acquire_from(self, instance_id: str, *, well: bool = False) -> Lease:
        """Take one place on the instance with this id. A cancelled call has none. See :meth:`Registry.lease`.

        Raises:
            InstanceNotFound: there is none.
            NoMatchingInstance: it cannot be had.
        """
        await trio.lowlevel.checkpoint()
        entry = self._registry.instances.get(instance_id)
        if entry is None:
            raise InstanceNotFound(instance_id, known=tuple(self._registry.instances))
        criterion = hindrance(entry, well=well)
        if criterion is not None:
            raise NoMatchingInstance(criterion, passed=(("registered", 1), (criterion, 0)))
        return self.take(entry)

    def give_back(self, lease: Lease, error: BaseException | None) -> None:
        """The lease is over; ``error`` is how its body ended."""
        assert lease._held
        lease._held = False
        held = self._held[lease.instance_id]
        held.discard(lease)
        if not held:
            del self._held[lease.instance_id]
        if lease._counted:
            failed = lease._blamed or (error is not None and _only_tells_that_it_is_gone(error))
            if failed:  # before its place is free: who waits is not to get one that has just failed once too often
                self._breakers.failed(lease.instance_id)
            entry = self._registry.instances[lease.instance_id]
            self._registry.enter(CapacityChanged(lease.instance_id, trio.current_time(), entry.in_use - 1))
            if error is None and not failed:
                self._breakers.succeeded(lease.instance_id)

    def tell_lost(self, changes: Sequence[Change]) -> None:
        """Tell those whose instance is gone."""
        for name, before, after in changes:
            if name in self._held and before is not None:
                self._check_held(name, before, after)

    def settle(self, changes: Sequence[Change]) -> None:
        """Serve those who wait."""
        if self._waiting and not self._serving:
            # Whoever hoped for one may have to be told only when one has gone, or has become another.
            self._serve(
                tell_hopeless=not changes or any(_is_another(before, after) for _, before, after in changes),
                changed=tuple(name for name, _, _ in changes),
            )

    def _check_held(self, name: str, before: Entry, after: Entry | None) -> None:
        if after is None:
            self._lose(name, "it was unregistered", counted=False)
        elif before.state is InstanceState.RUNNING and after.state is not InstanceState.RUNNING:
            self._lose(name, f"it is {after.state}{': ' + after.reason if after.reason else ''}", counted=True)

    def _lose(self, name: str, why: str, *, counted: bool) -> None:
        for lease in self._held[name]:
            lease._counted = lease._counted and counted
            if lease.lost is None:
                lease.lost = why
                self.lost += 1
                lease._scope.cancel()

    def _serve(self, *, tell_hopeless: bool = False, changed: Sequence[str] = ()) -> None:
        self._serving = True
        try:
            self._serve_all(tell_hopeless, changed)
        finally:
            self._serving = False

    def _serve_all(self, tell_hopeless: bool, changed: Sequence[str]) -> None:
        in_vain: set[tuple[Criteria, bool]] = set()
        kept: frozenset[str] = frozenset()  # for those who came before
        for waiter in tuple(self._waiting):
            criteria = waiter.criteria
            if (criteria, waiter.newcomers) in in_vain:
                continue  # where nobody matches, no strategy finds anybody
            entry = self._first(criteria, waiter.strategy, kept)
            if entry is not None:
                self._answer(waiter, self.take(entry))
            elif tell_hopeless and not self._hopeful(criteria, waiter.newcomers):
                self._answer(waiter, self._index.nobody(criteria))
            else:
                in_vain.add((criteria, waiter.newcomers))
                if criteria.min_free > 1:
                    name = self._reservations.renew(waiter, criteria, kept, changed)
                    kept = kept if name is None else kept | {name}

    def _answer(self, waiter: _Waiter, result: Lease | NoMatchingInstance) -> None:
        del self._waiting[waiter]
        self._reservations.forget(waiter)
        waiter.result = result
        trio.lowlevel.reschedule(waiter.task)


def _is_another(before: Entry | None, after: Entry | None) -> bool:
    return after is None or (before is not None and (before.provider, before.model) != (after.provider, after.model))


def _only_tells_that_it_is_gone(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_only_tells_that_it_is_gone(each) for each in error.exceptions)
    return isinstance(error, ConnectionClosed)
