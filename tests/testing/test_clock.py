"""Time that jumps: to every deadline and every sleeper in their order, and to nothing that was cancelled."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from pi_trio.testing.clock import JumpingClock, sleep


def test_sleepers_and_deadlines_come_in_their_order() -> None:
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await sleep(seconds)
        woken.append((name, trio.current_time()))

    async def waiter(seconds: float) -> None:
        await trio.sleep(seconds)
        woken.append(("deadline", trio.current_time()))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper, "late", 3.1)
            nursery.start_soon(waiter, 2.0)
            nursery.start_soon(sleeper, "early", 0.7)

    trio.run(main, clock=JumpingClock())
    assert woken == [("early", 0.7), ("deadline", 2.0), ("late", 3.1)]


def test_a_cancelled_sleeper_is_not_waited_for() -> None:
    async def main() -> None:
        with trio.move_on_after(1.0) as scope:
            await sleep(1000.0)
        assert scope.cancelled_caught
        await sleep(5.0)
        assert trio.current_time() == 6.0

    trio.run(main, clock=JumpingClock())


@pytest.mark.parametrize("clock", [JumpingClock(), trio.testing.MockClock(autojump_threshold=0)])
def test_it_sleeps_as_trio_does(clock: trio.abc.Clock) -> None:
    async def main() -> None:
        before = trio.current_time()
        await sleep(0.0)
        assert trio.current_time() == before
        with pytest.raises(ValueError, match="non-negative"):
            await sleep(-1.0)
        with trio.move_on_after(2.0) as scope:
            await sleep(math.inf)
        assert scope.cancelled_caught
        await sleep(1.0)
        assert trio.current_time() == pytest.approx(before + 3.0)

    trio.run(main, clock=clock)
