"""Broadcasts against a model of them, and a simulation with many readers at once."""

from __future__ import annotations

from collections import deque
from itertools import cycle
from typing import Any

import attrs
import pytest
import trio
import trio._core._run
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.concurrency import Broadcast, Lagged, Subscription, WhenFull
from tests.concurrency.virtual import is_stuck, run

WAIT, LAG = WhenFull.WAIT, WhenFull.LAG


@attrs.define
class Model:
    """What a subscriber should have: the rule, without any of the machinery."""

    capacity: int
    when_full: WhenFull
    buffer: deque[int] = attrs.field(factory=deque)
    missed: int = 0
    ended: bool = False
    closed: bool = False

    def publish(self, items: list[int]) -> None:
        if not self.ended and not self.closed:
            self.buffer.extend(items)
            while self.when_full is LAG and len(self.buffer) > self.capacity:
                self.buffer.popleft()
                self.missed += 1

    def take(self, limit: int | None) -> list[Any]:
        """One item, or with ``limit`` None everything."""
        if limit is None:
            got: list[Any] = [*([Lagged(self.missed)] if self.missed else []), *self.buffer]
            self.buffer.clear()
        elif self.missed:
            got = [Lagged(self.missed)]
        else:
            return [self.buffer.popleft()]
        self.missed = 0
        return got

    @property
    def congested(self) -> bool:
        alive = not self.ended and not self.closed
        return alive and self.when_full is WAIT and len(self.buffer) >= self.capacity


which = st.integers(0, 3)
model_steps = st.lists(
    st.one_of(
        st.tuples(st.just("subscribe"), st.integers(1, 4), st.sampled_from(WhenFull)),
        st.tuples(st.just("publish"), st.integers(0, 7), st.none()),
        st.tuples(st.just("receive"), which, st.none()),
        st.tuples(st.just("receive_batch"), which, st.none()),
        st.tuples(st.sampled_from(["end", "close", "clear"]), which, st.none()),
    ),
    max_size=40,
)


@given(model_steps)
def test_any_steps_do_what_the_model_does(steps: list[tuple[str, Any, Any]]) -> None:
    run(lambda: follow(steps))


async def follow(steps: list[tuple[str, Any, Any]]) -> None:
    broadcast: Broadcast[int] = Broadcast()
    pairs: list[tuple[Model, Subscription[int]]] = []
    published = 0
    for name, number, when_full in [("subscribe", 2, LAG), ("subscribe", 2, WAIT), *steps]:
        if name == "subscribe":
            pairs.append((Model(number, when_full), broadcast.subscribe(capacity=number, when_full=when_full)))
        elif name == "publish":
            items = list(range(published, published + number))
            published += number
            broadcast.publish(items)
            for model, _ in pairs:
                model.publish(items)
        else:
            await take_step(name, *pairs[number % len(pairs)])
        assert broadcast.congested == any(model.congested for model, _ in pairs)
    broadcast.close()
    for model, subscription in pairs:
        if not model.closed:
            lost = [Lagged(model.missed)] if model.missed else []
            assert [item async for item in subscription] == [*lost, *model.buffer]


async def take_step(name: str, model: Model, subscription: Subscription[int]) -> None:
    if name == "end":
        subscription.end()
        model.ended = True
    elif name == "close":
        subscription.close()
        model.closed = True
        model.buffer.clear()
    elif name == "clear":
        if model.missed:  # a reader learns of its loss before it decides to clear
            assert await subscription.receive() == model.take(1)[0]
        assert subscription.clear() == len(model.buffer)
        model.buffer.clear()
    else:
        receive = subscription.receive if name == "receive" else subscription.receive_batch
        if model.buffer:
            got: Any = await receive()
            assert (got if isinstance(got, list) else [got]) == model.take(1 if name == "receive" else None)
        elif model.closed or model.ended:
            with pytest.raises(trio.ClosedResourceError if model.closed else trio.EndOfChannel):
                await receive()
        else:
            assert await is_stuck(receive)


@attrs.frozen
class Reader:
    """How a subscriber behaves in the simulation below."""

    capacity: int
    when_full: WhenFull
    pauses: list[float]
    """How long it pauses between reads, over and over."""
    patience: float
    """After which a read is given up, and tried again."""
    batch: bool


readers = st.builds(
    Reader,
    capacity=st.integers(1, 5),
    when_full=st.sampled_from(WhenFull),
    pauses=st.lists(st.sampled_from([0.0, 0.0, 0.5, 3.0]), min_size=1, max_size=4),
    patience=st.sampled_from([1.0, 5.0]),
    batch=st.booleans(),
)


@given(
    st.lists(readers, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from([0.0, 0.25, 1.0])), max_size=12),
    st.integers(0, 2**32),
)
def test_every_reader_gets_everything_or_is_told(
    plan: list[Reader], publishing: list[tuple[int, float]], seed: int
) -> None:
    # Under Hypothesis, Trio would take the same turn in every example: draw the interleaving, too.
    trio._core._run._r.seed(seed)

    async def main() -> None:
        with trio.fail_after(2000):  # as above, for the whole plan
            await simulate(plan, publishing)

    run(main)


async def simulate(plan: list[Reader], publishing: list[tuple[int, float]]) -> None:
    broadcast: Broadcast[int] = Broadcast()
    seen: list[list[Any]] = []

    async def follow_one(reader: Reader, subscription: Subscription[int], got: list[Any]) -> None:
        for pause in cycle(reader.pauses):
            await trio.sleep(pause)
            try:
                with trio.move_on_after(reader.patience):
                    got.extend(await subscription.receive_batch() if reader.batch else [await subscription.receive()])
            except trio.EndOfChannel:
                return

    total = 0
    async with trio.open_nursery() as nursery:
        for reader in plan:
            got: list[Any] = []
            seen.append(got)
            subscription = broadcast.subscribe(capacity=reader.capacity, when_full=reader.when_full)
            nursery.start_soon(follow_one, reader, subscription, got)
        for count, pause in publishing:
            with trio.fail_after(100):  # the slowest reader takes less than half of it
                await broadcast.wait_uncongested()
            assert not broadcast.congested
            broadcast.publish(range(total, total + count))
            total += count
            await trio.sleep(pause)
        broadcast.close()

    for reader, got in zip(plan, seen, strict=True):
        expected = 0
        for item in got:
            if isinstance(item, Lagged):
                assert reader.when_full is LAG
                assert item.missed > 0
                expected += item.missed
            else:
                assert item == expected
                expected += 1
        assert expected == total
