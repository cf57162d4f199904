"""One sender, many subscribers: nothing lost without a word, nothing out of order."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import trio
import trio._core._run
from trio.testing import wait_all_tasks_blocked

from pi_trio.concurrency import Broadcast, Lagged, Subscription, WhenFull
from tests.concurrency.virtual import is_stuck, run

WAIT, LAG = WhenFull.WAIT, WhenFull.LAG


async def read(subscription: Subscription[Any], count: int) -> list[Any]:
    return [await subscription.receive() for _ in range(count)]


async def read_all(subscription: Subscription[Any]) -> list[Any]:
    return [item async for item in subscription]


# --- order, and what a subscriber sees ---------------------------------------------------------------


def test_every_subscriber_gets_everything_from_its_subscription_on_in_order() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        first = broadcast.subscribe(capacity=10, when_full=WAIT)
        broadcast.publish([1, 2])
        second = broadcast.subscribe(capacity=10, when_full=LAG)
        broadcast.publish(iter([3, 4]))
        broadcast.publish([])
        broadcast.publish([5])
        broadcast.close()

        assert await read_all(first) == [1, 2, 3, 4, 5]
        assert await read_all(second) == [3, 4, 5]
        assert (first.received, second.received) == (5, 3)

    run(main)


def test_items_may_be_anything() -> None:
    async def main() -> None:
        broadcast: Broadcast[Any] = Broadcast()
        subscription = broadcast.subscribe(capacity=9, when_full=LAG)
        broadcast.publish([None, 0, "", Lagged(3)])

        assert await subscription.receive_batch() == [None, 0, "", Lagged(3)]

    run(main)


def test_a_reader_that_waits_is_woken() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        subscription = broadcast.subscribe(capacity=1, when_full=LAG)
        got: list[Any] = []

        async def reader() -> None:
            got.extend(await subscription.receive_batch())
            got.append(await subscription.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            await wait_all_tasks_blocked()
            assert got == []
            broadcast.publish([1])
            await wait_all_tasks_blocked()
            assert got == [1]
            broadcast.publish([2])
        assert got == [1, 2]

    run(main)


def test_a_capacity_must_have_room_for_something() -> None:
    with pytest.raises(ValueError, match="capacity must be positive, not 0"):
        Broadcast[int]().subscribe(capacity=0, when_full=LAG)


# --- lag ---------------------------------------------------------------------------------------------


def test_a_subscriber_left_behind_is_told_how_much_it_lost() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        subscription = broadcast.subscribe(capacity=3, when_full=LAG)
        broadcast.publish(range(10))
        broadcast.publish([10])

        assert await read(subscription, 4) == [Lagged(8), 8, 9, 10]
        broadcast.publish(range(11, 14))
        assert await read(subscription, 3) == [11, 12, 13]
        broadcast.publish(range(14, 18))
        assert await subscription.receive_batch() == [Lagged(1), 15, 16, 17]

    run(main)


def test_a_loss_stands_in_front_of_what_came_behind_it() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        subscription = broadcast.subscribe(capacity=2, when_full=LAG)
        broadcast.publish([1, 2])
        assert await subscription.receive() == 1
        broadcast.publish([3, 4])
        broadcast.close()

        assert await read_all(subscription) == [Lagged(1), 3, 4]

    run(main)


def test_one_that_lags_holds_nobody_up() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        slow = broadcast.subscribe(capacity=1, when_full=LAG)
        quick = broadcast.subscribe(capacity=1000, when_full=WAIT)
        broadcast.publish(range(500))

        assert not broadcast.congested
        assert not slow.congested
        assert not await is_stuck(broadcast.wait_uncongested)
        assert await read(quick, 500) == list(range(500))
        assert await read(slow, 2) == [Lagged(499), 499]

    run(main)


def test_clearing_drops_what_is_buffered_and_says_how_much() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        subscription = broadcast.subscribe(capacity=3, when_full=LAG)
        broadcast.publish(range(3))
        assert subscription.clear() == 3
        assert subscription.clear() == 0
        broadcast.publish([9])
        assert await subscription.receive() == 9

    run(main)


# --- the end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["the subscription", "the broadcast"])
def test_the_end_comes_behind_what_is_buffered(ending: str) -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        subscription = broadcast.subscribe(capacity=5, when_full=WAIT)
        broadcast.publish([1, 2])
        subscription.end() if ending == "the subscription" else broadcast.close()
        broadcast.publish([3])

        assert await read_all(subscription) == [1, 2]
        for receive in (subscription.receive, subscription.receive_batch):
            with pytest.raises(trio.EndOfChannel):
                await receive()

    run(main)


def test_an_error_comes_behind_what_is_buffered_and_is_new_for_each_reader() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        subscriptions = [broadcast.subscribe(capacity=5, when_full=WAIT) for _ in range(2)]
        broadcast.publish([1])
        broadcast.close(lambda: OSError("gone"))
        errors: list[BaseException] = []
        for subscription in subscriptions:
            assert await subscription.receive() == 1
            with pytest.raises(OSError, match="^gone$") as caught:
                await subscription.receive()
            errors.append(caught.value)

        assert errors[0] is not errors[1]

    run(main)


def test_a_loss_is_told_before_the_end() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        subscription = broadcast.subscribe(capacity=1, when_full=LAG)
        broadcast.publish([1, 2, 3])
        broadcast.close(lambda: OSError("gone"))

        assert await read(subscription, 2) == [Lagged(2), 3]
        with pytest.raises(OSError, match="gone"):
            await subscription.receive()

    run(main)


def test_the_first_ending_counts() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        subscription = broadcast.subscribe(capacity=1, when_full=LAG)
        subscription.end()
        subscription.end(lambda: OSError("too late"))
        broadcast.close(lambda: OSError("later still"))
        broadcast.close()

        with pytest.raises(trio.EndOfChannel):
            await subscription.receive()
        with pytest.raises(OSError, match="later still"):
            await broadcast.subscribe(capacity=1, when_full=LAG).receive()

    run(main)


def test_who_subscribes_too_late_finds_the_end() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        broadcast.publish([1])
        broadcast.close()

        assert broadcast.closed
        assert await read_all(broadcast.subscribe(capacity=1, when_full=WAIT)) == []

    run(main)


@pytest.mark.parametrize("ending", ["end", "end with an error", "close"])
def test_a_reader_that_waits_finds_the_end(ending: str) -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        subscription = broadcast.subscribe(capacity=1, when_full=LAG)
        caught: list[type[BaseException]] = []

        async def reader() -> None:
            try:
                await subscription.receive()
            except Exception as error:
                caught.append(type(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            await wait_all_tasks_blocked()
            if ending == "close":
                subscription.close()
            else:
                subscription.end((lambda: OSError("gone")) if ending == "end with an error" else None)
        wanted = {"end": trio.EndOfChannel, "end with an error": OSError, "close": trio.ClosedResourceError}
        assert caught == [wanted[ending]]

    run(main)


def test_who_closes_gets_nothing_more() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        with broadcast.subscribe(capacity=5, when_full=WAIT) as subscription:
            broadcast.publish([1, 2])
            assert await subscription.receive() == 1
        broadcast.publish([3])
        subscription.close()

        assert subscription.received == 2
        assert "0 subscribers" in repr(broadcast)
        for receive in (subscription.receive, subscription.receive_batch, subscription.__anext__):
            with pytest.raises(trio.ClosedResourceError):
                await receive()

    run(main)


# --- tasks -------------------------------------------------------------------------------------------


def test_two_tasks_cannot_wait_for_one_subscription() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        subscription = broadcast.subscribe(capacity=5, when_full=WAIT)
        got: list[Any] = []

        async def reader() -> None:
            got.append(await subscription.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            await wait_all_tasks_blocked()
            for receive in (subscription.receive, subscription.receive_batch):
                with pytest.raises(trio.BusyResourceError):
                    await receive()
            broadcast.publish([1])
        assert got == [1], "the first is none the worse for it"

    run(main)


@pytest.mark.parametrize("first", ["publish", "cancel"])
@pytest.mark.parametrize("batch", [False, True])
def test_a_cancelled_read_loses_nothing(first: str, batch: bool) -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        subscription = broadcast.subscribe(capacity=5, when_full=WAIT)
        got: list[Any] = []

        async def reader() -> None:
            got.extend(await subscription.receive_batch() if batch else [await subscription.receive()])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            await wait_all_tasks_blocked()
            if first == "publish":
                broadcast.publish([1])
            nursery.cancel_scope.cancel()
            if first == "cancel":
                broadcast.publish([1])
        assert got == ([1] if first == "publish" else []), "what came first happened"
        broadcast.publish([2])
        broadcast.close()
        assert got + await read_all(subscription) == [1, 2]

    run(main)


def test_a_read_inside_a_cancelled_scope_takes_nothing() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        subscription = broadcast.subscribe(capacity=1000, when_full=WAIT)
        broadcast.publish(range(1000))
        got: list[Any] = []
        with trio.CancelScope() as scope:
            scope.cancel()
            while True:
                got.append(await subscription.receive())

        assert len(got) < 1000, "a reader of a full buffer can be cancelled"
        broadcast.close()
        assert got + await read_all(subscription) == list(range(1000))

    run(main)


def test_a_reader_with_enough_to_read_lets_others_run() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        subscription = broadcast.subscribe(capacity=10_000, when_full=WAIT)
        broadcast.publish(range(10_000))
        other_ran_at: list[int] = []
        taken = 0

        async def other() -> None:
            while taken < 10_000:
                other_ran_at.append(taken)
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(10_000):
                await subscription.receive()
                taken += 1
        pauses = [after - before for before, after in pairwise(other_ran_at)]
        assert max(pauses) <= 1000

    run(main)
