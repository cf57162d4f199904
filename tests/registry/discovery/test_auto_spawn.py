"""As many instances as there is work for; and a reserve that is never empty for long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pi_trio.errors import AcquireTimeout, LeaseLost, NoMatchingInstance, SpawnError
from pi_trio.lifecycle import (
    BreakerPolicy,
    BreakerState,
    Health,
    HealthChanged,
    InstanceState,
    Retired,
    ScalingPolicy,
)
from pi_trio.registry import AutoSpawn, Criteria, Numbered, Registry, WarmPool
from tests.concurrency.virtual import run
from tests.registry.members import Remote, found, moved, open_registry


@attrs.define
class Host:
    """Starts and ends instances that are nothing but entries."""

    registry: Registry
    start_seconds: float = 1.0
    stop_seconds: float = 0.1
    stop_turns: int = 0
    """How many turns it takes until it is told that one is being stopped, as with a real supervisor."""
    selectable: bool = True
    failing: bool = False
    spawned: int = 0
    most: int = 0
    remotes: dict[str, Remote] = attrs.field(factory=dict)

    async def spawn(self) -> str:
        await trio.sleep(self.start_seconds)
        if self.failing:
            raise SpawnError("no such model")
        self.spawned += 1
        name = f"pi-{self.spawned}"
        self.remotes[name] = Remote()
        self.registry.register(found(name, selectable=self.selectable), open_client=self.remotes[name].open)
        self.most = max(self.most, len(self.registry.instances))
        return name

    async def stop(self, name: str) -> None:
        for _ in range(self.stop_turns):
            await trio.lowlevel.checkpoint()
        if name in self.registry.instances:
            self.registry.enter(moved(name, InstanceState.STOPPING, "was stopped"))
        await trio.sleep(self.stop_seconds)
        if name in self.registry.instances:
            self.registry.unregister(name, "was stopped")


POLICY = ScalingPolicy(min_instances=1, max_instances=4, min_free=1, idle_timeout=60.0)


def scaling(test: Callable[[Registry, Host], Awaitable[None]], policy: ScalingPolicy = POLICY, **options: Any) -> None:
    async def main() -> None:
        async with open_registry() as registry:
            host = Host(registry, **options)
            spawner = AutoSpawn(registry, host.spawn, host.stop, policy=policy)
            breaker = BreakerPolicy(failures=2, reset_timeout=10.0)
            async with registry.discover(spawner, breaker=breaker):
                await test(registry, host)
            assert registry.all() == (), "what it spawned ends with it"

    run(main)


def test_it_grows_under_load_and_shrinks_when_there_is_nothing_to_do() -> None:
    async def test(registry: Registry, host: Host) -> None:
        await registry.wait_for(lambda table: len(table) == 1)

        async def work() -> None:
            async with registry.acquire():
                await trio.sleep(30)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(work)
        assert host.most == 4
        await trio.sleep(100)
        assert len(registry.all()) == 1
        assert host.spawned == 4

    scaling(test)


def test_who_waits_for_something_else_is_not_spawned_for() -> None:
    async def test(registry: Registry, host: Host) -> None:
        await registry.wait_for(lambda table: len(table) == 1)
        with pytest.raises(AcquireTimeout):
            async with registry.acquire(Criteria(region="moon"), timeout=30):
                raise AssertionError
        assert host.spawned == 1

    scaling(test)


def test_room_is_kept_free_before_anybody_waits() -> None:
    async def test(registry: Registry, host: Host) -> None:
        await registry.wait_for(lambda table: len(table) == 2)
        async with registry.acquire():
            await trio.sleep(10)
            assert registry.capacity().total.free == 2

    scaling(test, ScalingPolicy(max_instances=4, min_free=2))


def test_one_that_went_is_replaced() -> None:
    async def test(registry: Registry, host: Host) -> None:
        await registry.wait_for(lambda table: len(table) == 1)
        registry.unregister("pi-1", "it died")
        await registry.wait_for(lambda table: "pi-2" in table)
        registry.enter(moved("pi-2", InstanceState.BACKING_OFF))
        await registry.wait_for(lambda table: "pi-3" in table)

    scaling(test)


def test_spawns_that_fail_are_not_repeated_for_ever() -> None:
    async def test(registry: Registry, host: Host) -> None:
        tried = 0
        host.failing = True

        async with registry.subscribe(match=lambda event: type(event).__name__ == "DiscoveryFailed") as feed:
            with trio.move_on_after(30):  # at 1, 3 and 14 s: the breaker is open for 10 s, then for 20 s
                async for _ in feed:
                    tried += 1
        assert tried - 1 == 3
        assert "no such model" in (registry.snapshot().discoveries["auto-spawn"].error or "")
        host.failing = False
        async with registry.acquire(timeout=30):
            pass
        await registry.catch_up()
        assert registry.snapshot().discoveries["auto-spawn"].error is None

    scaling(test)


def test_who_waits_for_what_these_are_not_is_spawned_for_once() -> None:
    async def test(registry: Registry, host: Host) -> None:
        with pytest.raises(AcquireTimeout):
            async with registry.acquire(Criteria(region="moon"), timeout=1000):
                raise AssertionError
        assert host.spawned == 1

    scaling(test, ScalingPolicy(max_instances=4, min_free=0, idle_timeout=10.0))


@pytest.mark.parametrize("turn", range(12))
def test_who_asks_the_moment_it_begins_is_spawned_for(turn: int) -> None:
    async def test(registry: Registry, host: Host) -> None:
        for _ in range(turn // 2):  # which of the tasks runs first is Trio's choice
            await trio.lowlevel.checkpoint()
        async with registry.acquire(timeout=10):
            assert host.spawned == 1

    scaling(test, ScalingPolicy(max_instances=1, min_free=0, idle_timeout=10.0))


def test_those_that_are_being_ended_count_until_they_are_gone() -> None:
    async def test(registry: Registry, host: Host) -> None:
        async def work(begin: float, seconds: float) -> None:
            await trio.sleep(begin)
            async with registry.acquire():
                await trio.sleep(seconds)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, 0.0, 1.0)
            nursery.start_soon(work, 0.0, 100.0)
            await registry.wait_for(lambda table: len(table) == 2)
            await registry.wait_for(lambda table: any(entry.in_use == 0 for entry in table.values()))
            nursery.start_soon(work, 10.05, 1.0)  # while the idle one is being ended
        assert host.spawned == 3
        assert host.most == 2

    policy = ScalingPolicy(max_instances=2, min_free=0, idle_timeout=10.0)
    scaling(test, policy, start_seconds=0.01, stop_seconds=5.0)


def test_one_that_dies_the_moment_it_is_ready_leaves_no_ghost() -> None:
    async def main() -> None:
        async with open_registry(open_client=lambda _: Remote().open()) as registry:
            host = Host(registry)

            async def spawn() -> str:
                name = await host.spawn()
                if host.spawned == 1:
                    registry.unregister(name, "it died")
                return name

            async with registry.discover(AutoSpawn(registry, spawn, host.stop, policy=POLICY)):
                await trio.sleep(10)
                assert list(registry.instances) == ["pi-2"]

    run(main)


@pytest.mark.parametrize("turn", range(12))
def test_who_asks_the_moment_one_is_to_go_never_gets_that_one(turn: int) -> None:
    async def test(registry: Registry, host: Host) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(_hold, registry, 1.0)
        await trio.sleep(10)  # now both may go, one after the other
        for _ in range(turn // 2):  # which of the tasks runs first is Trio's choice
            await trio.lowlevel.checkpoint()
        async with registry.acquire() as one, registry.acquire() as other:
            await trio.sleep(1)
            assert (one.lost, other.lost) == (None, None)
        assert host.most == 2
        assert registry.statistics().leases_lost == 0

    policy = ScalingPolicy(min_instances=0, max_instances=2, min_free=0, idle_timeout=10.0)
    scaling(test, policy, start_seconds=0.01, stop_turns=3)


async def _hold(registry: Registry, seconds: float) -> None:
    async with registry.acquire():
        await trio.sleep(seconds)


def test_one_that_is_to_go_is_out_of_selection_and_of_the_free_places_at_once() -> None:
    async def test(registry: Registry, host: Host) -> None:
        told = []
        async with registry.subscribe(match=lambda event: isinstance(event, Retired)) as feed:
            async with registry.acquire(), registry.acquire():
                pass
            async for item in feed:
                told.append(item)
                if len(told) == 2:
                    break
        assert isinstance(told[1], Numbered)
        assert isinstance(told[1].event, Retired)
        gone = told[1].event.instance_id
        total = registry.capacity().total
        assert (total.instances, total.total, total.free, total.unavailable) == (2, 2, 1, 1)
        assert [entry.instance_id for entry in registry.healthy()] != [gone]
        assert len(registry.healthy()) == 1
        with pytest.raises(NoMatchingInstance, match="retired") as caught:
            registry.select(Criteria(exclude={entry.instance_id for entry in registry.healthy()}))
        assert caught.value.criterion == "retired"
        with pytest.raises(NoMatchingInstance) as refused:
            async with registry.lease(gone):
                raise AssertionError
        assert refused.value.criterion == "retired"

    scaling(test, ScalingPolicy(min_instances=1, max_instances=2, min_free=0, idle_timeout=10.0), stop_turns=100)


def test_one_that_was_to_go_when_a_spawn_failed_does_go() -> None:
    async def test(registry: Registry, host: Host) -> None:
        async with registry.acquire(), registry.acquire():
            pass
        await registry.wait_for(lambda table: any(entry.retired for entry in table.values()))
        (gone,) = {entry.instance_id for entry in registry.all() if entry.retired}
        host.failing = True
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(_hold, registry, 1.0)
            await registry.wait_for(lambda _: registry.snapshot().discoveries["auto-spawn"].error is not None)
            assert gone in registry.instances, "which the failure came before"
            host.failing = False
        await trio.sleep(8)
        assert gone not in registry.instances

    policy = ScalingPolicy(min_instances=1, max_instances=3, min_free=0, idle_timeout=10.0)
    scaling(test, policy, stop_seconds=4.0)


# --- a reserve -----------------------------------------------------------------------------------------


def reserving(
    test: Callable[[Registry, Host, WarmPool], Awaitable[None]],
    *,
    size: int = 2,
    max_instances: int | None = None,
    **options: Any,
) -> None:
    async def main() -> None:
        async with open_registry() as registry:
            host = Host(registry, selectable=False, **options)
            pool = WarmPool(registry, host.spawn, host.stop, size=size, max_instances=max_instances)
            async with registry.discover(pool):
                await pool.wait_full()
                await test(registry, host, pool)
            assert registry.all() == (), "what it spawned ends with it"

    run(main)


def test_there_is_always_one_and_each_comes_back_clean() -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        for _ in range(20):
            began = trio.current_time()
            async with pool.acquire() as lease:
                assert trio.current_time() == began
                assert registry.get(lease.instance_id).in_use == 1
                assert pool.ready <= 1
            await pool.wait_full()
        assert host.spawned == 2

    reserving(test)


def test_with_room_for_more_the_reserve_is_filled_while_one_is_out() -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        async with pool.acquire():
            await pool.wait_full()
            assert len(registry.all()) == 3
        await trio.sleep(10)
        assert (len(registry.all()), pool.ready) == (2, 2), "one too many is ended"

    reserving(test, max_instances=3)


def test_who_finds_it_empty_waits_in_order_or_not_for_too_long() -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        served: list[int] = []

        async def want(number: int) -> None:
            async with pool.acquire():
                served.append(number)

        async with trio.open_nursery() as nursery:
            async with pool.acquire():
                with pytest.raises(AcquireTimeout):
                    async with pool.acquire(timeout=2):
                        raise AssertionError
                for number in range(4):
                    nursery.start_soon(want, number)
                    await wait_all_tasks_blocked()
        assert served == [0, 1, 2, 3]

    reserving(test, size=1)


def test_one_that_died_in_the_reserve_is_replaced_and_not_handed_out() -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        registry.enter(moved("pi-1", InstanceState.BACKING_OFF, "it died"))
        async with pool.acquire() as one:
            assert one.instance_id == "pi-2"
        await trio.sleep(10)
        assert pool.ready == 2
        assert "pi-1" not in registry.instances

    reserving(test)


def fall_ill(registry: Registry, name: str) -> None:
    registry.enter(HealthChanged(name, trio.current_time(), 1, Health.UNHEALTHY, None))


def break_down(registry: Registry, name: str) -> None:
    for _ in range(3):
        registry.report_failure(name)


ILLS = pytest.mark.parametrize("befall", [fall_ill, break_down])


@ILLS
def test_one_that_is_not_well_is_replaced_and_not_handed_out(befall: Callable[[Registry, str], None]) -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        befall(registry, "pi-1")
        assert pool.ready == 1, "it counts no more"
        async with pool.acquire() as one:
            assert one.instance_id == "pi-2"
            with trio.fail_after(3):
                async with pool.acquire() as other:
                    assert other.instance_id == "pi-3"
        await pool.wait_full()
        assert set(registry.instances) == {"pi-2", "pi-3"}

    reserving(test)


@ILLS
def test_one_that_is_not_well_is_replaced_though_nobody_asks(befall: Callable[[Registry, str], None]) -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        befall(registry, "pi-2")
        await pool.wait_full()
        assert set(registry.instances) == {"pi-1", "pi-3"}

    reserving(test)


@ILLS
def test_one_that_comes_back_unwell_is_ended(befall: Callable[[Registry, str], None]) -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        async with pool.acquire() as lease:
            host.remotes[lease.instance_id].delay = 1.0  # cleaning takes time
        await trio.sleep(0.5)
        befall(registry, lease.instance_id)
        await pool.wait_full()
        assert lease.instance_id not in registry.instances
        assert host.spawned == 3

    reserving(test)


def test_one_that_is_slow_will_do() -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        registry.enter(HealthChanged("pi-1", trio.current_time(), 1, Health.DEGRADED, 3.0))
        async with pool.acquire() as lease:
            assert lease.instance_id == "pi-1"
        assert host.spawned == 1

    reserving(test, size=1)


def test_one_that_dies_while_it_is_out_is_told_and_replaced() -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        with pytest.raises(LeaseLost):
            async with pool.acquire() as lease:
                registry.enter(moved(lease.instance_id, InstanceState.STOPPED, "it died"))
                await trio.sleep_forever()
        await pool.wait_full()
        assert host.spawned == 3

    reserving(test)


def test_one_whose_settings_were_changed_is_ended_and_not_handed_out_again() -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        async with pool.acquire() as lease:
            host.remotes[lease.instance_id].state["thinkingLevel"] = "high"
        await trio.sleep(10)
        assert (pool.ready, host.spawned) == (2, 3)
        assert lease.instance_id not in registry.instances

    reserving(test)


def test_one_that_is_being_ended_counts_until_it_is_gone() -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        async with pool.acquire() as lease:
            host.remotes[lease.instance_id].state["thinkingLevel"] = "high"
        await trio.sleep(1)
        assert (pool.ready, len(registry.instances), host.spawned) == (1, 2, 2)
        await pool.wait_full()
        assert (host.spawned, host.most) == (3, 2)

    reserving(test, start_seconds=0.01, stop_seconds=5.0)


def test_one_that_is_being_cleaned_when_a_spawn_fails_is_not_forgotten() -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        host.failing = True
        async with pool.acquire() as lease:
            host.remotes[lease.instance_id].delay = 5.0  # which is how long it takes to clean it
        await wait_all_tasks_blocked()
        (other,) = set(registry.instances) - {lease.instance_id}
        registry.unregister(other, "it died")
        await trio.sleep(1.5)
        assert registry.snapshot().discoveries["warm-pool"].error == "no such model"
        host.failing = False
        await pool.wait_full()
        assert set(registry.instances) == {lease.instance_id, "pi-3"}

    reserving(test)


def test_one_that_is_being_ended_when_a_spawn_fails_is_ended_and_its_place_given_back() -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        host.failing = True
        async with pool.acquire() as lease:
            host.remotes[lease.instance_id].state["thinkingLevel"] = "high"  # so that it is not taken back, but ended
        await trio.sleep(1.5)
        assert registry.snapshot().discoveries["warm-pool"].error == "no such model"
        host.failing = False
        await pool.wait_full()
        await trio.sleep(10)
        assert lease.instance_id not in registry.instances
        assert (pool.ready, len(registry.instances), len(pool._ending)) == (2, 2, 0)

    reserving(test, max_instances=4, stop_seconds=5.0)


@pytest.mark.parametrize("begin", [True, False])
def test_one_that_comes_back_while_spawning_is_given_up_for_a_while_is_cleaned_and_handed_out(begin: bool) -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        host.failing = True
        async with pool.acquire() as lease:
            await registry.wait_for(
                lambda _: registry.snapshot().discoveries["warm-pool"].breaker.state is BreakerState.OPEN
            )
            sessions = host.remotes[lease.instance_id].renewed
            if begin:  # and gives up in the middle of it
                host.remotes[lease.instance_id].delay = 0.5
        if begin:
            with pytest.raises(AcquireTimeout):
                async with pool.acquire(timeout=0.1):
                    raise AssertionError
            host.remotes[lease.instance_id].delay = 0.0
        async with pool.acquire(timeout=1) as again:
            assert again.instance_id == lease.instance_id
            assert host.remotes[lease.instance_id].renewed == sessions + 1
            assert registry.snapshot().discoveries["warm-pool"].breaker.state is BreakerState.OPEN
        host.failing = False
        await trio.sleep(20)
        assert (pool.ready, len(registry.instances)) == (1, 1)

    reserving(test, size=1, max_instances=2)


class BefallsAt(trio.abc.Instrument):
    """Something befalls what is handed out to a task, before one of its steps."""

    def __init__(self, registry: Registry, pool: WarmPool, step: int, befall: Callable[[Registry, str], None]) -> None:
        self._registry = registry
        self._befall = befall
        self._pool = pool
        self._task = trio.lowlevel.current_task()
        self._left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            for name in self._pool._out if self._left == 0 else ():
                self._befall(self._registry, name)


def die(registry: Registry, name: str) -> None:
    registry.unregister(name, "it died")


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("befall", [die, fall_ill, break_down])
def test_one_that_dies_while_it_is_handed_out_is_not_and_another_is(
    step: int, befall: Callable[[Registry, str], None]
) -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        await pool.wait_full()
        killer = BefallsAt(registry, pool, step, befall)
        trio.lowlevel.add_instrument(killer)
        async with pool.acquire() as lease:
            trio.lowlevel.remove_instrument(killer)
            entry = registry.get(lease.instance_id)
            assert (entry.state, entry.breaker.state) == (InstanceState.RUNNING, BreakerState.CLOSED)
            assert entry.health is not Health.UNHEALTHY
        await pool.wait_full()

    reserving(test)


@pytest.mark.parametrize("step", range(1, 5))
@pytest.mark.parametrize("befall", [die, fall_ill])
def test_who_waited_for_one_that_died_while_it_was_handed_out_is_still_the_first(
    step: int, befall: Callable[[Registry, str], None]
) -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        served: list[int] = []
        killer: BefallsAt | None = None

        async def want(number: int) -> None:
            nonlocal killer
            if number == 0:
                killer = BefallsAt(registry, pool, step + 1, befall)  # its first step is over when it waits
                trio.lowlevel.add_instrument(killer)
            async with pool.acquire():
                served.append(number)

        async with trio.open_nursery() as nursery:
            registry.unregister("pi-1", "it died")
            for number in range(4):
                nursery.start_soon(want, number)
                await wait_all_tasks_blocked()
        assert killer is not None
        trio.lowlevel.remove_instrument(killer)
        assert served == [0, 1, 2, 3]

    reserving(test, size=1)


def test_what_is_ready_when_a_reserve_ends_is_not_handed_out() -> None:
    async def main() -> None:
        refused = 0
        async with open_registry() as registry:
            host = Host(registry)

            async def stop(name: str) -> None:
                nonlocal refused
                assert registry.get(name).state is InstanceState.RUNNING
                with pytest.raises(trio.ClosedResourceError):
                    async with pool.acquire():
                        raise AssertionError
                refused += 1
                await host.stop(name)

            pool = WarmPool(registry, host.spawn, stop, size=2)
            async with registry.discover(pool):
                await pool.wait_full()
        assert refused == 2

    run(main)


def test_who_waits_until_a_reserve_is_full_that_is_over_is_told() -> None:
    async def main() -> None:
        async with open_registry() as registry:
            host = Host(registry, failing=True)
            pool = WarmPool(registry, host.spawn, host.stop, size=1)
            async with trio.open_nursery() as nursery:
                async with registry.discover(pool):

                    async def wait() -> None:
                        with pytest.raises(trio.ClosedResourceError):
                            await pool.wait_full()

                    nursery.start_soon(wait)
                    await trio.sleep(3)

    run(main)


def test_the_place_of_one_that_died_is_filled_though_nothing_else_happens() -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        await pool.wait_full()
        async with pool.acquire() as lease:
            registry.unregister(lease.instance_id, "it died")
        await pool.wait_full()
        assert host.spawned == 3

    reserving(test)


def test_one_that_is_ready_is_had_without_waiting() -> None:
    async def test(registry: Registry, host: Host, pool: WarmPool) -> None:
        await pool.wait_full()
        async with pool.acquire(timeout=0):
            pass

    reserving(test)


def test_what_the_reserve_had_begun_ends_with_it() -> None:
    async def main() -> None:
        async with open_registry() as registry:
            host = Host(registry, selectable=False)

            async def spawn() -> str:
                name = await host.spawn()
                host.remotes[name].delay = 50.0  # it takes its time to say what it is like
                return name

            async with registry.discover(WarmPool(registry, spawn, host.stop, size=2)):
                await trio.sleep(3)
                assert len(registry.instances) == 2
            assert registry.all() == ()

    run(main)


def test_one_that_does_not_say_what_it_is_like_is_ended() -> None:
    async def main() -> None:
        async with open_registry() as registry:
            host = Host(registry, selectable=False)

            async def spawn() -> str:
                name = await host.spawn()
                host.remotes[name].answers = host.spawned > 1
                return name

            async with registry.discover(WarmPool(registry, spawn, host.stop, size=1)) as _:
                await registry.wait_for(lambda table: "pi-2" in table)
                await trio.sleep(5)
                assert list(registry.instances) == ["pi-2"]

    run(main)


def test_who_waits_for_a_reserve_that_is_over_is_told() -> None:
    async def main() -> None:
        told: list[BaseException] = []
        async with open_registry() as registry, trio.open_nursery() as nursery:
            host = Host(registry, failing=True)
            pool = WarmPool(registry, host.spawn, host.stop, size=1)

            async def want() -> None:
                with pytest.raises(trio.ClosedResourceError) as caught:
                    async with pool.acquire():
                        raise AssertionError
                told.append(caught.value)

            async with registry.discover(pool):
                nursery.start_soon(want)
                await trio.sleep(3)
            await wait_all_tasks_blocked()
            assert len(told) == 1
            await want()

    run(main)


def test_a_reserve_must_have_a_size() -> None:
    async def main() -> None:
        async with open_registry() as registry:
            host = Host(registry)
            for size, most in [(0, None), (3, 2)]:
                with pytest.raises(ValueError, match="size"):
                    WarmPool(registry, host.spawn, host.stop, size=size, max_instances=most)

    run(main)
