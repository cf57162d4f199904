"""The registry: a snapshot, then every event; or a loss that is counted, and a new snapshot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio._core._run
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from pi_trio.concurrency import Lagged
from pi_trio.lifecycle import DiscoveryEvent, InstanceState, Registered, RegistryEvent, StateChanged
from pi_trio.registry import DiscoveryEntry, Entry, EventFeed, Numbered, Registry, Snapshot, fold
from pi_trio.registry.table import step_discovery
from tests.concurrency.virtual import is_stuck, run
from tests.registry.strategies import registry_events


def registered(number: int) -> Registered:
    return Registered(f"pi-{number}", float(number))


@asynccontextmanager
async def open_registry() -> AsyncIterator[tuple[Registry, trio.MemorySendChannel[RegistryEvent]]]:
    """A registry that runs, and a sender for it; closed behind the body."""
    registry = Registry()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.serve)
        with registry.sender() as sender:
            yield registry, sender
        registry.close()


async def send(sender: trio.MemorySendChannel[RegistryEvent], *events: RegistryEvent) -> None:
    """Send, and wait until the registry has taken it in."""
    for event in events:
        sender.send_nowait(event)
    await wait_all_tasks_blocked()


async def take(feed: EventFeed, count: int) -> list[Any]:
    return [await anext(feed) for _ in range(count)]


def test_a_snapshot_comes_first_and_every_later_event_behind_it() -> None:
    async def main() -> None:
        async with open_registry() as (registry, sender):
            await send(sender, registered(1), registered(2))
            with registry.subscribe() as feed:
                await send(sender, registered(3))
                snapshot, event = await take(feed, 2)
                assert isinstance(snapshot, Snapshot)
                assert (snapshot.seq, list(snapshot.instances)) == (2, ["pi-1", "pi-2"])
                assert event == Numbered(3, registered(3))
                assert await is_stuck(feed.__anext__)

    run(main)


def test_a_snapshot_stays_as_it_was_and_cannot_be_changed() -> None:
    async def main() -> None:
        async with open_registry() as (registry, sender):
            await send(sender, registered(1))
            snapshot = registry.snapshot()
            await send(sender, registered(2), StateChanged("pi-1", 2.0, state=InstanceState.FAILED, incarnation=1))

            assert snapshot == Snapshot(1, {"pi-1": Entry("pi-1", None, None, "", since=1.0)})
            assert registry.snapshot().instances["pi-1"].state is InstanceState.FAILED
            with pytest.raises(TypeError):
                snapshot.instances["pi-9"] = snapshot.instances["pi-1"]  # type: ignore[index]

    run(main)


def test_a_feed_that_falls_behind_gets_the_count_and_a_new_snapshot() -> None:
    async def main() -> None:
        async with open_registry() as (registry, sender):
            with registry.subscribe(capacity=2) as feed, registry.subscribe() as quick:
                await send(sender, *map(registered, range(1, 6)))
                first, lagged, second = await take(feed, 3)
                assert first == Snapshot(0, {})
                assert lagged == Lagged(5), "what is left in the buffer is in the snapshot, and is not told twice"
                assert second == registry.snapshot()
                assert second.seq == 5
                await send(sender, registered(6))
                assert await take(feed, 1) == [Numbered(6, registered(6))]
                assert [item.seq for item in await take(quick, 7)] == list(range(7)), "nobody else was held up"

    run(main)


def test_nothing_is_lost_when_the_snapshot_is_read_late() -> None:
    async def main() -> None:
        async with open_registry() as (registry, sender):
            with registry.subscribe() as feed:
                await send(sender, registered(1), registered(2))
                assert [item.seq for item in await take(feed, 3)] == [0, 1, 2]

    run(main)


def test_it_ends_when_the_last_sender_is_closed() -> None:
    async def main() -> None:
        registry = Registry()
        over = trio.Event()

        async def run_it() -> None:
            await registry.serve()
            over.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_it)
            senders = [registry.sender() for _ in range(2)]
            feed = registry.subscribe()
            registry.close()
            senders[0].close()
            await wait_all_tasks_blocked()
            assert not over.is_set()
            senders[1].send_nowait(registered(1))
            senders[1].close()
            await over.wait()
        with feed:
            assert [type(item) async for item in feed] == [Snapshot, Numbered]
        with registry.subscribe() as late:
            assert [item async for item in late] == [registry.snapshot()]

    run(main)


def test_a_feed_that_was_left_is_closed() -> None:
    async def main() -> None:
        async with open_registry() as (registry, sender):
            with registry.subscribe() as feed:
                await take(feed, 1)
            await send(sender, registered(1))
            with pytest.raises(trio.ClosedResourceError):
                await take(feed, 1)

    run(main)


def test_a_feed_that_was_left_shows_nothing_that_it_had_already() -> None:
    async def main() -> None:
        async with open_registry() as (registry, sender):
            async with registry.subscribe() as feed:
                await send(sender, registered(1), registered(2))
                await take(feed, 2)
            with pytest.raises(trio.ClosedResourceError):
                await take(feed, 1)

    run(main)


def test_a_cancelled_read_loses_neither_snapshot_nor_event() -> None:
    async def main() -> None:
        async with open_registry() as (registry, sender):
            with registry.subscribe() as feed:
                seqs: list[int] = []
                for number in range(3):
                    with trio.CancelScope() as scope:
                        scope.cancel()
                        seqs += [item.seq for item in await take(feed, 1)]
                    seqs += [item.seq for item in await take(feed, 1 - len(seqs) + number)]
                    assert await is_stuck(feed.__anext__)
                    await send(sender, registered(number))
                assert seqs == [0, 1, 2]

    run(main)


# --- any number of feeds, as slow as they like -------------------------------------------------------


@attrs.define
class Follower:
    """Keeps a table of its own from what a feed tells, and insists that nothing is missing or told twice."""

    feed: EventFeed
    table: dict[str, Entry] = attrs.field(factory=dict)
    discoveries: dict[str, DiscoveryEntry] = attrs.field(factory=dict)
    seq: int = -1
    owed: int | None = None
    """Since the last `Lagged`, by how much the next snapshot has to be ahead."""

    async def follow(self, limit: int) -> None:
        """Take at most ``limit`` items, and do not wait long for one."""
        for _ in range(limit):
            with trio.move_on_after(1):
                try:
                    self.take(await anext(self.feed))
                except StopAsyncIteration:
                    return

    def take(self, item: Snapshot | Numbered | Lagged) -> None:
        if isinstance(item, Lagged):
            assert item.missed > 0
            assert self.owed is None
            assert self.seq >= 0, "a snapshot comes first"
            self.owed = item.missed
        elif isinstance(item, Snapshot):
            assert self.seq < 0 or self.owed is not None, "a snapshot comes first, or behind a loss"
            assert self.owed is None or item.seq == self.seq + self.owed, "the loss is counted exactly"
            self.table, self.seq, self.owed = dict(item.instances), item.seq, None
            self.discoveries = dict(item.discoveries)
        else:
            assert self.owed is None
            assert item.seq == self.seq + 1
            self.table, self.seq = fold(self.table, item.event), item.seq
            if isinstance(item.event, DiscoveryEvent):
                name = item.event.discovery
                self.discoveries[name] = step_discovery(self.discoveries.get(name), item.event)


plans = st.lists(
    st.one_of(
        st.tuples(st.just("subscribe"), st.integers(1, 4)),
        st.tuples(st.just("read"), st.integers(0, 5)),
        st.tuples(st.just("breathe"), st.integers(0, 3)),
        st.tuples(st.just("send"), st.lists(registry_events, min_size=1, max_size=6)),
    ),
    max_size=20,
)


@given(plans, st.integers(0, 2**32))
def test_snapshot_plus_events_is_always_the_table(plan: list[tuple[str, Any]], seed: int) -> None:
    # Under Hypothesis, Trio would take the same turn in every example: draw the interleaving, too.
    trio._core._run._r.seed(seed)

    async def main() -> None:
        followers: list[Follower] = []
        sent = 0
        async with open_registry() as (registry, sender):
            for step, value in [("subscribe", 2), *plan]:
                if step == "subscribe":
                    followers.append(Follower(registry.subscribe(capacity=value)))
                elif step == "send":
                    for event in value:
                        sender.send_nowait(event)
                    sent += len(value)
                elif step == "breathe":
                    for _ in range(value):
                        await trio.lowlevel.checkpoint()
                else:
                    await followers[value % len(followers)].follow(value)
        for follower in followers:
            await follower.follow(sent + 10)
            assert follower.owed is None
            assert follower.seq == registry.snapshot().seq == sent
            assert follower.table == registry.snapshot().instances
            assert follower.discoveries == registry.snapshot().discoveries

    run(main)


@given(st.lists(registry_events, max_size=30))
def test_replaying_the_log_gives_the_table(events: list[RegistryEvent]) -> None:
    async def main() -> None:
        async with open_registry() as (registry, sender):
            with registry.subscribe() as feed:
                for event in events:
                    sender.send_nowait(event)
                await registry.catch_up()
                first, *log = await take(feed, 1 + len(events))
            assert first == Snapshot(0, {})
            assert [item.event for item in log] == events
            table: dict[str, Entry] = {}
            for item in log:
                table = fold(table, item.event)
            assert table == registry.instances
            assert list(table) == list(registry.instances)
            replayed = Registry()
            replayed.enter(*(item.event for item in log))
            assert replayed.snapshot() == registry.snapshot()

    run(main)


def test_a_feed_shows_only_what_it_asks_for() -> None:
    async def main() -> None:
        async with open_registry() as (registry, sender):
            async with registry.subscribe(match=lambda event: isinstance(event, StateChanged)) as feed:
                running = StateChanged("pi-1", 2.0, state=InstanceState.RUNNING, incarnation=1)
                await send(sender, registered(1), registered(2), running, registered(3))
                assert isinstance(await anext(feed), Snapshot)
                assert await anext(feed) == Numbered(3, running)
                assert await is_stuck(feed.__anext__)

    run(main)


def test_what_a_feeds_own_function_raises_is_its_own() -> None:
    async def main() -> None:
        def wrong(_: object) -> bool:
            raise ValueError("mine")

        async with open_registry() as (registry, sender):
            with registry.subscribe(match=wrong) as feed, registry.subscribe() as other:
                await send(sender, registered(1))
                await anext(feed)
                with pytest.raises(ValueError, match="mine"):
                    await anext(feed)
                assert [item.seq for item in await take(other, 2)] == [0, 1]

    run(main)


def test_what_a_feeds_own_function_raises_is_about_one_event_and_loses_no_other() -> None:
    async def main() -> None:
        def wrong(event: RegistryEvent) -> bool:
            if isinstance(event, Registered) and event.instance_id == "pi-2":
                raise ValueError("mine")
            return True

        async with open_registry() as (registry, sender):
            with registry.subscribe(match=wrong) as feed:
                await send(sender, registered(1), registered(2), registered(3))
                assert [item.seq for item in await take(feed, 2)] == [0, 1]
                with pytest.raises(ValueError, match="mine"):
                    await anext(feed)
                assert [item.seq for item in await take(feed, 1)] == [3]

    run(main)


def test_who_waits_for_what_will_never_be_is_told_at_the_end() -> None:
    async def main() -> None:
        told: list[str] = []

        async def wait(registry: Registry) -> None:
            try:
                await registry.wait_for(lambda table: "pi-1" in table)
            except trio.ClosedResourceError as error:
                told.append(str(error))

        async with trio.open_nursery() as nursery:
            async with open_registry() as (registry, _):
                nursery.start_soon(wait, registry)
                await wait_all_tasks_blocked()
            await wait_all_tasks_blocked()
            assert len(told) == 1
            await wait(registry)
            assert len(told) == 2

    run(main)


def test_waiting_for_something_to_be_true() -> None:
    async def main() -> None:
        async with open_registry() as (registry, sender):
            assert await is_stuck(lambda: registry.wait_for(lambda table: "pi-1" in table))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(registry.wait_for, lambda table: len(table) == 2)
                await send(sender, registered(1))
                assert len(nursery.child_tasks) == 1
                await send(sender, registered(2))
                assert len(nursery.child_tasks) == 0
            with trio.testing.assert_checkpoints():
                await registry.wait_for(lambda table: True)
            with pytest.raises(ZeroDivisionError):
                await registry.wait_for(lambda table: bool(1 // 0))

    run(main)


def test_what_was_sent_is_there_when_one_has_caught_up() -> None:
    async def main() -> None:
        async with open_registry() as (registry, sender):
            for number in range(1000):
                sender.send_nowait(registered(number))
            await registry.catch_up()
            assert len(registry.instances) == 1000
            assert registry.snapshot() is registry.snapshot(), "nothing happened in between"
            statistics = registry.statistics()
            assert (statistics.events, statistics.registered, statistics.unregistered) == (1000, 1000, 0)
        await registry.catch_up()

    run(main)
