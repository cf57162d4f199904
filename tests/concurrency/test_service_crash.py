"""Background tasks that crash: the body is cancelled, and nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from pi_trio.concurrency import open_service_nursery
from tests.concurrency.virtual import bounded, run


async def do_nothing(_: BaseException | None) -> None:
    pass


async def crash() -> None:
    raise OSError("crashed")


def test_a_crash_cancels_the_body_and_comes_out() -> None:
    log: list[str] = []

    async def main() -> None:
        over = trio.Event()

        async def task() -> None:
            await bounded(over.wait)
            log.append("served to the end")

        async def stop(error: BaseException | None) -> None:
            log.append(f"told to stop: {type(error).__name__}")
            over.set()

        async with open_service_nursery(stop) as nursery:
            nursery.start_soon(task)
            nursery.start_soon(crash)
            try:
                await trio.sleep_forever()
            finally:
                log.append("body cancelled")

    with pytest.raises(OSError, match="^crashed$"):
        run(main)

    assert log == ["body cancelled", "told to stop: Cancelled", "served to the end"]


def test_a_crash_and_the_bodys_own_error_come_out_together() -> None:
    async def main() -> None:
        async with open_service_nursery(do_nothing) as nursery:
            nursery.start_soon(crash)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("mine")

    with pytest.raises(ExceptionGroup) as caught:
        run(main)

    assert [type(error) for error in caught.value.exceptions] == [ValueError, OSError]


def test_two_crashes_come_out_together() -> None:
    async def main() -> None:
        async with open_service_nursery(do_nothing) as nursery:
            nursery.start_soon(crash)
            nursery.start_soon(crash)
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        run(main)

    assert [str(error) for error in caught.value.exceptions] == ["crashed", "crashed"]


def test_a_crash_during_the_polite_stop_makes_it_hasty() -> None:
    stops: list[Any] = []

    async def main() -> None:
        async def crash_later() -> None:
            await trio.sleep(1)
            await crash()

        async def stop(error: BaseException | None) -> None:
            stops.append(type(error))
            if error is None:
                await trio.sleep(1000)

        async with open_service_nursery(stop) as nursery:
            nursery.start_soon(crash_later)

    with pytest.raises(OSError, match="^crashed$"):
        run(main)

    assert stops == [type(None), trio.Cancelled]


def test_a_crash_under_cancellation_is_not_lost() -> None:
    async def main() -> None:
        over = trio.Event()

        async def task() -> None:
            await bounded(over.wait)
            await crash()

        async def stop(_: BaseException | None) -> None:
            over.set()

        with trio.move_on_after(1):
            async with open_service_nursery(stop) as nursery:
                nursery.start_soon(task)
                await trio.sleep_forever()

    with pytest.raises(OSError, match="^crashed$"):
        run(main)
