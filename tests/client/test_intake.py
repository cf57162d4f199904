"""A request that waits reads for itself where nobody else does; whatever happens to it, reading goes on."""

from __future__ import annotations

import math
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import pytest
import trio
import trio._core._run
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_trio import ConnectionClosed, PiClient, RequestTimeout, WhenFull
from pi_trio.abc import RecordTransport
from pi_trio.protocol import Item, Record, decode_line

blocked = trio.testing.wait_all_tasks_blocked


class Wire(RecordTransport):
    """What a test says Pi says. Notes which task reads, and refuses a second one."""

    def __init__(self) -> None:
        self.sent: list[Record] = []
        self.readers: list[str] = []
        self.at_once = 0  # how often what was read needed no waiting
        self._items: list[Item] = []
        self._ended = False
        self._interrupted = False
        self._reader: trio.lowlevel.Task | None = None
        self.before_return: Callable[[], None] = lambda: None

    def send_nowait(self, record: bytes) -> None:
        decoded = decode_line(record)
        assert isinstance(decoded, dict)
        self.sent.append(decoded)
        if decoded["type"] == "echo":
            self.answers(decoded)

    async def receive(self) -> Sequence[Item]:
        assert self._reader is None, "two tasks read"
        self.readers.append(trio.lowlevel.current_task().name)
        self._interrupted = False
        await trio.lowlevel.checkpoint_if_cancelled()
        while not (self._items or self._ended or self._interrupted):
            self._reader = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        await trio.lowlevel.cancel_shielded_checkpoint()
        if not self._items and self._ended:
            raise trio.EndOfChannel
        items, self._items = self._items, []
        self.before_return()
        return items

    def receive_nowait(self) -> Sequence[Item]:
        assert self._reader is None, "two tasks read"
        items, self._items = self._items, []
        self.at_once += bool(items)
        return items

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake(self) -> None:
        if self._reader is not None:
            trio.lowlevel.reschedule(self._reader)
            self._reader = None

    def says(self, *items: Item) -> None:
        self._items += items
        self._wake()

    def answers(self, record: Record) -> None:
        self.says({"type": "response", "id": record["id"], "success": True, "data": record["id"]})

    def ends(self) -> None:
        self._ended = True
        self._wake()

    def interrupt(self) -> None:
        self._interrupted = True
        self._wake()

    async def run_sender(self) -> None:
        raise AssertionError("the client does not write by itself")

    def close_sending(self) -> None:
        raise AssertionError("the client does not close anything")


def run(test: Callable[[PiClient, Wire], Awaitable[None]]) -> None:
    """Run a test on virtual time, with a client that is being served."""

    async def main() -> None:
        client, wire = PiClient("pi-1", request_timeout=30.0), Wire()
        client.attach(wire)
        client.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.serve, wire, name="owner")
            await blocked()
            await test(client, wire)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def until_it_reads(client: PiClient, wire: Wire) -> None:
    """Ask until a request of this task's found nobody reading, and read for itself: the next one will, too."""
    for _ in range(100):
        await client.request("echo")
        if wire.readers[-1] == trio.lowlevel.current_task().name:
            return
    raise AssertionError("no request ever reads")


def asking(client: PiClient, wire: Wire, outcomes: list[Any], **options: Any) -> Callable[[], Awaitable[None]]:
    """A task that comes to read for itself, and then asks for what is not answered."""

    async def ask() -> None:
        await until_it_reads(client, wire)
        try:
            outcomes.append(await client.request("hang", **options))
        except Exception as error:
            outcomes.append(type(error))

    return ask


def test_whoever_asks_again_at_once_reads_for_itself() -> None:
    async def test(client: PiClient, wire: Wire) -> None:
        await until_it_reads(client, wire)
        me = trio.lowlevel.current_task().name
        del wire.readers[:]
        for _ in range(20):
            assert await client.request("echo") == wire.sent[-1]["id"]
        # Reading is handed over for good only when nobody asks any more.
        assert wire.readers.count(me) >= 20
        await blocked()
        assert wire.readers[-1] == "owner"

    run(test)


def test_where_many_ask_the_owner_reads_without_waiting_in_between() -> None:
    async def test(client: PiClient, wire: Wire) -> None:
        async def ask() -> None:
            for _ in range(20):
                await client.request("echo")

        async with trio.open_nursery() as waiting, trio.open_nursery() as asking:
            for _ in range(8):
                waiting.start_soon(client.request, "hold")
            for _ in range(24):
                asking.start_soon(ask)
            await blocked()
            waiting.cancel_scope.cancel()
        assert set(wire.readers) == {"owner"}
        assert wire.at_once > len(wire.readers)

    run(test)


def test_what_comes_while_nobody_asks_is_read_by_the_owner() -> None:
    async def test(client: PiClient, wire: Wire) -> None:
        await until_it_reads(client, wire)
        with client.subscribe() as events:
            await blocked()
            wire.says({"type": "one"})
            assert (await events.records().__anext__()) == {"type": "one"}

    run(test)


