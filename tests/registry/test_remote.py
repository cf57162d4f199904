"""Members that nobody spawned here: real Pis behind endpoints, known from a list or a file."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from pi_trio import (
    ConnectFailed,
    ConnectionClosed,
    Criteria,
    FileDiscovery,
    Found,
    Health,
    HealthPolicy,
    Instance,
    InstanceExists,
    InstanceState,
    LeaseLost,
    Mode,
    Profile,
    Registry,
    StaticDiscovery,
    Watch,
    open_registry,
    open_runtime,
)
from pi_trio.launch import PiInstall
from pi_trio.lifecycle import HealthChanged
from pi_trio.registry import Numbered
from tests.registry.test_real_pi import say_it_back
from tests.support import Scripted, run, scripted

# As quick as a test wants it; nothing depends on how quick. A Pi that is merely slow must not be taken for a silent one.
WATCH = Watch(health=HealthPolicy(period=0.05, timeout=1.0, slow_after=30.0, misses=2), remove_after=0.2)


async def serve(world: Scripted, port: int | bool = True) -> Instance:
    return await world.runtime.spawn(world.spec(), endpoint=port)


def url_of(instance: Instance) -> str:
    assert instance.endpoint is not None
    return instance.endpoint.url


@asynccontextmanager
async def two_served(pi: PiInstall, folder: Path) -> AsyncIterator[tuple[Scripted, list[Found]]]:
    """Two Pis at endpoints, and how a list says them."""
    async with scripted(pi, folder, say_it_back) as world:
        token = world.runtime.endpoints.token
        instances = [await serve(world), await serve(world)]
        yield (
            world,
            [Found(f"build-{each.id}", profile=Profile(url=url_of(each)), token=token) for each in instances],
        )


async def all_healthy(registry: Registry, count: int) -> None:
    await registry.wait_for(
        lambda table: len(table) == count and all(entry.health is Health.HEALTHY for entry in table.values())
    )


def test_those_of_a_list_are_used_as_if_they_ran_here(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_served(pi, tmp_path) as (world, found), open_registry() as registry:
            async with registry.discover(StaticDiscovery(found)):
                await all_healthy(registry, 2)
                entry = registry.get("build-pi-1")
                assert (entry.state, entry.mode, entry.profile.source) == (InstanceState.RUNNING, Mode.LOCAL, "static")
                # Nobody listed these: it was asked.
                assert (entry.provider, entry.model) == ("scripted", "scripted-1")
                assert entry.session_id == world.runtime.registry.get("pi-1").session_id
                async with registry.open_client("build-pi-1") as client:
                    assert (await client.send("hello")).text == "re: hello"
                async with registry.acquire(Criteria(model="scripted-1")) as one, registry.acquire() as other:
                    assert {one.instance_id, other.instance_id} == {"build-pi-1", "build-pi-2"}
                    async with other.open_client() as client:
                        assert (await client.send("leased")).text == "re: leased"
                reply = await registry.run("anybody", Criteria(provider="scripted"))
                assert reply.text == "re: anybody"
                report = await registry.check_health("build-pi-2")
                assert report.latency is not None
                assert world.runtime.endpoints.token not in repr((found, registry.snapshot()))
            assert registry.all() == ()
            assert len(world.runtime.list(state=InstanceState.RUNNING)) == 2, "what was found goes on"

    run(main)


def test_a_runtime_has_them_beside_its_own(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_served(one_pi, tmp_path) as (world, found), open_runtime() as runtime:
            named_alike = Found("pi-1", profile=found[0].profile, token=found[0].token)
            async with runtime.registry.discover(StaticDiscovery([named_alike])):
                await all_healthy(runtime.registry, 1)
                own = await runtime.spawn(world.spec())
                assert own.id == "pi-2", "that name is another's"
                with pytest.raises(InstanceExists):
                    await runtime.spawn(world.spec(), id="pi-1")
                async with runtime.registry.acquire() as one, runtime.registry.acquire() as other:
                    assert {one.instance_id, other.instance_id} == {"pi-1", "pi-2"}
                    async with one.open_client() as here, other.open_client() as there:
                        assert (await here.send("a")).text + (await there.send("b")).text == "re: are: b"
                await own.stop()
                await runtime.registry.wait_for(lambda table: list(table) == ["pi-1"])

    run(main)


def test_one_of_a_file_is_out_when_its_endpoint_is_lost_and_back_when_that_is(
    one_pi: PiInstall, tmp_path: Path
) -> None:
    listing = tmp_path / "instances.toml"

    async def main() -> None:
        async with scripted(one_pi, tmp_path, say_it_back) as world, open_registry(watch=WATCH) as registry:
            instance = await serve(world)
            endpoint, token_file = instance.endpoint, world.runtime.endpoints.token_file
            assert endpoint is not None
            listing.write_text(f"[[instance]]\nid = 'build'\nurl = '{endpoint.url}'\ntoken_file = '{token_file}'\n")
            changes: list[tuple[Health, str | None]] = []

            async def follow(task_status: trio.TaskStatus[None]) -> None:
                with registry.subscribe(match=lambda event: isinstance(event, HealthChanged)) as feed:
                    task_status.started()
                    async for item in feed:
                        if isinstance(item, Numbered):
                            assert isinstance(item.event, HealthChanged)
                            changes.append((item.event.health, item.event.error))

            async with trio.open_nursery() as nursery, registry.discover(FileDiscovery(listing, period=0.05)):
                await nursery.start(follow)
                await all_healthy(registry, 1)
                with pytest.raises((LeaseLost, ConnectionClosed)):
                    async with registry.acquire() as lease, lease.open_client() as client:
                        assert (await client.send("before")).text == "re: before"
                        await instance.stop()
                        await client.send("nobody hears this")
                await registry.wait_for(lambda table: "build" not in table)
                with pytest.raises(ConnectFailed):
                    async with registry.open_client("build"):
                        raise AssertionError
                await serve(world, endpoint.port)
                await all_healthy(registry, 1)
                assert (await registry.run("after")).text == "re: after"
                nursery.cancel_scope.cancel()
            assert [health for health, _ in changes] == [
                Health.HEALTHY,
                Health.DEGRADED,
                Health.UNHEALTHY,
                Health.HEALTHY,
            ]
            assert all((error is None) == (health is Health.HEALTHY) for health, error in changes)

    run(main)


def test_one_that_is_stopped_is_silent_and_well_when_it_goes_on(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, say_it_back) as world, open_registry(watch=WATCH) as registry:
            instance = await serve(world)
            found = Found("a", profile=Profile(url=url_of(instance)), token=world.runtime.endpoints.token)
            async with registry.discover(StaticDiscovery([found])):
                await all_healthy(registry, 1)
                assert instance.pid is not None
                os.kill(instance.pid, signal.SIGSTOP)
                await registry.wait_for(lambda table: "a" in table and table["a"].health is Health.UNHEALTHY)
                os.kill(instance.pid, signal.SIGCONT)
                await all_healthy(registry, 1)

    run(main)


def test_a_wrong_token_says_so(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, say_it_back) as world, open_registry() as registry:
            found = Found("a", profile=Profile(url=url_of(await serve(world))), token="wrong")
            async with registry.discover(StaticDiscovery([found])):
                await registry.wait_for(lambda table: "a" in table)
                report = await registry.check_health("a")
                assert report.error is not None
                assert "401" in report.error
                with pytest.raises(ConnectFailed, match="401"):
                    async with registry.open_client("a"):
                        raise AssertionError

    run(main)


def test_another_token_may_take_the_place_of_the_one_in_the_file(one_pi: PiInstall, tmp_path: Path) -> None:
    path = tmp_path / "token"

    async def main() -> None:
        async with scripted(one_pi, tmp_path, say_it_back) as world, open_registry() as registry:
            registry.register(Found("a", profile=Profile(url=url_of(await serve(world))), token_file=str(path)))
            said = {}
            for text in (b"", b"two\nlines", "tök".encode("latin-1"), b"wrong"):
                path.write_bytes(text)
                said[text] = (await registry.check_health("a")).error
            assert all(error is not None for error in said.values())
            assert "does not hold a token" in str(said[b"two\nlines"])
            assert "lines" not in str(said[b"two\nlines"])
            path.write_text(world.runtime.endpoints.token + "\n")
            assert (await registry.check_health("a")).error is None
            path.unlink()
            assert "No such file" in str((await registry.check_health("a")).error)

    run(main)
