"""Background tasks that outlive the body they serve, and leave its exception alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pi_trio.concurrency import ServiceNursery, open_service_nursery
from tests.concurrency.virtual import bounded, run


class Service:
    """Answers what it is asked, until it is told to stop; keeps a list of what happened."""

    def __init__(self, *, patience: float = 0.0) -> None:
        self.log: list[str] = []
        self.stops: list[BaseException | None] = []
        self._patience = patience
        self._questions, self._asked = trio.open_memory_channel[trio.MemorySendChannel[str]](0)

    async def serve(self) -> None:
        with trio.fail_after(1000):  # nothing from outside reaches it
            async for answer in self._asked:
                await answer.send("answered")
        self.log.append("served to the end")

    async def ask(self) -> str:
        answer, answered = trio.open_memory_channel[str](1)
        await self._questions.send(answer)
        return await answered.receive()

    async def stop(self, error: BaseException | None) -> None:
        self.stops.append(error)
        self.log.append("asked to stop" if error is None else f"told to stop: {type(error).__name__}")
        if error is None:
            await trio.sleep(self._patience)
        self._questions.close()


# --- the body ----------------------------------------------------------------------------------------


def test_a_body_that_returns_is_followed_by_a_polite_stop() -> None:
    async def main() -> None:
        service = Service(patience=5)
        async with open_service_nursery(service.stop) as nursery:
            nursery.start_soon(service.serve)
            assert await service.ask() == "answered"
            closing = [nursery.closing]
            service.log.append("body over")

        assert [*closing, nursery.closing] == [False, True]
        assert service.stops == [None]
        assert service.log == ["body over", "asked to stop", "served to the end"]

    run(main)


class Special(BaseException):
    pass


@pytest.mark.parametrize(
    "error", [ValueError("mine"), ExceptionGroup("mine", [ValueError(), KeyError()]), Special(), KeyboardInterrupt()]
)
def test_what_the_body_raises_comes_out_unchanged(error: BaseException) -> None:
    service = None

    async def main() -> None:
        nonlocal service
        service = Service()
        async with open_service_nursery(service.stop) as nursery:
            nursery.start_soon(service.serve)
            raise error

    with pytest.raises(type(error)) as caught:
        run(main)

    assert caught.value is error
    assert service is not None
    assert service.stops == [error], "there is no polite stop before it"
    assert service.log[-1] == "served to the end"


def test_cancellation_reaches_the_body_first_and_its_clean_up_is_still_served() -> None:
    async def main() -> None:
        service = Service()
        with trio.move_on_after(1) as scope:
            async with open_service_nursery(service.stop) as nursery:
                nursery.start_soon(service.serve)
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True), trio.fail_after(5):
                        for _ in range(3):
                            service.log.append(await service.ask())

        assert scope.cancelled_caught
        assert service.log == ["answered"] * 3 + ["told to stop: Cancelled", "served to the end"]

    run(main)


def test_no_cancellation_from_outside_reaches_the_tasks() -> None:
    async def main() -> None:
        over = trio.Event()

        async def task() -> None:
            await trio.sleep(100)
            await bounded(over.wait)

        async def stop(_: BaseException | None) -> None:
            await trio.sleep(200)
            over.set()

        with trio.move_on_after(1) as scope:
            async with open_service_nursery(stop) as nursery:
                nursery.start_soon(task)
                await trio.sleep(1000)
        assert scope.cancelled_caught
        assert trio.current_time() - scope.deadline == 200, "the stop is shielded, and was waited for"

    run(main)


def test_a_body_that_fails_while_it_is_cancelled_is_heard() -> None:
    async def main() -> None:
        service = Service()
        with trio.move_on_after(1):
            async with open_service_nursery(service.stop) as nursery:
                nursery.start_soon(service.serve)
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("while cleaning up")

    with pytest.raises(ValueError, match="while cleaning up"):
        run(main)


# --- the stop ----------------------------------------------------------------------------------------


def test_a_polite_stop_that_is_cancelled_becomes_a_hasty_one() -> None:
    async def main() -> None:
        service = Service(patience=50)
        with trio.move_on_after(1) as scope:
            async with open_service_nursery(service.stop) as nursery:
                nursery.start_soon(service.serve)

        assert scope.cancelled_caught
        assert service.log == ["asked to stop", "told to stop: Cancelled", "served to the end"]
        assert trio.current_time() == scope.deadline

    run(main)


def test_a_stop_that_fails_is_repeated_in_haste_and_heard() -> None:
    stops: list[BaseException | None] = []

    async def main() -> None:
        over = trio.Event()

        async def stop(error: BaseException | None) -> None:
            stops.append(error)
            if error is None:
                raise ValueError("cannot stop")
            over.set()

        async with open_service_nursery(stop) as nursery:
            nursery.start_soon(lambda: bounded(over.wait))

    with pytest.raises(ValueError, match="cannot stop") as caught:
        run(main)

    assert stops == [None, caught.value]


def test_without_tasks_it_is_stopped_all_the_same() -> None:
    async def main() -> None:
        service = Service()
        async with open_service_nursery(service.stop):
            pass
        assert service.stops == [None]

    run(main)


# --- one inside another ------------------------------------------------------------------------------


async def nested(body: Callable[[Service, Service], Awaitable[None]], log: list[str]) -> None:
    outer, inner = Service(), Service()
    outer.log = inner.log = log

    async def stop_inner(error: BaseException | None) -> None:
        log.append(f"the outer one {await outer.ask()}")
        await inner.stop(error)

    async with open_service_nursery(outer.stop) as outer_nursery:
        outer_nursery.start_soon(outer.serve)
        async with open_service_nursery(stop_inner) as inner_nursery:
            inner_nursery.start_soon(inner.serve)
            await body(outer, inner)


def test_the_inner_one_is_stopped_while_the_outer_one_serves() -> None:
    async def main() -> None:
        log: list[str] = []

        async def body(outer: Service, inner: Service) -> None:
            log.append(f"{await outer.ask()} {await inner.ask()}")

        await nested(body, log)

        assert log == [
            "answered answered",
            "the outer one answered",
            "asked to stop",
            "served to the end",
            "asked to stop",
            "served to the end",
        ]

    run(main)


def test_cancellation_goes_from_the_inside_out() -> None:
    async def main() -> None:
        log: list[str] = []

        async def body(outer: Service, inner: Service) -> None:
            await trio.sleep_forever()

        with trio.move_on_after(1) as scope:
            await nested(body, log)

        assert scope.cancelled_caught
        assert log == [
            "the outer one answered",
            "told to stop: Cancelled",
            "served to the end",
            "told to stop: Cancelled",
            "served to the end",
        ]

    run(main)


def test_an_error_goes_through_both_unchanged() -> None:
    error = ValueError("mine")

    async def body(outer: Service, inner: Service) -> None:
        raise error

    async def main() -> None:
        await nested(body, [])

    with pytest.raises(ValueError, match="mine") as caught:
        run(main)

    assert caught.value is error


def test_a_task_can_start_another() -> None:
    async def main() -> None:
        service = Service()

        async def starter(nursery: ServiceNursery) -> None:
            nursery.start_soon(service.serve)

        async with open_service_nursery(service.stop) as nursery:
            nursery.start_soon(lambda: starter(nursery))
            await wait_all_tasks_blocked()
            assert await service.ask() == "answered"
        assert service.log == ["asked to stop", "served to the end"]

    run(main)