def test_one_that_reads_takes_in_what_is_not_for_it() -> None:
    async def test(client: PiClient, wire: Wire) -> None:
        outcomes: list[Any] = []
        others: list[Any] = []

        async def other() -> None:
            others.append(await client.request("other"))

        with client.subscribe() as events:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(asking(client, wire, outcomes))
                await blocked()
                nursery.start_soon(other)
                await blocked()
                hang, asked = wire.sent[-2:]
                wire.says(b'{"type":"message_update","n":1}', {"type": "two"})
                wire.answers(asked)
                await blocked()
                assert others == [asked["id"]]
                assert outcomes == []
                wire.answers(hang)
            records = events.records()
            assert [await records.__anext__() for _ in range(2)] == [
                {"type": "message_update", "n": 1},
                {"type": "two"},
            ]
        assert outcomes == [hang["id"]]

    run(test)


def test_one_that_reads_times_out_all_the_same() -> None:
    async def test(client: PiClient, wire: Wire) -> None:
        outcomes: list[Any] = []
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asking(client, wire, outcomes, timeout=7.0))
        assert outcomes == [RequestTimeout]
        assert trio.current_time() - began == pytest.approx(7.0)
        await blocked()
        assert wire.readers[-1] == "owner"

    run(test)


def test_one_that_reads_is_failed_the_moment_pi_is_gone() -> None:
    async def test(client: PiClient, wire: Wire) -> None:
        outcomes: list[Any] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asking(client, wire, outcomes))
            await blocked()
            client.refuse(lambda: ConnectionClosed("stopped"))
        assert outcomes == [ConnectionClosed]

    run(test)


def test_when_the_wire_ends_its_owner_finds_out_too() -> None:
    async def main() -> None:
        client, wire = PiClient("pi-1"), Wire()
        client.attach(wire)
        client.open()
        outcomes: list[Any] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asking(client, wire, outcomes))
            async with trio.open_nursery() as serving:
                serving.start_soon(client.serve, wire, name="owner")
                await blocked()
                wire.says({"type": "last"})
                wire.ends()
            assert client.records_received > 0
            assert outcomes == []  # whoever owns the connection knows why, and says so
            client.detach(lambda: ConnectionClosed("it is gone"))
        assert outcomes == [ConnectionClosed]

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_cancelled_one_lets_the_owner_go_on() -> None:
    async def test(client: PiClient, wire: Wire) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asking(client, wire, []))
            await blocked()
            nursery.cancel_scope.cancel()
        with client.subscribe() as events:
            wire.says({"type": "later"})
            assert await events.records().__anext__() == {"type": "later"}
        assert wire.readers[-1] == "owner"

    run(test)


def test_an_interrupt_of_the_program_does_not_come_between_reading_and_routing() -> None:
    async def test(client: PiClient, wire: Wire) -> None:
        await until_it_reads(client, wire)
        with client.subscribe() as events:

            def interrupt() -> None:
                wire.before_return = lambda: None
                signal.raise_signal(signal.SIGINT)

            async def answer() -> None:
                await blocked()
                wire.before_return = interrupt
                wire.says({"type": "precious"})
                wire.answers(wire.sent[-1])

            with pytest.RaisesGroup(KeyboardInterrupt):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(answer)
                    await client.request("get_state")
                    await trio.lowlevel.checkpoint()
            assert await events.records().__anext__() == {"type": "precious"}

    run(test)


@attrs.frozen
class Ask:
    """One request of a task's: how long Pi takes, and how long its caller has patience."""

    answer_after: float
    timeout: float
    cancel_after: float


ASKS = st.builds(
    Ask,
    answer_after=st.sampled_from([0.0, 1.0, 2.0, 3.0]),
    timeout=st.sampled_from([1.5, 2.5, math.inf]),
    cancel_after=st.sampled_from([0.0, 0.5, 1.0, 2.0, math.inf]),
)


@settings(max_examples=200)
@given(st.lists(st.lists(ASKS, min_size=1, max_size=5), min_size=1, max_size=4), st.integers(0, 2**32))
def test_every_request_ends_once_and_every_event_arrives(tasks: list[list[Ask]], seed: int) -> None:
    total = sum(map(len, tasks))

    async def test(client: PiClient, wire: Wire) -> None:
        trio._core._run._r.seed(seed)
        outcomes: list[str] = []

        async def answer(number: int, ask: Ask) -> None:
            await trio.sleep(ask.answer_after)
            wire.says({"type": "event", "n": number})
            wire.answers(next(record for record in wire.sent if record["type"] == f"c{number}"))

        async def ask_all(base: int, asks: list[Ask]) -> None:
            for number, ask in enumerate(asks, base):
                pi.start_soon(answer, number, ask)
                with trio.move_on_after(ask.cancel_after) as scope:
                    try:
                        await client.request(f"c{number}", timeout=ask.timeout)
                        outcomes.append("answered")
                    except RequestTimeout:
                        outcomes.append("late")
                if scope.cancelled_caught:
                    outcomes.append("cancelled")

        with client.subscribe(when_full=WhenFull.WAIT, capacity=2) as events:
            seen: list[int] = []

            async def watch() -> None:
                async for record in events.records():
                    assert isinstance(record, dict)
                    seen.append(record["n"])

            async with trio.open_nursery() as watching:
                watching.start_soon(watch)
                async with trio.open_nursery() as pi, trio.open_nursery() as callers:
                    for index, asks in enumerate(tasks):
                        callers.start_soon(ask_all, index * 100, asks)
                await trio.sleep(10.0)
                watching.cancel_scope.cancel()
        assert len(outcomes) == total
        assert len(seen) == len(set(seen)) == total
        assert len(client._requests) == 0

    run(test)
