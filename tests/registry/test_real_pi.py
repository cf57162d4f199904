"""The registry of real Pis: leases under fire, growing and shrinking, a reserve."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from pi_trio import (
    Backoff,
    ClientError,
    Criteria,
    HealthPolicy,
    InstanceNotFound,
    InstanceState,
    LeaseLost,
    LeastLoaded,
    NoMatchingInstance,
    PowerOfTwoChoices,
    Random,
    Registry,
    RestartPolicy,
    RoundRobin,
    ScalingPolicy,
    Sticky,
)
from pi_trio.launch import PiInstall
from pi_trio.lifecycle import ModelChanged, SessionChanged, Unregistered
from pi_trio.registry import Entry, Numbered, Snapshot, fold, report_capacity
from pi_trio.testing import ModelRequest, Turn
from tests.support import run, scripted

AGAIN = RestartPolicy(backoff=Backoff(base=0.01, cap=0.05, jitter=0.0))
QUICK = HealthPolicy(period=0.5, timeout=1.0, misses=2, action="restart")


def say_it_back(request: ModelRequest) -> Turn:
    return Turn(["re: ", str(request.prompt)], chunk_delay=0.02)


def test_spawned_instances_register_themselves_and_go_with_their_end(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, say_it_back) as world:
            registry = world.runtime.registry
            instance = await world.spawn(capabilities={"gpu"}, region="eu", tags={"ci"}, max_concurrent=2)
            entry = registry.get(instance.id)
            assert (entry.state, entry.model, entry.pid) == (InstanceState.RUNNING, "scripted-1", instance.pid)
            assert (entry.profile.region, entry.profile.source) == ("eu", "spawned")
            selected = registry.select(Criteria(capabilities={"gpu"}, region="eu", tags={"ci"}, min_free=2))
            assert selected.instance_id == instance.id
            report = await registry.check_health(instance.id)
            assert report.latency is not None
            assert (await registry.run("hello")).text == "re: hello"
            with registry.subscribe(match=lambda event: isinstance(event, SessionChanged | Unregistered)) as feed:
                await anext(feed)
                await instance.client.new_session()
                changed = await anext(feed)
                assert isinstance(changed, Numbered)
                assert isinstance(changed.event, SessionChanged)
                assert changed.event.session_id == instance.client.session_id
                await registry.catch_up()
                assert registry.get(instance.id).session_id == instance.client.session_id
                await instance.stop()
                gone = await anext(feed)
                assert isinstance(gone, Numbered)
                assert isinstance(gone.event, Unregistered)
            with pytest.raises(InstanceNotFound):
                registry.get(instance.id)
            assert world.runtime.get(instance.id) is instance, "the runtime remembers what is over"

    run(main)


def test_the_model_that_answers_is_told_not_the_one_that_was_asked_for(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, say_it_back) as world:
            with world.runtime.registry.subscribe(match=lambda event: isinstance(event, ModelChanged)) as feed:
                instance = await world.spawn(provider=None, model="scripted/scripted-1")
                assert world.runtime.registry.get(instance.id).model == "scripted-1"
                assert world.runtime.registry.get(instance.id).provider == "scripted"
                assert isinstance(await anext(feed), Snapshot)
                told = await anext(feed)
                assert isinstance(told, Numbered)
                assert isinstance(told.event, ModelChanged)

    run(main)


# --- a mixed load, under fire ------------------------------------------------------------------------


class Load:
    """Two hundred leased runs; what became of each, and what the registry said meanwhile."""

    def __init__(self, registry: Registry, count: int) -> None:
        self.registry = registry
        self.count = count
        self.ended: Counter[int] = Counter()
        self.replies = 0
        self.failures: list[BaseException] = []
        self.events = 0
        self._progress = trio.Event()

    async def one(self, number: int) -> None:
        strategies = [LeastLoaded(), RoundRobin(), Random(3), PowerOfTwoChoices(3), Sticky(f"user {number % 7}")]
        strategy = strategies[number % len(strategies)]
        try:
            if number % 2:
                text = (await self.registry.run(f"task {number}", strategy=strategy, timeout=60)).text
            else:
                async with self.registry.acquire(strategy=strategy) as lease, lease.open_client() as client:
                    text = (await client.send(f"task {number}", timeout=60)).text
            assert text == f"re: task {number}"
            self.replies += 1
        except (LeaseLost, ClientError) as error:
            self.failures.append(error)
        self.ended[number] += 1
        self._progress.set()
        self._progress = trio.Event()

    async def wait_ended(self, count: int) -> None:
        while sum(self.ended.values()) < count:
            await self._progress.wait()

    async def judge(self, task_status: trio.TaskStatus[None]) -> None:
        """At every event: nobody over its limit, and the report adds up."""
        folded: dict[str, Entry] = {}
        seq = -1
        with self.registry.subscribe(capacity=100_000) as feed:
            task_status.started()
            async for item in feed:
                if isinstance(item, Snapshot):
                    folded, seq = dict(item.instances), item.seq
                    continue
                assert isinstance(item, Numbered)
                assert item.seq == seq + 1
                folded, seq = fold(folded, item.event), item.seq
                report = report_capacity(folded.values())
                for entry in folded.values():
                    assert 0 <= entry.in_use <= entry.max_concurrent
                assert report.total.in_use == sum(entry.in_use for entry in folded.values())
                for group in (report.by_provider, report.by_region, report.by_model):
                    assert sum(each.total for each in group.values()) == report.total.total
                    assert all(each.in_use + each.free + each.unavailable == each.total for each in group.values())
                self.events += 1


def test_two_hundred_leased_runs_with_two_killed_and_one_stopped(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, say_it_back) as world:
            registry = world.runtime.registry
            instances = [
                await world.spawn(
                    restart=AGAIN,
                    health=QUICK,
                    region=("eu", "us")[number % 2],
                    max_concurrent=1 + number % 2,
                )
                for number in range(4)
            ]
            load = Load(registry, 200)
            async with trio.open_nursery() as judging:
                await judging.start(load.judge)
                async with trio.open_nursery() as nursery:
                    for number in range(load.count):
                        nursery.start_soon(load.one, number)
                    shots = (signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP)  # the fourth goes on
                    for instance, shot, ended in zip(instances, shots, (50, 75, 100), strict=False):
                        await load.wait_ended(ended)
                        assert instance.pid is not None
                        os.kill(instance.pid, shot)
                assert load.events > 400
                judging.cancel_scope.cancel()
            assert load.ended == Counter(range(200)), "every run ended exactly once"
            assert load.replies + len(load.failures) == 200
            # Only what was under way on one of the three may have failed: four leases, and those that were given out before
            # the end of their process was known.
            assert 1 <= len(load.failures) <= 12, load.failures
            assert registry.statistics().leases_lost >= 1
            await registry.wait_for(lambda table: all(entry.state is InstanceState.RUNNING for entry in table.values()))
            assert [instance.status().incarnation for instance in instances] == [2, 2, 2, 1]
            assert registry.waiting == 0
            assert all(entry.in_use == 0 for entry in registry.all())

    run(main, patience=180)


# --- growing, shrinking, and a reserve -------------------------------------------------------------


def test_it_grows_from_one_to_four_and_shrinks_back(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, say_it_back) as world:
            registry = world.runtime.registry
            policy = ScalingPolicy(min_instances=1, max_instances=4, min_free=1, idle_timeout=0.5)
            async with registry.discover(world.runtime.auto_spawn(world.spec(), policy)):
                await registry.wait_for(lambda table: any(entry.free for entry in table.values()))
                async with AsyncExitStack() as stack:
                    ids = {(await stack.enter_async_context(registry.acquire())).instance_id for _ in range(4)}
                    assert len(ids) == 4
                    assert len(world.runtime.list(state=InstanceState.RUNNING)) == 4
                await registry.wait_for(lambda table: len(table) == 1)
                assert (await registry.run("still there?")).text == "re: still there?"
            assert registry.all() == ()

    run(main, patience=120)


def test_a_reserve_serves_fifty_each_with_a_fresh_session(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, say_it_back) as world:
            sessions = set()
            async with world.runtime.warm_pool(world.spec(), 2) as pool:
                for number in range(50):
                    async with pool.acquire() as lease, lease.open_client() as client:
                        assert (await client.get_state()).message_count == 0
                        sessions.add(client.session_id)
                        if number % 10 == 0:
                            assert (await client.send("hello")).text == "re: hello"
                assert len(sessions) == 50
                assert world.runtime.statistics().spawned == 2
                with pytest.raises(NoMatchingInstance, match="selectable"):
                    world.runtime.registry.select()
            assert world.runtime.registry.all() == ()

    run(main, patience=120)
