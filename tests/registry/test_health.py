"""Instances without a supervisor here: asked by real requests, out when they are silent, back when they answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pi_trio import PiClient
from pi_trio.errors import InstanceExists, InstanceNotFound
from pi_trio.lifecycle import (
    BreakerChanged,
    BreakerPolicy,
    BreakerState,
    Health,
    HealthChanged,
    HealthPolicy,
    ModelChanged,
    Registered,
    RegistryEvent,
    SessionChanged,
    Unregistered,
)
from pi_trio.registry import Criteria, Numbered, Registry, Watch
from tests.concurrency.virtual import run
from tests.registry.members import Remote, found, open_registry

WATCH = Watch(health=HealthPolicy(period=10.0, timeout=5.0, slow_after=1.0, misses=2), remove_after=30.0)
RARELY = Watch(health=HealthPolicy(period=1000.0, timeout=5.0))
NEVER = BreakerPolicy(failures=1000)


def taken_down(registry: Registry, log: list[RegistryEvent]) -> Any:
    async def follow() -> None:
        nonlocal log
        with registry.subscribe() as feed:
            async for item in feed:
                log += [item.event] if isinstance(item, Numbered) else []

    return follow


def health_of(log: list[RegistryEvent]) -> list[str]:
    return [str(event.health) for event in log if isinstance(event, HealthChanged)]


def test_it_is_asked_at_once_and_again_and_again() -> None:
    async def main() -> None:
        remote = Remote()
        async with open_registry(watch=WATCH) as registry:
            entry = registry.register(found("a"), open_client=remote.open)
            assert (str(entry.state), entry.health) == ("running", Health.UNKNOWN)
            await trio.sleep(1)
            assert registry.get("a").health is Health.HEALTHY
            assert remote.asked == 1
            await trio.sleep(100)
            assert remote.asked == 11
            with pytest.raises(InstanceExists):
                registry.register(found("a"), open_client=remote.open)
            registry.unregister("a", "not wanted any more")
            await trio.sleep(100)
            assert remote.asked == 11
            with pytest.raises(InstanceNotFound):
                registry.unregister("a")

    run(main)


def test_slow_is_degraded_silent_is_unhealthy_then_out_and_back_when_it_answers() -> None:
    async def main() -> None:
        remote, log = Remote(), list[RegistryEvent]()
        async with open_registry(watch=WATCH, breaker=NEVER) as registry, trio.open_nursery() as nursery:
            nursery.start_soon(taken_down(registry, log))
            registry.register(found("a"), open_client=remote.open)
            await trio.sleep(1)
            remote.delay = 2.0
            await trio.sleep(20)
            remote.answers = False
            await trio.sleep(60)
            assert health_of(log) == ["healthy", "degraded", "unhealthy"]
            assert "a" not in registry.instances
            (gone,) = [event for event in log if isinstance(event, Unregistered)]
            assert "connection refused" in gone.reason
            remote.answers, remote.delay = True, 0.0
            await trio.sleep(20)
            assert registry.get("a").health is Health.HEALTHY
            assert [type(event) for event in log].count(Registered) == 1, "anew; the first was before the snapshot"
            nursery.cancel_scope.cancel()

    run(main)


def test_one_that_never_answers_in_time_counts_as_silent() -> None:
    async def main() -> None:
        remote = Remote(delay=1000.0)
        async with open_registry(watch=WATCH, breaker=NEVER) as registry:
            registry.register(found("a"), open_client=remote.open)
            report = await registry.check_health("a")
            assert (report.latency, report.error) == (None, "no answer within 5 s")
            await trio.sleep(20)
            assert registry.get("a").health is Health.UNHEALTHY
            assert registry.healthy() == ()

    run(main)


def test_all_are_asked_side_by_side() -> None:
    async def main() -> None:
        async with open_registry(watch=WATCH) as registry:
            for name, delay in [("a", 0.5), ("b", 3.0), ("c", 3.0)]:
                registry.register(found(name), open_client=Remote(delay=delay).open)
            await trio.sleep(10)
            began = trio.current_time()
            reports = await registry.check_all()
            assert trio.current_time() - began < 4
            assert [(each.instance_id, str(each.health)) for each in reports] == [
                ("a", "healthy"),
                ("b", "degraded"),
                ("c", "degraded"),
            ]
            with pytest.raises(InstanceNotFound):
                await registry.check_health("d")

    run(main)


def test_an_open_breaker_takes_it_out_of_the_selection_until_a_probe_succeeds() -> None:
    async def main() -> None:
        remote, log = Remote(), list[RegistryEvent]()
        policy = BreakerPolicy(failures=2, reset_timeout=20.0, widening=2.0)
        async with open_registry(watch=RARELY, breaker=policy) as registry, trio.open_nursery() as nursery:
            nursery.start_soon(taken_down(registry, log))
            registry.register(found("a"), open_client=remote.open)
            await trio.sleep(1)
            remote.answers = False
            registry.report_failure("a")
            assert registry.select().instance_id == "a"
            registry.report_failure("a")
            assert registry.get("a").breaker.state is BreakerState.OPEN
            assert registry.healthy() == ()
            assert registry.capacity().total.unavailable == 1
            assert registry.capacity().breakers == {"a": registry.get("a").breaker}
            with pytest.raises(Exception, match="breaker"):
                registry.select(Criteria())
            await trio.sleep(25)  # the probe was sent, and failed
            assert registry.get("a").breaker.openings == 2
            remote.answers = True
            await trio.sleep(41)
            assert registry.select().instance_id == "a"
            states = [str(event.breaker.state) for event in log if isinstance(event, BreakerChanged)]
            assert states == ["closed", "open", "half_open", "open", "half_open", "closed"]
            nursery.cancel_scope.cancel()

    run(main)


def test_whoever_waits_gets_it_when_the_breaker_closes() -> None:
    async def main() -> None:
        policy = BreakerPolicy(failures=1, reset_timeout=20.0)
        async with open_registry(watch=RARELY, breaker=policy) as registry:
            registry.register(found("a"), open_client=Remote().open)
            await trio.sleep(1)
            registry.report_failure("a")
            async with registry.acquire() as lease:
                assert lease.instance_id == "a"
                assert trio.current_time() == pytest.approx(21, abs=1)

    run(main)


def test_a_registry_that_cannot_open_clients_takes_no_instance_it_could_not_reach() -> None:
    async def main() -> None:
        async with open_registry() as registry:
            with pytest.raises(ValueError, match="open_client"):
                registry.register(found("a"))
        remote = Remote()
        async with open_registry(open_client=lambda entry: remote.open()) as registry:
            registry.register(found("a"))
            async with registry.open_client("a") as client:
                assert (await client.get_state()).session_id == "s"
            with pytest.raises(InstanceNotFound):
                registry.open_client("b")

    run(main)


def test_it_ends_with_its_registry_while_it_asks() -> None:
    async def main() -> None:
        async with open_registry() as registry:
            registry.register(found("a"), open_client=Remote(delay=1000.0).open)
            await wait_all_tasks_blocked()
            left_at = trio.current_time()
        assert trio.current_time() == left_at  # time is virtual: waiting for the answer, or for a time-out, would show

    run(main)


def test_when_everything_is_about_to_be_stopped_nothing_is_begun() -> None:
    async def main() -> None:
        async with open_registry(found("a"), breaker=BreakerPolicy(failures=1)) as registry:
            await trio.sleep(1)
            registry.quiesce()
            await trio.sleep(1)
            registry.report_failure("a")
            registry.register(found("b"), open_client=Remote().open)
            assert registry.get("a").breaker.state is BreakerState.OPEN

    run(main)


def test_a_breaker_that_was_closed_meanwhile_sends_no_probe() -> None:
    async def main() -> None:
        log = list[RegistryEvent]()
        policy = BreakerPolicy(failures=1, reset_timeout=20.0)
        async with open_registry(watch=RARELY, breaker=policy) as registry, trio.open_nursery() as nursery:
            registry.register(found("a"), open_client=Remote().open)
            await trio.sleep(1)
            nursery.start_soon(taken_down(registry, log))
            await wait_all_tasks_blocked()
            registry.report_failure("a")
            registry.report_success("a")
            await trio.sleep(100)
            states = [str(event.breaker.state) for event in log if isinstance(event, BreakerChanged)]
            assert states == ["open", "closed"]
            nursery.cancel_scope.cancel()

    run(main)


def test_an_answer_that_comes_when_another_has_the_name_says_nothing_about_it() -> None:
    async def main() -> None:
        async with open_registry(watch=RARELY) as registry, trio.open_nursery() as nursery:
            registry.register(found("a"), open_client=Remote(delay=1000.0).open)
            nursery.start_soon(registry.check_health, "a")
            await trio.sleep(1)
            registry.unregister("a")
            registry.register(found("a"), open_client=Remote().open)
            await trio.sleep(10)
            assert registry.get("a").health is Health.HEALTHY
            assert registry.get("a").breaker.failures == 0

    run(main)


def test_one_that_was_out_comes_back_by_the_registrys_own_way_to_open_clients() -> None:
    async def main() -> None:
        remote = Remote()
        async with open_registry(watch=WATCH, breaker=NEVER, open_client=lambda _: remote.open()) as registry:
            registry.register(found("a", provider="p"))
            await trio.sleep(1)
            remote.answers = False
            await registry.wait_for(lambda table: not table)
            remote.answers = True
            await registry.wait_for(lambda table: "a" in table)
            assert registry.get("a").provider == "p"

    run(main)


def test_to_be_asked_brings_it_back_as_well() -> None:
    async def main() -> None:
        remote = Remote()
        async with open_registry(watch=attrs.evolve(WATCH, remove_after=5.0), breaker=NEVER) as registry:
            registry.register(found("a"), open_client=remote.open)
            await trio.sleep(1)
            remote.answers = False
            await registry.wait_for(lambda table: not table)
            remote.answers = True
            assert (await registry.check_health("a")).health is Health.HEALTHY
            assert registry.get("a").health is Health.HEALTHY

    run(main)


def test_what_a_strangers_function_raises_is_no_answer_and_nothing_worse() -> None:
    def broken() -> AbstractAsyncContextManager[PiClient]:
        raise ZeroDivisionError("somebody's mistake")

    async def main() -> None:
        async with open_registry(watch=WATCH) as registry:
            registry.register(found("a"), open_client=broken)
            report = await registry.check_health("a")
            assert (report.latency, report.error) == (None, "somebody's mistake")
            await trio.sleep(15)
            assert registry.get("a").health is Health.UNHEALTHY

    run(main)


def test_a_connection_that_is_slow_to_close_does_not_unsay_its_answer() -> None:
    remote = Remote()

    @asynccontextmanager
    async def clinging() -> AsyncIterator[PiClient]:
        async with remote.open() as client:
            yield client
            await trio.sleep(100)

    async def main() -> None:
        async with open_registry(watch=WATCH) as registry:
            registry.register(found("a"), open_client=clinging)
            report = await registry.check_health("a")
            assert report.health is Health.HEALTHY

    run(main)


def test_what_an_answer_says_of_session_and_model_is_told() -> None:
    async def main() -> None:
        remote, log = Remote(), list[RegistryEvent]()
        async with open_registry(watch=WATCH) as registry, trio.open_nursery() as nursery:
            nursery.start_soon(taken_down(registry, log))
            await wait_all_tasks_blocked()
            registry.register(found("a", provider="as listed"), open_client=remote.open)
            await trio.sleep(1)
            assert (registry.get("a").provider, registry.get("a").session_id) == ("as listed", "s")
            remote.state |= {"sessionId": "t", "model": {"id": "m", "provider": "p", "name": "M"}}
            await trio.sleep(20)
            entry = registry.get("a")
            assert (entry.provider, entry.model, entry.session_id) == ("p", "m", "t")
            assert registry.select(Criteria(model="m")).instance_id == "a"
            told = [event for event in log if isinstance(event, SessionChanged | ModelChanged)]
            assert [type(event).__name__ for event in told] == ["SessionChanged", "SessionChanged", "ModelChanged"]
            nursery.cancel_scope.cancel()

    run(main)


def test_a_breaker_whose_instance_is_just_over_sends_no_probe() -> None:
    async def main() -> None:
        async with open_registry(breaker=BreakerPolicy(failures=1, reset_timeout=20.0)) as registry:
            registry.adopt("a", PiClient("a"))
            registry.enter(Registered("a", trio.current_time()))
            registry.report_failure("a")
            registry.disown("a")  # its supervisor is done; that it is over has not been read yet
            await trio.sleep(30)
            assert registry.get("a").breaker.state is BreakerState.OPEN

    run(main)


def test_what_a_probe_finds_out_says_nothing_about_another_of_that_name() -> None:
    async def main() -> None:
        policy = BreakerPolicy(failures=1, reset_timeout=20.0)
        async with open_registry(watch=RARELY, breaker=policy) as registry:
            registry.register(found("a"), open_client=Remote(delay=1000.0).open)
            registry.report_failure("a")
            await trio.sleep(22)  # the probe is out
            assert registry.get("a").breaker.state is BreakerState.HALF_OPEN
            registry.unregister("a")
            registry.register(found("a"), open_client=Remote().open)
            await trio.sleep(10)
            assert registry.get("a").breaker.state is BreakerState.CLOSED

    run(main)
