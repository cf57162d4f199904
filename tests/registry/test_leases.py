"""Leases: never more than there is room for, in the order of asking, and given back exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import attrs
import pytest
import trio
import trio._core._run
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from pi_trio.errors import (
    AcquireTimeout,
    ConnectionClosed,
    InstanceNotFound,
    LeaseLost,
    NoMatchingInstance,
)
from pi_trio.lifecycle import (
    BreakerPolicy,
    Health,
    HealthChanged,
    HealthPolicy,
    InstanceState,
    RegistryEvent,
    Retired,
)
from pi_trio.registry import Criteria, Lease, LeastLoaded, Registry, Sticky, Watch, report_capacity
from tests.concurrency.virtual import is_stuck, run
from tests.registry.members import Remote, found, moved, open_registry

ANY = Criteria()
RARELY = Watch(health=HealthPolicy(period=100_000.0))


def in_use(registry: Registry) -> dict[str, int]:
    return {name: entry.in_use for name, entry in registry.instances.items()}


def test_a_lease_counts_while_it_lasts() -> None:
    async def main() -> None:
        async with open_registry(found("a", room=2)) as registry:
            async with registry.acquire() as lease:
                assert lease.instance_id == "a"
                assert in_use(registry) == {"a": 1}
                async with registry.acquire():
                    assert registry.capacity().total.free == 0
                    assert registry.statistics().leases_taken == 2
            assert in_use(registry) == {"a": 0}

    run(main)


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), ConnectionClosed("gone")])
def test_what_the_body_raises_comes_out_and_the_lease_is_given_back(error: BaseException) -> None:
    async def main() -> None:
        async with open_registry(found("a")) as registry:
            with pytest.raises(type(error)) as caught:
                async with registry.acquire():
                    raise error
            assert caught.value is error
            assert in_use(registry) == {"a": 0}

    run(main)


def test_who_waits_is_served_in_the_order_of_asking() -> None:
    async def main() -> None:
        served: list[int] = []
        async with open_registry(found("a")) as registry:

            async def want(number: int) -> None:
                async with registry.acquire():
                    served.append(number)
                    await trio.sleep(1)

            async with trio.open_nursery() as nursery:
                for number in range(5):
                    nursery.start_soon(want, number)
                    await wait_all_tasks_blocked()
                assert registry.waiting == 4
            assert served == [0, 1, 2, 3, 4]
            assert registry.waiting == 0

    run(main)


def test_who_waits_for_something_else_holds_nobody_up() -> None:
    async def main() -> None:
        async with open_registry(found("a", provider="p"), found("b", provider="q")) as registry:
            async with registry.acquire(Criteria(provider="p")), trio.open_nursery() as nursery:

                async def want_p() -> None:
                    async with registry.acquire(Criteria(provider="p")):
                        pass

                nursery.start_soon(want_p)
                await wait_all_tasks_blocked()
                async with registry.acquire(Criteria(provider="q")) as lease:
                    assert lease.instance_id == "b"
                nursery.cancel_scope.cancel()

    run(main)


def test_who_waits_behind_somebody_who_waits_for_something_else_is_served() -> None:
    async def main() -> None:
        async with open_registry(found("a", provider="p"), found("b", provider="q")) as registry:
            served: list[str] = []

            async def want(provider: str) -> None:
                async with registry.acquire(Criteria(provider=provider)) as lease:
                    served.append(lease.instance_id)

            async with trio.open_nursery() as nursery, registry.lease("a"):
                async with registry.lease("b"):
                    for provider in "pq":
                        nursery.start_soon(want, provider)
                        await wait_all_tasks_blocked()
                await wait_all_tasks_blocked()
                assert served == ["b"]
            assert served == ["b", "a"]

    run(main)


def test_nobody_who_comes_later_overtakes() -> None:
    async def main() -> None:
        async with open_registry(found("a")) as registry:
            order: list[str] = []

            async def want(name: str) -> None:
                async with registry.acquire():
                    order.append(name)

            async with trio.open_nursery() as nursery:
                async with registry.acquire():
                    nursery.start_soon(want, "first")
                    await wait_all_tasks_blocked()
                # It is free now, and has been promised: who asks at this very moment comes behind.
                await want("second")
            assert order == ["first", "second"]

    run(main)


def test_a_timeout_ends_the_waiting() -> None:
    async def main() -> None:
        async with open_registry(found("a")) as registry:
            async with registry.acquire():
                began = trio.current_time()
                with pytest.raises(AcquireTimeout) as caught:
                    async with registry.acquire(timeout=3):
                        raise AssertionError
                assert trio.current_time() - began == pytest.approx(3)
                assert (caught.value.timeout, caught.value.waiting) == (3, 0)
            async with registry.acquire(timeout=0):
                pass

    run(main)


def test_nobody_of_that_kind_is_told_at_once_and_also_while_waiting() -> None:
    async def main() -> None:
        async with open_registry(found("a", provider="p")) as registry:
            with pytest.raises(NoMatchingInstance) as caught:
                async with registry.acquire(Criteria(provider="q")):
                    raise AssertionError
            assert caught.value.criterion == "provider"

            told: list[str] = []

            async def want() -> None:
                with pytest.raises(NoMatchingInstance) as caught:
                    async with registry.acquire(Criteria(provider="p")):
                        raise AssertionError
                told.append(caught.value.criterion)

            async with trio.open_nursery() as nursery:
                with pytest.raises(LeaseLost):
                    async with registry.acquire():
                        nursery.start_soon(want)
                        await wait_all_tasks_blocked()
                        assert registry.waiting == 1
                        registry.unregister("a", "no more")
                        await trio.sleep(1)
            assert told == ["registered"]

    run(main)


@pytest.mark.parametrize("how", ["state", "unregistered", "anew"])
def test_a_lease_is_lost_with_its_instance(how: str) -> None:
    async def main() -> None:
        async with open_registry(found("a")) as registry:

            def lose() -> None:
                if how == "state":
                    registry.enter(moved("a", InstanceState.BACKING_OFF, "it died"))
                elif how == "unregistered":
                    registry.unregister("a", "told to go")
                else:
                    registry.enter_found(found("a"))

            with pytest.raises(LeaseLost) as caught:
                async with registry.acquire() as lease:
                    lose()
                    assert lease.lost
                    await trio.sleep(100)
                    raise AssertionError
            assert caught.value.instance_id == "a"
            assert in_use(registry) == ({} if how == "unregistered" else {"a": 0})
            assert registry.statistics().leases_lost == 1

    run(main)


def test_a_lost_lease_explains_what_the_client_said() -> None:
    async def main() -> None:
        async with open_registry(found("a")) as registry:
            with pytest.raises(LeaseLost) as caught:
                async with registry.acquire():
                    registry.enter(moved("a", InstanceState.STOPPING, "was stopped"))
                    raise ConnectionClosed("a was stopped")
            assert isinstance(caught.value.__cause__, ConnectionClosed)
            registry.enter_found(found("b"))
            with pytest.raises(ValueError, match="mine"):
                async with registry.lease("b"):
                    registry.enter(moved("b", InstanceState.STOPPING))
                    raise ValueError("mine")

    run(main)


def test_to_reach_what_is_gone_is_a_loss_too() -> None:
    async def main() -> None:
        async with open_registry(found("a")) as registry:
            with pytest.raises(LeaseLost):
                async with registry.acquire() as lease:
                    registry.unregister("a")
                    registry.register(found("a"), open_client=Remote().open)  # another one
                    lease.open_client()
            registry.enter_found(found("b"))  # its supervisor is done, though that is not in the table yet
            with pytest.raises(ConnectionClosed):
                async with registry.lease("b") as lease:
                    lease.open_client()

    run(main)


def test_a_body_that_was_done_before_it_noticed_has_lost_nothing() -> None:
    async def main() -> None:
        async with open_registry(found("a")) as registry:
            async with registry.acquire() as lease:
                registry.unregister("a")
            assert lease.lost

    run(main)


def test_a_cancelled_caller_is_cancelled_and_not_told_of_a_loss() -> None:
    async def main() -> None:
        async with open_registry(found("a")) as registry:
            with trio.CancelScope() as scope:
                async with registry.acquire():
                    scope.cancel()
                    await trio.sleep(1)
            assert scope.cancelled_caught
            assert in_use(registry) == {"a": 0}

    run(main)


def test_a_lease_of_this_very_instance() -> None:
    async def main() -> None:
        async with open_registry(found("a"), found("b", selectable=False)) as registry:
            async with registry.lease("b") as lease:
                assert lease.instance_id == "b"
                with pytest.raises(NoMatchingInstance):
                    async with registry.lease("b"):
                        raise AssertionError
            with pytest.raises(InstanceNotFound):
                async with registry.lease("c"):
                    raise AssertionError

    run(main)


@pytest.mark.parametrize(
    ("criterion", "at_all"), [("health", True), ("breaker", True), ("state", False), ("retired", False)]
)
def test_a_lease_of_this_very_instance_if_it_is_well(criterion: str, at_all: bool) -> None:
    async def main() -> None:
        async with open_registry(found("a", room=2)) as registry:
            registry.quiesce()
            async with registry.lease("a", well=True):
                pass
            now = trio.current_time()
            if criterion == "breaker":
                for _ in range(3):
                    registry.report_failure("a")
            else:
                events: dict[str, RegistryEvent] = {
                    "health": HealthChanged("a", now, 0, Health.UNHEALTHY, None),
                    "state": moved("a", InstanceState.STOPPING),
                    "retired": Retired("a", now),
                }
                registry.enter(events[criterion])
            for well in (True, False):
                if at_all and not well:
                    async with registry.lease("a"):
                        continue
                with pytest.raises(NoMatchingInstance) as caught:
                    async with registry.lease("a", well=well):
                        raise AssertionError
                assert caught.value.criterion == criterion

    run(main)


def test_who_has_a_lease_of_one_that_is_retired_keeps_it() -> None:
    async def main() -> None:
        async with open_registry(found("a", room=2)) as registry:
            async with registry.acquire() as lease:
                registry.enter(Retired("a", trio.current_time(), "it is to go"))
                await trio.sleep(1)
                assert (lease.lost, registry.get("a").in_use) == (None, 1)
                with pytest.raises(AcquireTimeout):
                    async with registry.acquire(timeout=1):
                        raise AssertionError
            assert registry.get("a").in_use == 0

    run(main)


def test_leases_teach_the_breaker() -> None:
    async def main() -> None:
        async with open_registry() as registry:
            registry.enter_found(found("a"))

            async def lease_and(*errors: Exception) -> None:
                for error in errors:
                    with pytest.raises(type(error)):
                        async with registry.lease("a"):
                            raise error

            gone = ConnectionClosed("gone")
            await lease_and(gone, ExceptionGroup("of a nursery", [gone, gone]), ValueError("not its fault"))
            assert registry.get("a").breaker.failures == 2
            async with registry.lease("a"):
                pass
            assert registry.get("a").breaker.failures == 0
            await lease_and(gone, gone, gone)
            assert str(registry.get("a").breaker.state) == "open"
            with pytest.raises(NoMatchingInstance, match="breaker"):
                registry.select()

    run(main)


def test_who_waits_is_not_given_what_has_just_broken_down() -> None:
    async def main() -> None:
        policy = BreakerPolicy(failures=1, reset_timeout=20.0)
        async with open_registry(breaker=policy) as registry, trio.open_nursery() as nursery:
            registry.enter_found(found("a"))
            served: list[float] = []

            async def want() -> None:
                async with registry.acquire():
                    served.append(trio.current_time())

            with pytest.raises(ConnectionClosed):
                async with registry.acquire():
                    nursery.start_soon(want)
                    await wait_all_tasks_blocked()
                    raise ConnectionClosed("gone")
            await wait_all_tasks_blocked()
            assert served == []
            registry.report_success("a")
            await wait_all_tasks_blocked()
            assert served == [0.0]

    run(main)


def test_its_client_is_opened_for_a_body() -> None:
    async def main() -> None:
        async with open_registry(found("a")) as registry:
            async with registry.acquire() as lease, lease.open_client() as client:
                assert (await client.get_state()).session_id == "s"

    run(main)


# --- who waits for more than one free place ----------------------------------------------------------

ROOMY = Criteria(min_free=2)


async def busy(registry: Registry, first: float, criteria: Criteria = ANY) -> None:
    """Take a lease, and another, and another, for ever."""
    await trio.sleep(first)
    while True:
        async with registry.acquire(criteria):
            await trio.sleep(2)


def test_who_waits_for_much_room_is_not_starved_by_those_who_want_little() -> None:
    async def main() -> None:
        async with open_registry(found("a", room=2), watch=RARELY) as registry, trio.open_nursery() as nursery:
            for first in (0.0, 1.0):  # there is always one of them there
                nursery.start_soon(busy, registry, first)
            await trio.sleep(10.5)
            async with registry.acquire(ROOMY, timeout=100):
                assert trio.current_time() == pytest.approx(12)
            await trio.sleep(1)
            assert in_use(registry)["a"] == 2, "and the others go on"
            nursery.cancel_scope.cancel()

    run(main)


def test_who_waits_for_much_room_holds_up_one_instance_and_no_more() -> None:
    async def main() -> None:
        members = [found(name, room=2) for name in "abc"]
        async with open_registry(*members, watch=RARELY) as registry, trio.open_nursery() as nursery:
            async with registry.lease("a"), registry.lease("b"), registry.lease("c"):  # and none of these ever ends
                nursery.start_soon(wait_for, registry, ROOMY)
                await wait_all_tasks_blocked()
                async with registry.acquire() as one, registry.acquire() as other:
                    kept = {"a", "b", "c"} - {one.instance_id, other.instance_id}
                    assert len(kept) == 1
                    with pytest.raises(AcquireTimeout):
                        async with registry.acquire(timeout=5):
                            raise AssertionError
                    # Who asks for this very instance does not stand in the line.
                    async with registry.lease(*kept):
                        pass
                    assert registry.waiting == 1
                nursery.cancel_scope.cancel()

    run(main)


@pytest.mark.parametrize("how", ["unregistered", "down", "broken", "unhealthy"])
def test_what_is_kept_for_somebody_is_another_when_that_one_is_of_no_use(how: str) -> None:
    async def main() -> None:
        members = [found("a", room=3), found("b", room=2), found("c", room=2)]
        policy = BreakerPolicy(failures=1, reset_timeout=1000.0)
        async with open_registry(*members, watch=RARELY, breaker=policy) as registry, trio.open_nursery() as nursery:
            for name in "aabc":
                nursery.start_soon(hold, registry, name)
            await wait_all_tasks_blocked()
            nursery.start_soon(wait_for, registry, ROOMY)
            await wait_all_tasks_blocked()
            assert await taken(registry) == ["b", "c"], "the first of equals is kept"
            if how == "unregistered":
                registry.unregister("a")
            elif how == "down":
                registry.enter(moved("a", InstanceState.BACKING_OFF))
            elif how == "broken":
                registry.report_failure("a")
            else:
                registry.enter(HealthChanged("a", trio.current_time(), 0, Health.UNHEALTHY, None))
            await wait_all_tasks_blocked()
            assert await taken(registry) == ["c"]
            nursery.cancel_scope.cancel()

    run(main)


def test_what_may_be_kept_for_somebody_later_is_found_when_it_comes() -> None:
    async def main() -> None:
        async with open_registry(found("a", room=2), watch=RARELY) as registry, trio.open_nursery() as nursery:
            registry.enter(moved("a", InstanceState.BACKING_OFF))
            nursery.start_soon(wait_for, registry, ROOMY)
            nursery.start_soon(wait_for, registry, Criteria(min_free=2, provider=None, exclude={"z"}))
            await wait_all_tasks_blocked()
            for name in "bc":
                registry.register(found(name, room=2), open_client=Remote().open)
                nursery.start_soon(hold, registry, name)  # these have not run when those who wait are served
            await wait_all_tasks_blocked()
            assert registry.waiting == 0
            for name in "bc":
                nursery.start_soon(wait_for, registry, Criteria(min_free=2, exclude={name}))
            await wait_all_tasks_blocked()
            assert registry.waiting == 2
            assert await taken(registry) == []
            registry.enter(moved("a", InstanceState.RUNNING))
            await wait_all_tasks_blocked()
            assert registry.waiting == 0
            nursery.cancel_scope.cancel()

    run(main)


@pytest.mark.parametrize("how", ["cancelled", "timeout"])
def test_what_was_kept_is_free_for_those_behind_when_somebody_gives_up(how: str) -> None:
    async def main() -> None:
        served: list[str] = []
        async with open_registry(found("a", room=2), watch=RARELY) as registry, trio.open_nursery() as nursery:

            async def want(name: str) -> None:
                async with registry.acquire():
                    served.append(name)
                    await trio.sleep(1)

            async with registry.lease("a"):
                giving_up = trio.CancelScope()

                async def give_up() -> None:
                    with giving_up, pytest.raises(AcquireTimeout):
                        await wait_for(registry, ROOMY, timeout=5 if how == "timeout" else None)

                nursery.start_soon(give_up)
                await wait_all_tasks_blocked()
                nursery.start_soon(want, "first")
                await wait_all_tasks_blocked()
                assert (served, registry.waiting) == ([], 2)
                if how == "cancelled":
                    giving_up.cancel()
                    await trio.sleep(0.5)
                else:
                    await trio.sleep(5.5)
                assert served == ["first"]

    run(main)


def test_when_somebody_gives_up_nobody_new_comes_before_those_who_wait() -> None:
    async def main() -> None:
        served: list[str] = []
        async with open_registry(found("a", room=2), watch=RARELY) as registry, trio.open_nursery() as nursery:

            async def want(name: str, event: trio.Event | None = None) -> None:
                if event is not None:
                    await event.wait()
                async with registry.acquire():
                    served.append(name)
                    await trio.sleep(1)

            async with registry.lease("a"):
                for seed in range(20):  # in whichever order they run in that very turn
                    trio._core._run._r.seed(seed)
                    served.clear()
                    now = trio.Event()
                    with trio.CancelScope() as giving_up:
                        async with trio.open_nursery() as inner:
                            inner.start_soon(wait_for, registry, ROOMY)
                            await wait_all_tasks_blocked()
                            nursery.start_soon(want, "first")
                            await wait_all_tasks_blocked()
                            nursery.start_soon(want, "second", now)
                            await wait_all_tasks_blocked()
                            giving_up.cancel()
                            now.set()
                    await trio.sleep(10)
                    assert served == ["first", "second"]

    run(main)


def test_it_is_kept_against_those_who_came_later_not_against_those_before() -> None:
    async def main() -> None:
        served: list[str] = []
        async with open_registry(found("a", room=2), watch=RARELY) as registry, trio.open_nursery() as nursery:

            async def want(name: str, criteria: Criteria) -> None:
                async with registry.acquire(criteria):
                    served.append(name)
                    await trio.sleep(1)

            async with registry.lease("a"):
                async with registry.lease("a"):
                    for name, criteria in [("before", ANY), ("large", ROOMY), ("late", ANY)]:
                        nursery.start_soon(want, name, criteria)
                        await wait_all_tasks_blocked()
                await trio.sleep(5)
                assert served == ["before"]
            await trio.sleep(5)
            assert set(served[1:]) == {"large", "late"}, "there is room for both behind that"

    run(main)


async def taken(registry: Registry) -> list[str]:
    """Take what there is, one by one; give it all back. Which that was."""
    async with AsyncExitStack() as stack:
        names = list[str]()
        while True:
            try:
                names.append((await stack.enter_async_context(registry.acquire(timeout=1))).instance_id)
            except AcquireTimeout:
                return sorted(names)


async def wait_for(registry: Registry, criteria: Criteria, timeout: float | None = None) -> None:
    async with registry.acquire(criteria, timeout=timeout):
        pass


async def hold(registry: Registry, name: str) -> None:
    with suppress(LeaseLost):
        async with registry.lease(name):
            await trio.sleep_forever()


wishes = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 1.0, 2.0]),  # after the one before
        st.integers(1, 3),  # how much room
        st.sampled_from([0.5, 1.0, 3.0]),  # for how long
        st.sampled_from([None, "p"]),
    ),
    max_size=14,
)


@given(wishes, st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["p", "q"])), min_size=1, max_size=3))
def test_in_any_line_everybody_is_served_in_bounded_time_however_many_come_later(
    plan: list[tuple[float, int, float, str | None]], rooms: list[tuple[int, str]]
) -> None:
    def fits(size: int, provider: str | None) -> bool:
        return any(room >= size and provider in (None, its) for room, its in rooms)

    async def main() -> None:
        members = [found(f"i{number}", room=room, provider=its) for number, (room, its) in enumerate(rooms)]
        async with open_registry(*members, watch=RARELY) as registry, trio.open_nursery() as nursery:
            for number in range(sum(room for room, _ in rooms)):  # who never let all of it be free
                nursery.start_soon(busy, registry, 0.1 + number / 4)

            # Before it, each who came earlier has at most one lease, and those who take one after the other stand in the
            # line with one wish each: no lease lasts for more than 3 seconds.
            async def want(number: int, size: int, seconds: float, provider: str | None) -> None:
                bound = 3.0 * (number + 2 + sum(room for room, _ in rooms))
                async with registry.acquire(Criteria(min_free=size, provider=provider), timeout=bound):
                    await trio.sleep(seconds)

            async with trio.open_nursery() as callers:
                for number, (delay, size, seconds, provider) in enumerate(plan):
                    await trio.sleep(delay)
                    if fits(size, provider):
                        callers.start_soon(want, number, size, seconds, provider)
            nursery.cancel_scope.cancel()

    run(main)


# --- any number of callers, cancelled at any moment -----------------------------------------------


@attrs.define
class World:
    """What the callers did, held against what the registry says at every event."""

    registry: Registry
    room: int
    held: list[Lease] = attrs.field(factory=list)
    finished: int = 0

    async def call(self, wait: float, hold: float, strategy: Any, patience: float) -> None:
        await trio.sleep(wait)
        with trio.move_on_after(patience):
            try:
                async with self.registry.acquire(strategy=strategy) as lease:
                    self.held.append(lease)
                    try:
                        good = [each for each in self.held if each.lost is None]
                        assert max(Counter(each.instance_id for each in good).values(), default=0) <= self.room
                        await trio.sleep(hold)
                    finally:
                        self.held.remove(lease)
            except (LeaseLost, NoMatchingInstance):
                pass
        self.finished += 1

    async def judge(self) -> None:
        with self.registry.subscribe() as feed:
            async for _ in feed:
                for entry in self.registry.instances.values():
                    assert 0 <= entry.in_use <= entry.max_concurrent
                report = report_capacity(self.registry.instances.values())
                for part in (report.total, *report.by_region.values()):
                    assert part.in_use + part.free + part.unavailable == part.total


calls = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 1.0, 2.0]),
        st.sampled_from([0.0, 1.0, 3.0]),
        st.sampled_from([LeastLoaded(), Sticky("k")]),
        st.sampled_from([0.0, 1.0, 1.5, 100.0]),
    ),
    max_size=12,
)
troubles = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.sampled_from(["a", "b"]), st.sampled_from(["down", "up", "go"])
    ),
    max_size=6,
)


@given(calls, troubles, st.integers(1, 3), st.integers(0, 2**32))
def test_whatever_happens_nothing_is_leased_twice_and_all_comes_back(
    plan: list[tuple[float, float, Any, float]], trouble: list[tuple[float, str, str]], room: int, seed: int
) -> None:
    # Under Hypothesis, Trio would take the same turn in every example: draw the interleaving, too.
    trio._core._run._r.seed(seed)

    async def main() -> None:
        async with open_registry() as registry:
            world = World(registry, room)
            for name in ("a", "b", "c"):
                registry.enter_found(found(name, room=room))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.judge)
                async with trio.open_nursery() as callers:
                    for call in plan:
                        callers.start_soon(world.call, *call)
                    for delay, name, what in trouble:
                        await trio.sleep(delay)
                        if name not in registry.instances:
                            registry.enter_found(found(name, room=room))
                        elif what == "go":
                            registry.unregister(name)
                        else:
                            up = what == "up"
                            registry.enter(moved(name, InstanceState.RUNNING if up else InstanceState.BACKING_OFF))
                assert world.finished == len(plan)
                assert registry.waiting == 0
                assert set(in_use(registry).values()) <= {0}
                assert world.held == []
                async with registry.lease("c"):
                    pass  # and there is room again
                nursery.cancel_scope.cancel()

    run(main)


def test_waiting_is_a_checkpoint_and_so_is_taking_at_once() -> None:
    async def main() -> None:
        async with open_registry(found("a")) as registry:
            with trio.testing.assert_checkpoints():
                holding = registry.acquire()
                await holding.__aenter__()
            assert await is_stuck(registry.acquire().__aenter__)
            await holding.__aexit__(None, None, None)
            with trio.CancelScope() as scope:
                scope.cancel()
                await registry.acquire().__aenter__()
            assert scope.cancelled_caught
            assert in_use(registry) == {"a": 0}

    run(main)


class CancelAt(trio.abc.Instrument):
    """Cancels a task of its own before one of its steps."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._scope = trio.CancelScope()
        self._task: trio.lowlevel.Task | None = None
        self.steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self.steps += 1
            if self.steps == self._step:
                self._scope.cancel()

    async def run(self, victim: Callable[[], Awaitable[None]]) -> None:
        self._task = trio.lowlevel.current_task()
        with self._scope:
            await victim()


@pytest.mark.parametrize("busy", [False, True])
def test_cancelled_at_whichever_step_it_leaves_nothing(busy: bool) -> None:
    async def main() -> None:
        step, last = 0, False
        while not last:
            step += 1
            async with open_registry(found("a")) as registry, trio.open_nursery() as nursery:

                async def take(registry: Registry = registry) -> None:
                    async with registry.acquire(timeout=30):
                        await trio.sleep(1)

                canceller = CancelAt(step)
                trio.lowlevel.add_instrument(canceller)
                if busy:
                    nursery.start_soon(take)
                    await wait_all_tasks_blocked()
                nursery.start_soon(canceller.run, take)
                await trio.sleep(10)
                trio.lowlevel.remove_instrument(canceller)
                last = canceller.steps < step
                assert (in_use(registry), registry.waiting) == ({"a": 0}, 0)
                async with registry.acquire(timeout=1):
                    pass  # and there is room again
        assert step >= 3

    run(main)
