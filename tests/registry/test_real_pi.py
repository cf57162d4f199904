"""The registry of real Pis: leases under fire, growing and shrinking, a reserve."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import attrs
import pytest
import trio

from pi_trio import (
    Backoff,
    ClientError,
    Criteria,
    Health,
    HealthPolicy,
    InstanceNotFound,
    InstanceState,
    LeaseLost,
    LeastLoaded,
    NoMatchingInstance,
    PowerOfTwoChoices,
    ProcessExited,
    Random,
    Registry,
    RestartPolicy,
    RoundRobin,
    ScalingPolicy,
    Sticky,
)
from pi_trio.launch import PiInstall
from pi_trio.lifecycle import ModelChanged, SessionChanged, Unregistered
from pi_trio.protocol import AssistantMessage, UserMessage
from pi_trio.registry import Capacity, CapacityReport, Entry, Numbered, Snapshot, fold, report_capacity
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


# --- what was started, and what was not -----------------------------------------------------------------


def key_for(registry: Registry, instance_id: str) -> Sticky:
    """A strategy whose first choice is this instance."""
    keys = (Sticky(f"key {number}") for number in range(10_000))
    return next(each for each in keys if registry.select(strategy=each).instance_id == instance_id)


def wait_dead(pid: int) -> None:
    """Until the process has nothing open any more; without a turn for any other task, so that nobody here has noticed."""
    with suppress(FileNotFoundError):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.001)
        while len(list(Path(f"/proc/{pid}/task").iterdir())) > 1:  # its threads share what is open, and die one by one
            time.sleep(0.001)


def test_what_was_not_started_is_run_elsewhere_and_what_was_is_told(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        released = trio.Event()
        shoot: list[int] = []

        async def script(request: ModelRequest) -> Turn:
            if request.prompt == "take your time":
                await released.wait()
            if request.prompt == "die of it":
                os.kill(shoot[0], signal.SIGKILL)
            return say_it_back(request)

        async with scripted(pi, tmp_path, script) as world:
            world.model.configure(tmp_path / "agent", models=["m-one", "m-other"])
            registry = world.runtime.registry

            def asked(prompt: str) -> list[str]:
                return [request.model for request in world.model.requests if request.prompt == prompt]

            other = await world.spawn(model="m-other")

            refusing = await world.spawn(model="m-one")
            await refusing.client.prompt("take your time")  # as somebody might who has no lease
            assert (await registry.run("refused", strategy=key_for(registry, refusing.id))).text == "re: refused"
            assert asked("refused") == ["m-other"]
            released.set()
            await refusing.stop()

            dead = await world.spawn(model="m-one")
            strategy = key_for(registry, dead.id)
            assert dead.pid is not None
            os.kill(dead.pid, signal.SIGKILL)
            wait_dead(dead.pid)
            assert (await registry.run("not taken", strategy=strategy)).text == "re: not taken"
            assert asked("not taken") == ["m-other"]
            assert registry.statistics().leases_taken == 4, "the dead one was tried"

            dying = await world.spawn(model="m-one")
            assert dying.pid is not None
            shoot.append(dying.pid)
            with pytest.raises((ProcessExited, LeaseLost)):
                await registry.run("die of it", strategy=key_for(registry, dying.id))
            assert asked("die of it") == ["m-one"], "nobody else was asked to do it a second time"
            await dying.wait_stopped()
            await registry.catch_up()
            assert [entry.instance_id for entry in registry.all()] == [other.id]
            assert registry.get(other.id).in_use == 0

    run(main)


# --- a mixed load, under fire ------------------------------------------------------------------------


class Asked:
    """The model's side of a load: what it was asked, by which instance, and how much at once. Each has a model of its own."""

    def __init__(self) -> None:
        self.rooms: dict[str, int] = {}
        self.count: Counter[str] = Counter()
        self.under_way: dict[str, set[str]] = {}
        self.over: set[str] = set()
        self.too_many: list[tuple[str, set[str]]] = []

    def __call__(self, request: ModelRequest) -> Turn:
        self.count[request.prompt] += 1
        if request.prompt not in self.over:  # else a process asked in its last moment
            here = self.under_way.setdefault(request.model, set())
            here.add(request.prompt)
            if len(here) > self.rooms[request.model]:
                self.too_many.append((request.model, set(here)))
        return say_it_back(request)

    def ended(self, prompt: str) -> None:
        """Its run is over, well or not."""
        self.over.add(prompt)
        for here in self.under_way.values():
            here.discard(prompt)


