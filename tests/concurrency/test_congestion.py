"""A publisher that waits for the subscribers that have to be waited for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio._core._run
from trio.testing import wait_all_tasks_blocked

from pi_trio.concurrency import Broadcast, Subscription, WhenFull
from tests.concurrency.virtual import is_stuck, run

WAIT = WhenFull.WAIT


def test_one_that_is_waited_for_loses_nothing() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        subscription = broadcast.subscribe(capacity=2, when_full=WAIT)
        broadcast.publish(range(100))

        assert [await subscription.receive() for _ in range(100)] == list(range(100))

    run(main)


def test_congestion_begins_with_a_full_buffer_and_ends_with_room_in_it() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        subscription = broadcast.subscribe(capacity=2, when_full=WAIT)
        states = []
        for items in ([1], [2, 3]):
            broadcast.publish(items)
            states.append(broadcast.congested)
        for _ in range(2):
            await subscription.receive()
            states.append(broadcast.congested)
        assert states == [False, True, True, False]

    run(main)


RELIEFS: dict[str, Callable[[Broadcast[int], Subscription[int]], Awaitable[object]]] = {}


def relief(function: Callable[[Broadcast[int], Subscription[int]], Awaitable[object]]) -> None:
    RELIEFS[function.__name__] = function


@relief
async def read_one_by_one(_: Broadcast[int], subscription: Subscription[int]) -> None:
    [await subscription.receive() for _ in range(3)]


@relief
async def read_in_one_go(_: Broadcast[int], subscription: Subscription[int]) -> None:
    await subscription.receive_batch()


@relief
async def clear(_: Broadcast[int], subscription: Subscription[int]) -> None:
    assert subscription.clear() == 4


@relief
async def close(_: Broadcast[int], subscription: Subscription[int]) -> None:
    subscription.close()


@relief
async def end(_: Broadcast[int], subscription: Subscription[int]) -> None:
    subscription.end()


@relief
async def interrupt(broadcast: Broadcast[int], _: Subscription[int]) -> None:
    broadcast.interrupt()


@relief
async def close_the_broadcast(broadcast: Broadcast[int], _: Subscription[int]) -> None:
    broadcast.close()


@pytest.mark.parametrize("name", RELIEFS)
def test_a_publisher_waits_until_it_is_relieved(name: str) -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        subscription = broadcast.subscribe(capacity=2, when_full=WAIT)
        broadcast.publish(range(4))
        relieved = trio.Event()

        async def publisher() -> None:
            await broadcast.wait_uncongested()
            relieved.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publisher)
            await wait_all_tasks_blocked()
            assert not relieved.is_set()
            await RELIEFS[name](broadcast, subscription)
            await wait_all_tasks_blocked()
            assert relieved.is_set()
            nursery.cancel_scope.cancel()

    run(main)


def test_a_publisher_waits_for_the_slowest() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        one = broadcast.subscribe(capacity=1, when_full=WAIT)
        two = broadcast.subscribe(capacity=1, when_full=WAIT)
        broadcast.publish([1])
        assert await is_stuck(broadcast.wait_uncongested)
        await one.receive()
        assert await is_stuck(broadcast.wait_uncongested)
        await two.receive()
        assert not await is_stuck(broadcast.wait_uncongested)

    run(main)


def test_an_interrupt_lets_go_once() -> None:
    async def main() -> None:
        broadcast: Broadcast[int] = Broadcast()
        broadcast.subscribe(capacity=1, when_full=WAIT)
        broadcast.publish([1])
        broadcast.interrupt()

        assert await is_stuck(broadcast.wait_uncongested), "one that came before the wait is over"

    run(main)
