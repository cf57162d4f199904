"""What discoveries tell goes through the one channel: in order, with what everybody else tells, until they are over."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from pi_trio.abc import Discovery, Sightings
from pi_trio.errors import InstanceExists, InstanceNotFound
from pi_trio.lifecycle import (
    DiscoveryCompleted,
    HealthPolicy,
    InstanceState,
    Registered,
    SessionChanged,
    StateChanged,
    Unregistered,
)
from pi_trio.registry import Numbered, Registry, StaticDiscovery, Watch
from tests.concurrency.virtual import run
from tests.registry.discovery.test_runner import Told
from tests.registry.members import Remote, folded, found, open_registry

RARELY = Watch(health=HealthPolicy(period=100_000.0))


def handing_over(told: dict[str, Sightings], name: str) -> Discovery:
    """A discovery that does nothing but to let a test tell in its name."""

    async def tell(sightings: Sightings) -> None:
        told[name] = sightings
        await trio.sleep_forever()

    return Told(tell, name)


def test_what_is_sent_in_one_breath_is_numbered_in_the_order_it_was_sent() -> None:
    async def main() -> None:
        told: dict[str, Sightings] = {}
        async with open_registry(watch=RARELY, open_client=lambda _: Remote().open()) as registry:
            async with registry.discover(handing_over(told, "one"), handing_over(told, "two")):
                await wait_all_tasks_blocked()
                with registry.sender() as sender, registry.subscribe() as feed:
                    sender.send_nowait(Registered("s", 0.0))
                    told["one"].found(found("a"))
                    sender.send_nowait(SessionChanged("s", 0.0, "t"))
                    told["two"].found(found("b"))
                    told["one"].lost("a", "gone")
                    assert not registry.instances, "one task takes it in, and has not run yet"
                    await registry.catch_up()
                    items = [await anext(feed) for _ in range(11)]
        events = [item.event for item in items if isinstance(item, Numbered)]
        heard = [(type(event), getattr(event, "instance_id", "")) for event in events]
        assert heard[:8] == [
            (Registered, "s"),
            (Registered, "a"),
            (StateChanged, "a"),
            (DiscoveryCompleted, ""),
            (SessionChanged, "s"),
            (Registered, "b"),
            (StateChanged, "b"),
            (DiscoveryCompleted, ""),
        ]
        assert heard[8:] == [(Unregistered, "a"), (DiscoveryCompleted, "")]

    run(main)


def test_the_channel_is_open_until_the_last_discovery_is_over() -> None:
    async def main() -> None:
        registry = Registry(watch=RARELY, open_client=lambda _: Remote().open())
        over = trio.Event()

        async def serve() -> None:
            await registry.serve()
            over.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            feed = registry.subscribe()
            async with registry.discover(StaticDiscovery([found("a")])):
                await registry.wait_for(lambda table: "a" in table)
                registry.close()
                await wait_all_tasks_blocked()
                assert not over.is_set()
                with pytest.raises(trio.ClosedResourceError):
                    async with registry.discover(StaticDiscovery([], name="late")):
                        raise AssertionError
            assert registry.all() == ()
            await over.wait()
        heard = [item async for item in feed]
        assert isinstance(heard[-1], Numbered)
        assert isinstance(heard[-1].event, Unregistered)

    run(main)


def test_a_discovery_that_is_left_when_the_registry_has_broken_down_is_left_all_the_same() -> None:
    async def main() -> None:
        registry = Registry(watch=RARELY, open_client=lambda _: Remote().open())
        with trio.move_on_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(registry.serve)
                async with registry.discover(StaticDiscovery([found("a")])):
                    await trio.sleep_forever()
        assert trio.current_time() == 1

    run(main)


def test_another_that_has_its_name_meanwhile_is_not_a_discoverys_to_let_go() -> None:
    async def main() -> None:
        told: dict[str, Sightings] = {}
        async with open_registry(watch=RARELY) as registry:
            async with registry.discover(handing_over(told, "one")):
                await wait_all_tasks_blocked()
                told["one"].found(found("a", url="ws://127.0.0.1:9"))
                await registry.catch_up()
                registry.unregister("a", "by hand")
                registry.register(found("a"), open_client=Remote().open)
            assert registry.get("a").profile.source == "registered"

    run(main)


steps = st.lists(
    st.tuples(
        st.sampled_from(["found", "found", "anew", "lost", "register", "unregister", "spawn", "wait"]),
        st.sampled_from(["one", "two"]),
        st.sampled_from(["a", "b"]),
    ),
    max_size=25,
)


@given(steps)
def test_whoever_decides_about_the_same_instance_the_table_follows(plan: list[tuple[str, str, str]]) -> None:
    async def main() -> None:
        told: dict[str, Sightings] = {}
        async with open_registry(watch=RARELY, open_client=lambda _: Remote().open()) as registry:
            with registry.subscribe(capacity=10_000) as feed:
                async with registry.discover(handing_over(told, "one"), handing_over(told, "two")):
                    await wait_all_tasks_blocked()
                    take = Steps(registry, told)
                    for what, who, name in plan:
                        await getattr(take, what)(who, name)
                    await registry.catch_up()
                    assert set(registry.instances) == set(registry._members), "nobody is there who is no member"
                    for name, member in registry._members.items():
                        assert member.found is not None
                        assert registry.get(name).max_concurrent == member.found.profile.max_concurrent
                        assert registry.get(name).state is InstanceState.RUNNING
                    assert not registry._underway
                    assert await folded(registry, feed) == dict(registry.instances)

    run(main)


class Steps:
    """What a plan consists of. But for the last, nothing of it waits."""

    def __init__(self, registry: Registry, told: dict[str, Sightings]) -> None:
        self._registry = registry
        self._told = told

    async def found(self, who: str, name: str) -> None:
        self._told[who].found(found(name))

    async def anew(self, who: str, name: str) -> None:
        self._told[who].found(found(name, room=2))

    async def lost(self, who: str, name: str) -> None:
        self._told[who].lost(name, "gone")

    async def register(self, _who: str, name: str) -> None:
        with suppress(InstanceExists):
            self._registry.register(found(name, room=3))

    async def unregister(self, _who: str, name: str) -> None:
        with suppress(InstanceNotFound):
            self._registry.unregister(name)

    async def spawn(self, _who: str, _name: str) -> None:
        with self._registry.sender() as sender:
            sender.send_nowait(SessionChanged("nobody", trio.current_time(), "s"))

    async def wait(self, _who: str, _name: str) -> None:
        await wait_all_tasks_blocked()


def test_one_that_was_found_is_asked_when_it_is_in_the_table() -> None:
    async def main() -> None:
        told: dict[str, Sightings] = {}
        async with open_registry(watch=RARELY, open_client=lambda _: Remote().open()) as registry:
            async with registry.discover(handing_over(told, "one")):
                await wait_all_tasks_blocked()
                told["one"].found(found("a"))
                report = await registry.check_health("a")
                assert registry.get("a").health is report.health
                assert registry.statistics().registered == 1

    run(main)
