"""A value that is waited for: the newest is seen, and no change to it is missed."""

from __future__ import annotations

import trio
import trio.testing

from pi_trio.concurrency import Watched


def test_a_watcher_sees_the_value_of_now_and_then_the_newest() -> None:
    async def main() -> None:
        watched = Watched(1)
        changes = watched.changes()
        assert await changes.__anext__() == 1
        watched.set(2)
        watched.set(3)  # nobody looked in between
        assert await changes.__anext__() == 3
        seen: list[int] = []

        async def watch() -> None:
            while True:
                seen.append(await changes.__anext__())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            for value in (3, 4, 4, 5):
                await trio.testing.wait_all_tasks_blocked()
                watched.set(value)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert seen == [4, 5]

    trio.run(main)


def test_a_condition_is_waited_for() -> None:
    async def main() -> None:
        watched = Watched(0)
        assert await watched.wait_for(lambda value: value == 0) == 0
        got = []

        async def wait(least: int) -> None:
            got.append((least, await watched.wait_for(lambda value: value >= least)))

        async with trio.open_nursery() as nursery:
            for least in (1, 2, 3):
                nursery.start_soon(wait, least)
            for value in range(1, 4):
                await trio.testing.wait_all_tasks_blocked()
                watched.set(value)
        assert got == [(1, 1), (2, 2), (3, 3)]

    trio.run(main)