class Load:
    """Two hundred leased runs; what became of each, and what the registry said meanwhile."""

    def __init__(self, registry: Registry, count: int, asked: Asked) -> None:
        self.registry = registry
        self.count = count
        self.asked = asked
        self.ended: Counter[int] = Counter()
        self.replied: set[int] = set()
        self.failures: list[BaseException] = []
        self.events = 0
        self.folded: dict[str, Entry] = {}
        self._progress = trio.Event()

    async def one(self, number: int) -> None:
        strategies = [LeastLoaded(), RoundRobin(), Random(3), PowerOfTwoChoices(3), Sticky(f"user {number % 7}")]
        strategy = strategies[number % len(strategies)]
        prompt = f"task {number}"
        try:
            if number % 2:
                text = (await self.registry.run(prompt, strategy=strategy, timeout=60)).text
            else:
                async with self.registry.acquire(strategy=strategy) as lease, lease.open_client() as client:
                    text = (await client.send(prompt, timeout=60)).text
            assert text == f"re: {prompt}"
            self.replied.add(number)
        except (LeaseLost, ClientError) as error:
            self.failures.append(error)
        # No checkpoint since the lease was given back: whoever gets it now has not prompted yet.
        self.asked.ended(prompt)
        self.ended[number] += 1
        self._progress.set()
        self._progress = trio.Event()

    async def wait_ended(self, count: int) -> None:
        while sum(self.ended.values()) < count:
            await self._progress.wait()

    async def judge(self, task_status: trio.TaskStatus[None]) -> None:
        """At every event: nobody over its limit, and the report adds up."""
        seq = -1
        with self.registry.subscribe(capacity=100_000) as feed:
            task_status.started()
            async for item in feed:
                if isinstance(item, Snapshot):
                    self.folded, seq = dict(item.instances), item.seq
                    continue
                assert isinstance(item, Numbered)
                assert item.seq == seq + 1
                self.folded, seq = fold(self.folded, item.event), item.seq
                check_report(report_capacity(self.folded.values()), self.folded)
                check_report(self.registry.capacity(), self.registry.instances)
                self.events += 1


def check_report(report: CapacityReport, table: Mapping[str, Entry]) -> None:
    """It is the sum of its parts, and of the table."""
    assert all(0 <= entry.in_use <= entry.max_concurrent for entry in table.values())
    assert report.total.instances == len(table)
    assert report.total.in_use == sum(entry.in_use for entry in table.values())
    assert report.total.total == sum(entry.max_concurrent for entry in table.values())
    for group in (report.by_provider, report.by_region, report.by_model):
        for each in (report.total, *group.values()):
            assert each.in_use + each.free + each.unavailable == each.total
        for field in attrs.fields(Capacity):
            assert sum(getattr(each, field.name) for each in group.values()) == getattr(report.total, field.name)


