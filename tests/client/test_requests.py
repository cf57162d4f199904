"""Pending requests: each has one outcome, whatever happens in the same instant."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio._core._run
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from pi_trio.client.requests import PendingRequest, RequestTable
from pi_trio.errors import RequestTimeout
from pi_trio.protocol import Record
from tests.concurrency.virtual import run


@attrs.define
class Waiter:
    """A task that waits for a request, and what came of it."""

    pending: PendingRequest
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    outcomes: list[Any] = attrs.field(factory=list)

    async def run(self) -> None:
        with self.scope:
            try:
                self.outcomes.append(await self.pending.wait())
            except Exception as error:
                self.outcomes.append(error)
        if self.scope.cancelled_caught:
            self.outcomes.append("cancelled")


def response(pending: PendingRequest) -> Record:
    return {"type": "response", "id": pending.id, "success": True}


class Gone(Exception):
    """What the requests are failed with."""


# --- one request -------------------------------------------------------------------------------------


def test_no_two_requests_have_the_same_id() -> None:
    table = RequestTable()
    ids = []
    for _ in range(5):
        pending = table.open("get_state")
        ids.append(pending.id)
        table.resolve(response(pending))
    ids += [table.open("get_state").id for _ in range(5)]

    assert len(set(ids)) == 10
    assert len(table) == 5


def test_the_waiting_task_gets_its_response() -> None:
    async def main() -> None:
        table = RequestTable()
        waiters = [Waiter(table.open("get_state")) for _ in range(3)]
        async with trio.open_nursery() as nursery:
            for waiter in waiters:
                nursery.start_soon(waiter.run)
            await wait_all_tasks_blocked()
            assert len(table) == 3
            for waiter in reversed(waiters):
                assert table.resolve(response(waiter.pending))
        assert [waiter.outcomes for waiter in waiters] == [[response(waiter.pending)] for waiter in waiters]
        assert len(table) == 0

    run(main)


def test_a_response_may_come_before_the_wait() -> None:
    async def main() -> None:
        table = RequestTable()
        pending = table.open("get_state")
        assert table.resolve(response(pending))

        with assert_checkpoints():
            assert await pending.wait() == response(pending)

    run(main)


def test_the_response_that_comes_first_counts() -> None:
    async def main() -> None:
        table = RequestTable()
        pending = table.open("get_state")
        assert table.resolve({**response(pending), "first": True})
        assert not table.resolve(response(pending))

        assert (await pending.wait())["first"] is True

    run(main)


@pytest.mark.parametrize("id_", [None, "", "r2", "R1", 1, 1.0, True, [], {}, ["r1"]])
def test_a_response_to_nothing_is_dropped(id_: Any) -> None:
    table = RequestTable()
    table.open("get_state")

    assert not table.resolve({"type": "response", "id": id_})
    assert not table.resolve({"type": "response"})
    assert len(table) == 1


def test_requests_say_what_they_are() -> None:
    table = RequestTable()
    pending = table.open("get_state")
    before = repr(pending)
    table.resolve(response(pending))

    assert (before, repr(pending)) == (
        "<PendingRequest r1 get_state waiting>",
        "<PendingRequest r1 get_state done>",
    )


# --- failure and cancellation ------------------------------------------------------------------------


def test_all_requests_fail_each_with_an_error_of_its_own() -> None:
    async def main() -> None:
        table = RequestTable()
        waiters = [Waiter(table.open("get_state")) for _ in range(3)]
        late = table.open("get_state")
        async with trio.open_nursery() as nursery:
            for waiter in waiters:
                nursery.start_soon(waiter.run)
            await wait_all_tasks_blocked()
            table.fail_all(Gone)
            table.fail_all(lambda: OSError("a second time"))
        errors = [error for waiter in waiters for error in waiter.outcomes]
        assert [type(error) for error in errors] == [Gone] * 3
        assert len({id(error) for error in errors}) == 3
        assert len(table) == 0
        with pytest.raises(Gone):
            await late.wait()

    run(main)


def test_a_request_made_after_a_failure_is_not_part_of_it() -> None:
    async def main() -> None:
        table = RequestTable()
        table.fail_all(Gone)
        pending = table.open("get_state")
        assert table.resolve(response(pending))
        assert await pending.wait() == response(pending)

    run(main)


def test_a_request_that_was_given_up_leaves_nothing_behind() -> None:
    async def main() -> None:
        table = RequestTable()
        pending = table.open("get_state")
        with trio.move_on_after(1) as scope:
            await pending.wait()

        assert scope.cancelled_caught
        assert len(table) == 0
        assert not table.resolve(response(pending)), "a late response is dropped"
        table.fail_all(Gone)

    run(main)


def test_a_forgotten_request_is_gone() -> None:
    table = RequestTable()
    pending = table.open("get_state")
    table.forget(pending)
    table.forget(pending)

    assert not table.resolve(response(pending))
    assert len(table) == 0


# --- on_response -------------------------------------------------------------------------------------


def test_the_callback_runs_before_the_waiting_task() -> None:
    async def main() -> None:
        table = RequestTable()
        log: list[str] = []
        pending = table.open("prompt", lambda record: log.append(f"callback {record['id']}"))

        async def wait() -> None:
            await pending.wait()
            log.append("task")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            table.resolve(response(pending))
            log.append("resolved")
        assert log == ["callback r1", "resolved", "task"]

    run(main)


def test_the_callback_runs_for_a_response_and_for_nothing_else() -> None:
    called: list[Record] = []
    table = RequestTable()
    failed, forgotten, twice = (table.open("prompt", called.append) for _ in range(3))
    table.forget(forgotten)
    table.resolve(response(twice))
    table.resolve(response(twice))
    table.fail_all(Gone)
    for pending in (failed, forgotten):
        table.resolve(response(pending))

    assert called == [response(twice)]


def test_the_callback_may_make_another_request() -> None:
    async def main() -> None:
        table = RequestTable()
        more: list[PendingRequest] = []
        pending = table.open("prompt", lambda _: more.append(table.open("get_state")))
        table.resolve(response(pending))
        (second,) = more
        assert table.resolve(response(second))
        assert (await pending.wait())["id"] != (await second.wait())["id"]

    run(main)


def test_a_callback_that_raises_fails_its_own_request() -> None:
    def callback(_: Record) -> None:
        raise ValueError("from the callback")

    async def main() -> None:
        table = RequestTable()
        pending = table.open("prompt", callback)
        assert table.resolve(response(pending))
        with pytest.raises(ValueError, match="from the callback"):
            await pending.wait()

    run(main)


# --- races -------------------------------------------------------------------------------------------

ACTIONS = ("resolve", "fail", "cancel")


@pytest.mark.parametrize("second", ACTIONS)
@pytest.mark.parametrize("first", ACTIONS)
def test_of_two_things_in_the_same_instant_the_first_happens(first: str, second: str) -> None:
    async def main() -> None:
        table = RequestTable()
        waiter = Waiter(table.open("get_state"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter.run)
            await wait_all_tasks_blocked()
            for number, action in enumerate((first, second)):
                act(action, table, waiter, is_first=number == 0)
        assert len(waiter.outcomes) == 1
        check(first, waiter)
        assert len(table) == 0

    run(main)


def act(action: str, table: RequestTable, waiter: Waiter, *, is_first: bool) -> None:
    if action == "resolve":
        assert table.resolve(response(waiter.pending)) == is_first
    elif action == "fail":
        table.fail_all(Gone)
    else:
        waiter.scope.cancel()


def check(action: str, waiter: Waiter) -> None:
    (outcome,) = waiter.outcomes
    if action == "resolve":
        assert outcome == response(waiter.pending)
    elif action == "fail":
        assert isinstance(outcome, Gone)
    elif action == "time out":
        assert isinstance(outcome, RequestTimeout)
    else:
        assert outcome == "cancelled"


# --- time-outs ---------------------------------------------------------------------------------------


def test_a_request_ends_when_its_time_is_over() -> None:
    async def main() -> None:
        table = RequestTable()
        started = trio.current_time()
        pending = table.open("get_state", timeout=5)
        with pytest.raises(RequestTimeout) as caught:
            await pending.wait()

        assert trio.current_time() - started == 5
        assert (caught.value.command, caught.value.timeout) == ("get_state", 5)
        assert len(table) == 0
        assert not table.resolve(response(pending)), "a late response is dropped"

    run(main)


def test_whoever_keeps_time_ends_each_request_at_its_own() -> None:
    async def main() -> None:
        table = RequestTable()
        calls = 0
        ended: dict[str, float] = {}
        over = trio.Event()

        async def work() -> None:
            nonlocal calls
            calls += 1
            await over.wait()

        async def ask(timeout: float | None) -> None:
            pending = table.open(str(timeout), timeout=timeout)
            try:
                await pending.wait()
            except RequestTimeout as error:
                ended[error.command] = trio.current_time()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, 2)
            await wait_all_tasks_blocked()
            nursery.start_soon(table.keep_time_while, work)
            await wait_all_tasks_blocked()
            assert table.keeps_time
            for timeout in (7, 3, None, 1):
                nursery.start_soon(ask, timeout)
            await trio.sleep(20)
            assert ended == {"1": 1, "2": 2, "3": 3, "7": 7}
            assert calls > 1, "the work was interrupted, and taken up again"
            assert len(table) == 1
            over.set()
            table.fail_all(lambda: RequestTimeout("None", 0))
        assert not table.keeps_time

    run(main)


def test_when_the_work_fails_the_time_is_still_kept() -> None:
    async def main() -> None:
        table = RequestTable()

        async def work() -> None:
            await trio.sleep(1)
            raise Gone

        async def keep_time() -> None:
            with pytest.raises(Gone):
                await table.keep_time_while(work)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_time)
            await wait_all_tasks_blocked()
            pending = table.open("get_state", timeout=5)
            with pytest.raises(RequestTimeout):
                await pending.wait()
            assert not table.keeps_time
            assert trio.current_time() == pending.deadline

    run(main)


# --- all of it, in any order -------------------------------------------------------------------------


@attrs.define
class Simulation:
    """Requests that are opened, answered, failed, given up and timed out; and who keeps the time."""

    table: RequestTable
    nursery: trio.Nursery
    waiters: list[Waiter] = attrs.field(factory=list)
    decided: dict[str, str] = attrs.field(factory=dict)
    keeping: trio.CancelScope | None = None

    async def open(self, timeout: float | None) -> None:
        self.waiters.append(Waiter(self.table.open("get_state", timeout=timeout)))
        self.nursery.start_soon(self.waiters[-1].run)
        await wait_all_tasks_blocked()

    async def keep_time(self) -> None:
        with trio.CancelScope() as self.keeping:
            await self.table.keep_time_while(trio.sleep_forever)

    async def step(self, action: str, number: int) -> None:
        waiter = self.waiters[number % len(self.waiters)]
        if action == "open":
            await self.open([None, 1.5, 3.5][number % 3])
        elif action == "breathe":
            await trio.lowlevel.checkpoint()
        elif action == "sleep":
            await trio.sleep(number)
        elif action != "keep time":
            act(action, self.table, waiter, is_first=waiter.pending.id not in self.decided)
            for each in self.waiters if action == "fail" else [waiter]:
                self.decided.setdefault(each.pending.id, action)
        elif self.keeping is None:
            self.nursery.start_soon(self.keep_time)
            await wait_all_tasks_blocked()
        else:
            self.keeping.cancel()
            self.keeping = None
        for each in self.waiters:  # deadlines lie between the steps
            if each.pending.deadline < trio.current_time():
                self.decided.setdefault(each.pending.id, "time out")


steps = st.tuples(
    st.sampled_from([*ACTIONS, "open", "open", "breathe", "sleep", "sleep", "keep time"]), st.integers(0, 5)
)


@given(st.lists(steps, max_size=30), st.integers(0, 2**32))
def test_every_request_has_one_outcome(plan: list[tuple[str, int]], seed: int) -> None:
    # Under Hypothesis, Trio would take the same turn in every example: draw the interleaving, too.
    trio._core._run._r.seed(seed)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            simulation = Simulation(RequestTable(), nursery)
            await simulation.open(None)
            for action, number in plan:
                await simulation.step(action, number)
                assert len(simulation.table) == len(simulation.waiters) - len(simulation.decided)
            simulation.table.fail_all(Gone)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        for waiter in simulation.waiters:
            check(simulation.decided.get(waiter.pending.id, "fail"), waiter)

    run(main)
