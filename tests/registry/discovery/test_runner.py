"""Discoveries at work: what they find, what becomes of it, and how they fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pi_trio import PiClient
from pi_trio.abc import Discovery, Found, Profile, Sightings
from pi_trio.lifecycle import (
    BreakerPolicy,
    DiscoveryBreakerChanged,
    DiscoveryCompleted,
    DiscoveryFailed,
    ModelChanged,
    RegistryEvent,
)
from pi_trio.registry import (
    Criteria,
    Entry,
    FileDiscovery,
    Numbered,
    Registry,
    StaticDiscovery,
    find_discoveries,
    load_discovery,
)
from pi_trio.registry.discovery import read_found
from tests.concurrency.virtual import run
from tests.registry.members import Remote, found, open_registry


def reachable(_: Entry) -> AbstractAsyncContextManager[PiClient]:
    return Remote().open()


class Told(Discovery):
    """Does what a test says."""

    def __init__(self, tell: Callable[[Sightings], Awaitable[None]], name: str = "told") -> None:
        self._tell = tell
        self._name = name
        self.closed = 0

    @property
    def name(self) -> str:
        return self._name

    async def run(self, sightings: Sightings) -> None:
        await self._tell(sightings)

    async def close(self) -> None:
        self.closed += 1


def discovering(test: Callable[[Registry], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with open_registry(open_client=reachable, **options) as registry:
            await test(registry)

    run(main)


def test_what_is_listed_are_full_members_until_it_ends() -> None:
    async def test(registry: Registry) -> None:
        discovery = StaticDiscovery([found("a", provider="p", region="eu"), found("b")])
        async with registry.discover(discovery):
            await registry.wait_for(lambda table: len(table) == 2)
            assert registry.get("a").profile.source == "static"
            assert str(registry.get("a").mode) == "remote"
            async with registry.open_client("a") as client:
                assert (await client.get_state()).session_id == "s"
            await trio.sleep(1)
            assert registry.get("b").health.value == "healthy"
            assert registry.snapshot().discoveries["static"].completed == 1
        assert registry.all() == ()

    discovering(test)


def test_snapshots_are_compared_and_a_stream_adds_and_removes() -> None:
    async def test(registry: Registry) -> None:
        steps: list[list[str]] = []

        async def tell(sightings: Sightings) -> None:
            async def note() -> None:
                await registry.catch_up()
                steps.append([f"{entry.instance_id}:{entry.max_concurrent}" for entry in registry.all()])

            sightings.snapshot([found("a"), found("b")])
            await note()
            sightings.snapshot([found("b"), found("c")])
            await note()
            sightings.found(found("d"))
            sightings.found(found("d", room=3))
            sightings.lost("b", "it said goodbye")
            sightings.lost("nobody", "")
            await note()

        events: list[RegistryEvent] = []
        async with registry.subscribe(match=lambda event: isinstance(event, DiscoveryCompleted)) as feed:
            async with registry.discover(Told(tell)):
                await wait_all_tasks_blocked()
            await anext(feed)
            events = [item.event for item in [await anext(feed) for _ in range(6)] if isinstance(item, Numbered)]
        assert steps == [["a:1", "b:1"], ["b:1", "c:1"], ["c:1", "d:3"]]
        assert [(each.found, each.lost) for each in events if isinstance(each, DiscoveryCompleted)] == [
            (2, 0),
            (1, 1),
            (1, 0),
            (1, 0),
            (0, 1),
            (0, 0),
        ]

    discovering(test)


def test_the_first_to_tell_of_an_instance_keeps_it() -> None:
    async def test(registry: Registry) -> None:
        registry.register(found("a"))
        async with registry.discover(StaticDiscovery([found("a"), found("b")])):
            await registry.wait_for(lambda table: len(table) == 2)
            assert registry.get("a").profile.source == "registered"
        assert [entry.instance_id for entry in registry.all()] == ["a"]

    discovering(test)


def test_one_that_fails_is_tried_again_as_its_breaker_allows() -> None:
    async def test(registry: Registry) -> None:
        tried: list[float] = []

        async def tell(sightings: Sightings) -> None:
            tried.append(trio.current_time())
            if len(tried) < 5:
                raise OSError("no route")
            sightings.snapshot([found("a")])

        discovery = Told(tell)
        events: list[RegistryEvent] = []
        async with registry.subscribe() as feed:
            async with registry.discover(discovery, breaker=BreakerPolicy(failures=2, reset_timeout=10.0)):
                await trio.sleep(5)
                assert set(registry.capacity().breakers) == {"told"}
                await registry.wait_for(lambda table: "a" in table)
                assert registry.snapshot().discoveries["told"].error is None
                assert registry.capacity().breakers == {}
            with trio.move_on_after(1):
                async for item in feed:
                    events += [item.event] if isinstance(item, Numbered) else []
        assert [round(now) for now in tried] == [0, 1, 11, 31, 71]
        assert sum(isinstance(event, DiscoveryFailed) for event in events) == 4
        states = [str(event.breaker.state) for event in events if isinstance(event, DiscoveryBreakerChanged)]
        assert states == ["closed", "open", "half_open", "open", "half_open", "open", "half_open", "closed"]
        assert discovery.closed == 1

    discovering(test)


def test_one_that_returns_without_a_word_has_told_that_there_is_nothing() -> None:
    async def test(registry: Registry) -> None:
        failed = False

        async def tell(_: Sightings) -> None:
            nonlocal failed
            await trio.lowlevel.checkpoint()
            if not failed:
                failed = True
                raise OSError("no route")

        async with registry.discover(Told(tell), breaker=BreakerPolicy(failures=1, reset_timeout=10.0)):
            await trio.sleep(20)
            entry = registry.snapshot().discoveries["told"]
            assert (entry.completed, entry.error, str(entry.breaker.state)) == (1, None, "closed")

    discovering(test)


def test_while_one_runs_that_may_bring_somebody_a_lease_is_waited_for() -> None:
    async def test(registry: Registry) -> None:
        async def tell(sightings: Sightings) -> None:
            await trio.sleep(5)
            sightings.found(found("a"))

        async with registry.discover(Told(tell)):
            async with registry.acquire() as lease:
                assert (lease.instance_id, trio.current_time()) == ("a", 5)

    discovering(test)


def test_what_the_body_raises_comes_out() -> None:
    async def test(registry: Registry) -> None:
        with pytest.raises(ValueError, match="mine"):
            async with registry.discover(StaticDiscovery([found("a")])):
                await registry.wait_for(lambda table: "a" in table)
                raise ValueError("mine")
        assert registry.all() == ()

    discovering(test)


def test_each_needs_a_name_of_its_own() -> None:
    async def test(registry: Registry) -> None:
        async with registry.discover(StaticDiscovery([])):
            with pytest.raises(ValueError, match="static"):
                async with registry.discover(StaticDiscovery([])):
                    raise AssertionError
        async with registry.discover(StaticDiscovery([]), StaticDiscovery([], name="other")):
            pass

    discovering(test)


def test_what_cannot_be_reached_by_any_means_is_told_and_keeps_nobody_else_out() -> None:
    there = [
        ("ok", "ws://127.0.0.1:9"),
        ("page", "http://127.0.0.1:9"),
        ("dots", "ws://a..b:9"),
        ("bracket", "ws://[::1:9"),
        ("clear", "ws://build.example:9"),
        ("user", "wss://me:hush@build.example:9"),
        ("none", None),
    ]
    members = [Found(name, profile=Profile(url=url), token="hush") for name, url in there]

    async def main() -> None:
        async with open_registry() as registry, registry.discover(StaticDiscovery(members)):
            registry.quiesce()  # nobody is called
            await wait_all_tasks_blocked()
            assert list(registry.instances) == ["ok"]
            error = registry.snapshot().discoveries["static"].error
            assert error is not None
            assert all(repr(name) in error for name, _ in there[1:])
            assert "hush" not in error

    run(main)


# --- a file ------------------------------------------------------------------------------------------

ONE = """
[[instance]]
id = "build-1"
url = "wss://build-1.example:7000"
provider = "anthropic"
model = "m"
region = "eu"
capabilities = ["gpu"]
tags = ["ci"]
max_concurrent = 2
"""


def test_a_file_says_all_there_is_to_say() -> None:
    (one,) = read_found(ONE)
    assert (one.instance_id, one.provider, one.model) == ("build-1", "anthropic", "m")
    profile = one.profile
    assert (profile.url, str(profile.mode), profile.region) == ("wss://build-1.example:7000", "remote", "eu")
    assert (sorted(profile.capabilities), sorted(profile.tags), profile.max_concurrent) == (["gpu"], ["ci"], 2)
    assert read_found("") == ()


def test_a_file_says_where_tokens_are_but_not_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_TOKEN", "secret")
    text = """
