"""Breakers belong to endpoints: who is reached there shares them, and an open one is left alone but for its one probe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from pi_trio import PiClient
from pi_trio.abc import Discovery, Found, Profile, Sightings
from pi_trio.errors import AcquireTimeout, InstanceExists, InstanceNotFound, NoMatchingInstance
from pi_trio.lifecycle import BreakerChanged, BreakerPolicy, BreakerState, Health, HealthPolicy, RegistryEvent
from pi_trio.registry import Criteria, Entry, Numbered, Registry, StaticDiscovery, Watch
from pi_trio.registry.breakers import endpoint_of
from tests.concurrency.virtual import run
from tests.registry.discovery.test_runner import Told
from tests.registry.members import Remote, folded, found, open_registry

WATCH = Watch(health=HealthPolicy(period=10.0, timeout=5.0, misses=3), remove_after=60.0)
RARELY = Watch(health=HealthPolicy(period=100_000.0))
POLICY = BreakerPolicy(failures=3, reset_timeout=50.0, widening=2.0)
URL = "wss://build.example:7000"


@attrs.define
class Place:
    """Somewhere that instances are reached, and who called when."""

    remote: Remote = attrs.field(factory=Remote)
    calls: list[float] = attrs.field(factory=list)
    called: list[str] = attrs.field(factory=list)
    seconds: float = 0.0
    """How long it takes to be connected, or not."""
    now: int = 0
    most: int = 0
    """How many were being connected at once."""

    def open(self, entry: Entry) -> AbstractAsyncContextManager[PiClient]:
        return self._open(entry.instance_id)

    @asynccontextmanager
    async def _open(self, name: str) -> AsyncIterator[PiClient]:
        self.calls.append(round(trio.current_time()))
        self.called.append(name)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await trio.sleep(self.seconds)
            async with self.remote.open() as client:
                yield client
        finally:
            self.now -= 1


def at(name: str, url: str = URL) -> Found:
    return found(name, url=url)


def test_while_it_is_open_nobody_asks_and_then_one_does() -> None:
    async def main() -> None:
        place = Place()
        async with open_registry(watch=WATCH, breaker=POLICY, open_client=place.open) as registry:
            registry.register(at("a"))
            await trio.sleep(5)
            place.remote.answers = False
            await trio.sleep(26)
            assert place.calls == [0, 10, 20, 30]
            assert registry.get("a").breaker.state is BreakerState.OPEN
            await trio.sleep(48)
            assert place.calls[4:] == []
            await trio.sleep(100)  # until 179: one probe at 80, and the next at 180
            assert place.calls[4:] == [80]
            place.remote.answers = True
            await trio.sleep(2)
            assert place.calls[5:] == [180]
            await trio.sleep(20)
            assert place.calls[6:] == [190, 200], "and regularly again, counted from the probe"

    run(main)


def test_half_open_is_one_probe_however_many_are_there() -> None:
    async def main() -> None:
        place = Place()
        async with open_registry(watch=WATCH, breaker=POLICY, open_client=place.open) as registry:
            for number in range(20):
                registry.register(at(f"i{number}"))
            await trio.sleep(5)
            place.remote.answers, place.seconds = False, 3.0
            await trio.sleep(20)
            assert all(entry.breaker.state is BreakerState.OPEN for entry in registry.all())
            place.calls.clear()
            place.called.clear()
            await trio.sleep(40)
            assert place.calls in ([63], [62])
            assert all(entry.breaker.state is BreakerState.HALF_OPEN for entry in registry.all())
            await trio.sleep(105)
            assert len(place.calls) == 2
            assert len(set(place.called)) == 2, "another one each time"

    run(main)


def test_who_is_silent_is_removed_in_time_however_seldom_it_is_asked_and_is_back_with_the_probe() -> None:
    async def main() -> None:
        place = Place()
        async with open_registry(watch=WATCH, breaker=POLICY, open_client=place.open) as registry:
            registry.register(at("a"))
            await trio.sleep(5)
            place.remote.answers = False
            await trio.sleep(30)  # unhealthy at 30
            assert registry.get("a").health is Health.UNHEALTHY
            await trio.sleep(54)
            assert "a" in registry.instances
            await trio.sleep(2)
            assert registry.all() == ()
            assert set(registry.capacity().breakers) == {URL}
            place.remote.answers = True
            await registry.wait_for(lambda table: "a" in table)
            assert trio.current_time() == pytest.approx(180, abs=1)
            assert registry.get("a").health is Health.HEALTHY
            assert registry.select().instance_id == "a"
            assert registry.capacity().breakers == {}

    run(main)


def test_a_probe_that_is_not_answered_is_a_miss_of_all_who_are_reached_there() -> None:
    async def main() -> None:
        place = Place()
        policy = attrs.evolve(POLICY, reset_timeout=5.0)
        async with open_registry(watch=WATCH, breaker=policy, open_client=place.open) as registry:
            for name in "abc":
                registry.register(at(name))
            registry.register(at("elsewhere", "ws://127.0.0.1:9"), open_client=Remote().open)
            await trio.sleep(5)
            place.remote.answers = False
            await trio.sleep(6)
            assert {str(registry.get(name).health) for name in "abc"} == {"degraded"}, "each has missed one"
            await trio.sleep(15)
            assert {str(registry.get(name).health) for name in "abc"} == {"unhealthy"}
            report = registry.last_report("b")
            assert report is not None
            assert report.error == "connection refused"
            await trio.sleep(70)
            assert [entry.instance_id for entry in registry.all()] == ["elsewhere"]
            assert registry.get("elsewhere").health is Health.HEALTHY
            place.remote.answers = True
            await trio.sleep(100)
            assert len(registry.healthy()) == 4

    run(main)


def test_those_at_one_url_share_it_and_it_is_told_of_each() -> None:
    async def main() -> None:
        heard: list[RegistryEvent] = []
        async with open_registry(watch=RARELY, breaker=POLICY, open_client=Place().open) as registry:
            async with registry.discover(
                StaticDiscovery([at("a")], name="one"),
                StaticDiscovery([at("b", "WSS://Build.example:7000/")], name="two"),
            ):
                registry.register(at("c", "wss://build.example:7001"))
                await registry.wait_for(lambda table: len(table) == 3)
                with registry.subscribe(match=lambda event: isinstance(event, BreakerChanged)) as feed:
                    registry.report_failure("a")
                    registry.report_failure("b")
                    registry.report_failure("a")
                    await anext(feed)
                    items = [await anext(feed) for _ in range(6)]
                    heard = [item.event for item in items if isinstance(item, Numbered)]
                assert registry.get("a").breaker == registry.get("b").breaker
                assert registry.get("b").breaker.state is BreakerState.OPEN
                assert registry.get("c").breaker.state is BreakerState.CLOSED
                assert set(registry.capacity().breakers) == {URL}
                assert registry.select().instance_id == "c"
                with pytest.raises(NoMatchingInstance, match="breaker"):
                    registry.select(Criteria(exclude={"c"}))
        names = [event.instance_id for event in heard if isinstance(event, BreakerChanged)]
        assert [sorted(names[at : at + 2]) for at in (0, 2, 4)] == [["a", "b"]] * 3
        assert {event.endpoint for event in heard if isinstance(event, BreakerChanged)} == {URL}

    run(main)


def test_who_is_found_again_finds_it_as_it_was_and_nobody_is_given_the_place() -> None:
    async def main() -> None:
        place, told = Place(), list[Sightings]()

        async def tell(sightings: Sightings) -> None:
            told.append(sightings)
            await trio.sleep_forever()

        place.remote.answers = True
        async with open_registry(watch=RARELY, breaker=POLICY, open_client=place.open) as registry:
            async with registry.discover(Told(tell)):
                await wait_all_tasks_blocked()
                told[0].found(at("a"))
                await trio.sleep(1)
                for _ in range(3):
                    registry.report_failure("a")
                opened = registry.get("a").breaker
                told[0].lost("a", "gone")
                await registry.catch_up()
                assert registry.capacity().breakers == {URL: opened}, "nobody is there, and it is as it was"
                async with trio.open_nursery() as nursery:

                    async def find() -> None:
                        await trio.sleep(1)
                        told[0].found(at("b"))

                    nursery.start_soon(find)
                    with pytest.raises(AcquireTimeout):
                        async with registry.acquire(timeout=3):
                            raise AssertionError
                assert registry.get("b").breaker == opened
                told[0].lost("b", "gone")
                await trio.sleep(200)  # nobody is there to be asked when it is due
                asked = len(place.calls)
                told[0].found(at("c"))
                await trio.sleep(1)
                assert place.calls[asked:] == [204], "the probe, as soon as there is somebody; and no more"
                assert registry.select().instance_id == "c"

    run(main)


def test_whoever_asks_is_obeyed_and_an_answer_closes_it() -> None:
    async def main() -> None:
        place = Place()
        place.remote.answers = False
        async with open_registry(watch=RARELY, breaker=POLICY, open_client=place.open) as registry:
            registry.register(at("a"))
            for _ in range(3):
                registry.report_failure("a")
            opened = registry.get("a").breaker
            assert opened.state is BreakerState.OPEN
            assert (await registry.check_health("a")).latency is None
            assert registry.get("a").breaker == opened, "to know what it knew does not put it off"
            place.remote.answers = True
            await registry.check_health("a")
            assert registry.get("a").breaker.state is BreakerState.CLOSED

    run(main)


def test_one_who_goes_while_its_probe_is_out_has_asked_for_all() -> None:
    async def main() -> None:
        place = Place(seconds=4.0)
        async with open_registry(watch=RARELY, breaker=POLICY, open_client=place.open) as registry:
            for name in "ab":
                registry.register(at(name))
            await trio.sleep(5)
            for _ in range(3):
                registry.report_failure("a")
            await trio.sleep(51)
            asked = place.called[-1]
            assert registry.get(asked).breaker.state is BreakerState.HALF_OPEN
            registry.unregister(asked)
            await trio.sleep(4)
            (left,) = registry.all()
            assert left.breaker.state is BreakerState.CLOSED

    run(main)


def test_a_discovery_that_gets_through_again_is_a_reason_to_ask_at_once() -> None:
    async def main() -> None:
        place, runs = Place(), 0

        async def tell(sightings: Sightings) -> None:
            nonlocal runs
            runs += 1
            sightings.snapshot([at("a")])
            if runs == 1:
                await trio.sleep(20)
                raise OSError("lost it")
            await trio.sleep_forever()

        discovery: Discovery = Told(tell)
        async with open_registry(watch=RARELY, breaker=POLICY, open_client=place.open) as registry:
            async with registry.discover(discovery):
                await trio.sleep(10)
                for _ in range(3):
                    registry.report_failure("a")
                await trio.sleep(15)
                assert place.calls == [0, 21]
                assert registry.get("a").breaker.state is BreakerState.CLOSED

    run(main)


def test_so_many_are_asked_at_once_and_no_more() -> None:
    async def main() -> None:
        place = Place(seconds=4.0)
        watch = attrs.evolve(WATCH, at_once=5, health=HealthPolicy(period=100_000.0, timeout=5.0, slow_after=5.0))
        async with open_registry(watch=watch, open_client=place.open) as registry:
            for number in range(30):
                registry.register(at(f"i{number}", f"ws://127.0.0.1:{4000 + number}"))
            await trio.sleep(25)
            assert (len(place.calls), place.most) == (30, 5)
            assert len(registry.healthy()) == 30
            await registry.check_all()
            assert (len(place.calls), place.most) == (60, 5)
            for entry in registry.all():
                for _ in range(3):
                    registry.report_failure(entry.instance_id)
            await trio.sleep(40)
            assert (len(place.calls), place.most) == (90, 5), "the probes of many breakers, too"
            assert len(registry.healthy()) == 30

    run(main)


def test_at_least_one_is_asked_at_once() -> None:
    with pytest.raises(ValueError, match="at_once"):
        Watch(at_once=0)


def test_places_that_nobody_is_at_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pi_trio.registry.breakers._REMEMBERED", 3)

    async def main() -> None:
        async with open_registry(watch=RARELY, open_client=Place().open) as registry:
            for number in range(9):
                registry.register(at("a", f"ws://127.0.0.1:{4000 + number}"))
                for _ in range(3):
                    registry.report_failure("a")
                registry.unregister("a")
            assert [url[-1] for url in registry.capacity().breakers] == ["6", "7", "8"]

    run(main)


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("ws://127.0.0.1:4000", "ws://127.0.0.1:4000/"),
        ("wss://build.example", "WSS://Build.Example:443/"),
        ("ws://build.example/pi", "ws://build.example:80/pi/"),
        ("ws://[::1]:4000", "ws://[::1]:4000/"),
    ],
)
def test_a_place_is_the_same_however_it_is_written(url: str, same: str) -> None:
    assert endpoint_of("a", Profile(url=url)) == endpoint_of("b", Profile(url=same)) == url
    assert endpoint_of("a", Profile()) == "a"
    assert len({endpoint_of("a", Profile(url=each)) for each in (url, url + "/x", url + "?y", "ws://h:1")}) == 4


def test_what_is_no_url_is_a_place_of_its_own() -> None:
    assert endpoint_of("a", Profile(url="ws://h:port")) == "ws://h:port"


histories = st.lists(
    st.tuples(
        st.sampled_from(
            ["register", "register", "unregister", "failed", "failed", "failed", "worked", "pass", "silence"]
        ),
        st.sampled_from("abcd"),
        st.sampled_from([None, "ws://one:1", "ws://two:2"]),
    ),
    max_size=40,
)


@given(histories)
def test_each_has_the_breaker_of_its_endpoint_whatever_happens(plan: list[tuple[str, str, str | None]]) -> None:
    async def main() -> None:
        place = Place()
        policy = BreakerPolicy(failures=2, reset_timeout=3.0, max_reset_timeout=6.0)
        watch = Watch(health=HealthPolicy(period=1.0, timeout=0.5, misses=2), remove_after=2.0)
        async with open_registry(watch=watch, breaker=policy, open_client=place.open) as registry:
            with registry.subscribe(capacity=100_000) as feed:
                for what, name, url in plan:
                    with suppress(InstanceExists, InstanceNotFound):
                        await take(registry, place, what, found(name, url=url))
                    judge(registry)
                await trio.sleep(3)
                judge(registry)
                assert await folded(registry, feed) == dict(registry.instances)
            place.remote.answers = True
            await trio.sleep(12)
            assert all(entry.breaker.state is BreakerState.CLOSED for entry in registry.all())
            assert set(registry.instances) == set(registry._members)

    run(main)


async def take(registry: Registry, place: Place, what: str, whom: Found) -> None:
    if what == "register":
        registry.register(whom)
    elif what == "unregister":
        registry.unregister(whom.instance_id)
    elif what == "pass":
        await trio.sleep(2)
    elif what == "silence":
        place.remote.answers = not place.remote.answers
    elif what == "failed":
        registry.report_failure(whom.instance_id)
    else:
        registry.report_success(whom.instance_id)


def judge(registry: Registry) -> None:
    report = registry.capacity().breakers
    for name, entry in registry.instances.items():
        endpoint = endpoint_of(name, entry.profile)
        assert entry.breaker == registry._breakers.of(endpoint)
        assert (endpoint in report) == (entry.breaker.state is not BreakerState.CLOSED)