def test_two_hundred_leased_runs_with_two_killed_and_one_stopped(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        asked = Asked()
        async with scripted(one_pi, tmp_path, asked) as world:
            registry = world.runtime.registry
            asked.rooms = {f"m-{number}": 1 + number % 2 for number in range(4)}
            world.model.configure(tmp_path / "agent", models=asked.rooms)
            instances = [
                await world.spawn(
                    restart=AGAIN,
                    health=QUICK,
                    region=("eu", "us")[number % 2],
                    model=f"m-{number}",
                    max_concurrent=1 + number % 2,
                )
                for number in range(4)
            ]
            load = Load(registry, 200, asked)
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
            assert len(load.replied) + len(load.failures) == 200
            # Only what was under way on one of the three may have failed: four leases, and those that were given out before
            # the end of their process was known.
            assert 1 <= len(load.failures) <= 12, load.failures
            # The model's side: a run that ended well was asked for once, and one that failed not more often.
            assert {f"task {number}" for number in load.replied} <= asked.count.keys()
            assert asked.count.keys() <= {f"task {number}" for number in range(200)}
            assert set(asked.count.values()) == {1}
            assert sum(asked.count.values()) == len(world.model.requests)
            assert asked.too_many == []
            assert world.model.most_at_once.keys() == asked.rooms.keys(), "all four had work"
            assert all(most <= asked.rooms[model] for model, most in world.model.most_at_once.items())
            assert registry.statistics().leases_lost >= 1
            await registry.wait_for(lambda table: all(entry.state is InstanceState.RUNNING for entry in table.values()))
            assert [instance.status().incarnation for instance in instances] == [2, 2, 2, 1]
            assert registry.waiting == 0
            assert all(entry.in_use == 0 for entry in registry.all())

    run(main, patience=180)


# --- growing, shrinking, and a reserve -------------------------------------------------------------


class Rush:
    """A model that answers nobody until four ask it at the same time; from then on, everybody."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self._under_way = 0
        self._four = trio.Event()

    async def __call__(self, request: ModelRequest) -> Turn:
        self.count[request.prompt] += 1
        self._under_way += 1
        if self._under_way == 4:
            self._four.set()
        await self._four.wait()
        return say_it_back(request)


def test_it_grows_from_one_to_four_under_load_and_shrinks_back(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        rush = Rush()
        async with scripted(one_pi, tmp_path, rush) as world:
            registry = world.runtime.registry
            policy = ScalingPolicy(min_instances=1, max_instances=4, min_free=0, idle_timeout=0.3)
            ended: Counter[int] = Counter()
            sizes: list[int] = []

            async def work(number: int) -> None:
                reply = await registry.run(f"task {number}")
                assert reply.text == f"re: task {number}"
                ended[number] += 1

            async def watch(task_status: trio.TaskStatus[None]) -> None:
                folded: dict[str, Entry] = {}
                with registry.subscribe(capacity=100_000) as feed:
                    task_status.started()
                    async for item in feed:
                        assert isinstance(item, Snapshot | Numbered)
                        folded = dict(item.instances) if isinstance(item, Snapshot) else fold(folded, item.event)
                        sizes.append(len(folded))

            async with registry.discover(world.runtime.auto_spawn(world.spec(), policy)):
                await registry.wait_for(lambda table: any(entry.free for entry in table.values()))
                async with trio.open_nursery() as watching:
                    await watching.start(watch)
                    async with trio.open_nursery() as nursery:
                        for number in range(40):
                            nursery.start_soon(work, number)
                    assert max(sizes) == 4
                    number = 40
                    while len(registry.instances) > 1:  # there is always somebody who wants something while it shrinks
                        await work(number)
                        number += 1
                        await trio.sleep(policy.idle_timeout)  # as much work as one can do
                    await registry.catch_up()
                    watching.cancel_scope.cancel()
                assert (sizes[0], max(sizes)) == (1, 4)
                await work(number)
                assert ended == Counter(range(number + 1)), "every run ended once"
                assert rush.count == Counter(f"task {each}" for each in range(number + 1)), "and was asked for once"
                assert world.model.most_at_once == {"scripted-1": 4}
                assert registry.statistics().leases_lost == 0
                assert registry.statistics().leases_taken == number + 1
            assert registry.all() == ()

    run(main, patience=120)


def test_one_that_does_not_answer_any_more_is_not_handed_out_of_a_reserve(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, say_it_back) as world:
            registry = world.runtime.registry
            told = HealthPolicy(period=0.2, timeout=0.5, misses=2, action="report")
            async with world.runtime.warm_pool(world.spec(health=told), 2) as pool:
                await pool.wait_full()
                (stopped, well) = registry.all()
                assert stopped.pid is not None
                os.kill(stopped.pid, signal.SIGSTOP)
                await registry.wait_for(lambda table: table[stopped.instance_id].health is Health.UNHEALTHY)
                async with pool.acquire() as one, pool.acquire() as other:
                    assert one.instance_id == well.instance_id
                    assert other.instance_id not in (stopped.instance_id, well.instance_id)
                    async with other.open_client() as client:
                        assert (await client.send("hello")).text == "re: hello"
                await registry.wait_for(lambda table: stopped.instance_id not in table)
                await pool.wait_full()

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


def test_whatever_somebody_left_behind_the_next_one_finds_it_clean(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        released = trio.Event()

        async def script(request: ModelRequest) -> Turn:
            if request.prompt in ("take your time", "and then this", "and this"):
                await released.wait()
            return say_it_back(request)

        async with scripted(pi, tmp_path, script) as world, world.runtime.warm_pool(world.spec(), 1) as pool:
            async with pool.acquire() as lease, lease.open_client() as client:
                await client.set_session_name("mine")
                assert (await client.send("hello")).text == "re: hello"
                await client.prompt("take your time")  # and leaves while it is at it
                await client.steer("and then this")
                await client.follow_up("and this")
            async with pool.acquire() as lease, lease.open_client() as client:
                state = await client.get_state()
                assert (state.is_streaming, state.is_compacting, state.session_name) == (False, False, None)
                assert (state.message_count, state.pending_message_count) == (0, 0)
                released.set()
                assert (await client.send("hello again")).text == "re: hello again"
                said = [
                    each for each in await client.get_messages() if isinstance(each, UserMessage | AssistantMessage)
                ]
                assert len(said) == 2
            asked = [request.prompt for request in world.model.requests]
            assert asked == ["hello", "take your time", "hello again"]

    run(main, patience=120)