[[instance]]
id = "a"
url = "ws://127.0.0.1:9"
token_file = "tokens/a"
[[instance]]
id = "b"
url = "wss://build.example"
token_env = "BUILD_TOKEN"
[[instance]]
id = "c"
url = "ws://127.0.0.1:9"
mode = "remote"
token_file = "/run/c"
"""
    a, b, c = read_found(text, folder=tmp_path)
    assert (a.token, a.token_file, str(a.profile.mode)) == (None, str(tmp_path / "tokens/a"), "local")
    assert (b.token, b.token_file, str(b.profile.mode)) == ("secret", None, "remote")
    assert (c.token, c.token_file, str(c.profile.mode)) == (None, "/run/c", "remote")
    assert "secret" not in repr(b)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[instance]]\nid = 'a'\nurl = 'u'\ntoken = 'secret'", "token_file or token_env"),
        ("[[instance]]\nid = 'a'\nurl = 'u'\ntoken_env = 'NOT_THERE'", "NOT_THERE"),
        ("[[instance]]\nid = 'a'\nurl = 'u'\ntoken_env = 'PATH'\ntoken_file = 't'", "exclude"),
        ("instance = 3", "expected"),
        ("instances = []", "instances"),
        ("[[instance]]\nid = 'a'", "id and a url"),
        ("[[instance]]\nid = 'a'\nurl = 'u'\ncolour = 'red'", "colour"),
        ("[[instance]]\nid = 'a'\nurl = 'u'\nmax_concurrent = '2'", "max_concurrent"),
        ("[[instance]]\nid = 'a'\nurl = 'u'\nmax_concurrent = 0", "max_concurrent"),
        ("[[instance]]\nid = 'a'\nurl = 'u'\ntags = [1]", "tags"),
        ("[[instance]]\nid = 'a'\nurl = 'u'\nmode = 'near'", "near"),
        ("[[instance]]\nid = 'a'\nurl = 'u'\n" * 2, "two instances"),
        ("[[", "at end of document"),
    ],
)
def test_a_file_that_says_something_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_found(text)


def test_a_file_is_watched(tmp_path: Path) -> None:
    path = tmp_path / "instances.toml"

    async def test(registry: Registry) -> None:
        async with registry.discover(FileDiscovery(path, period=1.0)):
            await trio.sleep(0.5)
            assert "No such file" in (registry.snapshot().discoveries["file:instances.toml"].error or "")
            path.write_text(ONE)
            await registry.wait_for(lambda table: "build-1" in table)
            path.write_text(ONE + "[[instance]]\nid = 'b'\nurl = 'u'\n")
            await registry.wait_for(lambda table: "b" in table)
            path.write_text("[[")
            await trio.sleep(2)
            assert set(registry.instances) == {"build-1", "b"}, "what it said before stays"
            path.write_text("")
            await registry.wait_for(lambda table: not table)

    discovering(test)


def test_a_file_that_was_mended_is_read_at_once_however_long_it_was_broken(tmp_path: Path) -> None:
    path = tmp_path / "instances.toml"
    path.write_text("[[")

    async def test(registry: Registry) -> None:
        async with registry.discover(FileDiscovery(path, period=1.0)):
            await trio.sleep(5000)
            breaker = registry.capacity().breakers["file:instances.toml"]
            assert breaker.retry_at is not None
            assert breaker.retry_at - trio.current_time() > 100
            path.write_text("[[instance]]")  # another mistake is told as soon
            await trio.sleep(3)
            assert "id and a url" in (registry.snapshot().discoveries["file:instances.toml"].error or "")
            path.write_text(ONE)
            await trio.sleep(3)
            assert "build-1" in registry.instances
            assert registry.capacity().breakers == {}

    discovering(test)


@pytest.mark.parametrize("how", ["it appears", "it may be read"])
def test_a_file_that_could_not_be_read_is_when_it_can(tmp_path: Path, how: str) -> None:
    path = tmp_path / "there" / "instances.toml"
    if how == "it may be read":
        path.mkdir(parents=True)  # to read a folder is refused, whoever asks

    async def test(registry: Registry) -> None:
        async with registry.discover(FileDiscovery(path, period=1.0)):
            await trio.sleep(5000)
            assert registry.snapshot().discoveries["file:instances.toml"].error
            if how == "it may be read":
                path.rmdir()
            path.parent.mkdir(exist_ok=True)
            path.write_text(ONE)
            await trio.sleep(3)
            assert "build-1" in registry.instances

    discovering(test)


def test_a_file_that_stays_broken_is_read_no_oftener_than_the_breaker_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "instances.toml"
    path.write_text("[[")
    reads = 0

    def read(text: str, *, folder: Path) -> Any:
        nonlocal reads
        reads += 1
        return read_found(text, folder=folder)

    monkeypatch.setattr("pi_trio.registry.discovery.static.read_found", read)

    async def test(registry: Registry) -> None:
        async with registry.discover(
            FileDiscovery(path, period=1.0), breaker=BreakerPolicy(failures=1, reset_timeout=100.0)
        ):
            await trio.sleep(250)
            assert reads == 2

    discovering(test)


def test_news_cut_the_time_of_an_open_breaker_short_and_are_no_endless_loop() -> None:
    class News(Told):
        def news(self) -> Callable[[], Awaitable[None]]:
            return self._wait

        async def _wait(self) -> None:
            asked.append(trio.current_time())
            await trio.lowlevel.checkpoint()
            if len(asked) > 3:
                raise OSError("its own mistake")

    asked: list[float] = []
    tried: list[float] = []

    async def tell(_: Sightings) -> None:
        tried.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        raise OSError("no route")

    async def test(registry: Registry) -> None:
        states: list[str] = []
        async with registry.subscribe(match=lambda event: isinstance(event, DiscoveryBreakerChanged)) as feed:
            async with registry.discover(News(tell), breaker=BreakerPolicy(failures=1, reset_timeout=100.0)):
                await trio.sleep(200)
            with trio.move_on_after(1):
                async for item in feed:
                    if isinstance(item, Numbered):
                        assert isinstance(item.event, DiscoveryBreakerChanged)
                        states.append(str(item.event.breaker.state))
        # A second between two attempts at least; and when nobody knows of news, as long as the breaker says.
        assert [round(now) for now in tried] == [0, 1, 2, 3]
        assert states == ["open", *["half_open", "open"] * 3]

    discovering(test)


# --- those of other packages ---------------------------------------------------------------------


def test_those_that_are_installed_are_found_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    info = tmp_path / "third_party-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pi_trio.discoveries]\nlisted = pi_trio.registry:StaticDiscovery\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_discoveries() == ("listed",)
    discovery = load_discovery("listed")([Found("a")])
    assert isinstance(discovery, StaticDiscovery)
    with pytest.raises(LookupError, match="listed"):
        load_discovery("other")


def test_another_model_is_told_and_leases_stay() -> None:
    async def test(registry: Registry) -> None:
        go_on = trio.Event()

        async def tell(sightings: Sightings) -> None:
            sightings.found(attrs.evolve(found("a"), model="old"))
            await go_on.wait()
            sightings.found(attrs.evolve(found("a"), model="new"))

        async with registry.discover(Told(tell)):
            await registry.wait_for(lambda table: "a" in table)
            async with registry.subscribe(match=lambda event: isinstance(event, ModelChanged)) as feed:
                await anext(feed)
                async with registry.acquire(Criteria(model="old")) as lease:
                    go_on.set()
                    await registry.wait_for(lambda table: table["a"].model == "new")
                    assert lease.lost is None
                item = await anext(feed)
                assert isinstance(item, Numbered)
                assert item.event == ModelChanged("a", item.event.at, None, "new")
            assert registry.statistics().registered == 1
            assert registry.select(Criteria(model="new")).entry.instance_id == "a"

    discovering(test)


def test_a_discovery_may_open_clients_in_a_way_of_its_own() -> None:
    class Own(Told):
        def opener(self, found: Found) -> Callable[[], AbstractAsyncContextManager[PiClient]]:
            opened.append(found.instance_id)
            return remote.open

    opened: list[str] = []
    remote = Remote()

    async def test(registry: Registry) -> None:
        async def tell(sightings: Sightings) -> None:
            sightings.found(found("a"))

        async with registry.discover(Own(tell)):
            await registry.wait_for(lambda table: "a" in table)
            async with registry.open_client("a") as client:
                assert (await client.send("hello")).text == "re: hello"
        assert opened == ["a"]
        assert remote.prompts == ["hello"]

    discovering(test)
