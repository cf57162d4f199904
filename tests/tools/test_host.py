"""The host of an instance's tools, against the test in place of Pi's side. On virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import orjson
import pytest
import trio
import trio.testing

from pi_trio import ConnectionClosed, RequestTimeout, Tool, ToolContext, ToolHost, ToolImage, ToolSpecError, tool
from pi_trio.abc import RecordTransport
from pi_trio.protocol import ImageContent, TextContent


class FakePi(RecordTransport):
    """Pi's side of the pipe: what the extension would say, and what it is told."""

    def __init__(self, host: ToolHost) -> None:
        self._host = host
        self._number = 0
        self.answers: dict[str, Any] = {}
        self.gone = False
        self.full = False
        self._told = trio.Event()

    def send_nowait(self, record: bytes) -> None:
        if self.gone:
            raise trio.BrokenResourceError
        if self.full:
            raise trio.WouldBlock
        decoded = orjson.loads(record)
        assert decoded["type"] == "extension_ui_response"
        assert decoded["id"] not in self.answers, "one answer for a dialog"
        self.answers[decoded["id"]] = orjson.loads(decoded["value"])
        self._told.set()
        self._told = trio.Event()

    async def receive(self) -> Sequence[Any]:
        raise NotImplementedError

    async def run_sender(self) -> None:
        raise NotImplementedError

    def close_sending(self) -> None:
        raise NotImplementedError

    def interrupt(self) -> None:
        raise NotImplementedError

    def ask(self, title: str, **payload: Any) -> str:
        self._number += 1
        dialog = f"d{self._number}"
        record = {"method": "input", "id": dialog, "title": title, "placeholder": orjson.dumps(payload).decode()}
        assert self._host.intercept(record)
        return dialog

    def call(self, name: str, key: str = "k", **arguments: Any) -> str:
        return self.ask("pi-trio:call", key=key, id="c1", tool=name, arguments=arguments)

    def note(self, key: str, text: str) -> None:
        assert self._host.intercept({"method": "setStatus", "id": "s", "statusKey": key, "statusText": text})

    async def answer(self, dialog: str) -> Any:
        with trio.fail_after(60):  # of virtual time
            while dialog not in self.answers:
                await self._told.wait()
        return self.answers[dialog]


def error(answer: Any) -> str:
    assert set(answer) == {"error"}
    return str(answer["error"])


@asynccontextmanager
async def serving(*tools: Tool, max_concurrent: int = 4) -> AsyncIterator[tuple[ToolHost, FakePi]]:
    host = ToolHost("pi-1", tools, max_concurrent=max_concurrent, request_timeout=5.0)
    pi = FakePi(host)
    host.attach(pi)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.serve)
        await trio.testing.wait_all_tasks_blocked()
        yield host, pi
        nursery.cancel_scope.cancel()


def virtually(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@tool
async def double(x: int) -> int:
    """Double."""
    return 2 * x


@tool
async def dwell() -> None:
    """Dwell."""
    await trio.sleep_forever()


def test_pi_is_told_its_tools_and_again_when_they_change() -> None:
    async def main() -> None:
        async with serving(double) as (host, pi), trio.open_nursery() as nursery:
            first = await pi.answer(pi.ask("pi-trio:tools", version=0, refused={}, session="s"))
            assert [each["name"] for each in first["tools"]] == ["double"]
            waiting = pi.ask("pi-trio:tools", version=first["version"], refused={}, session="s")
            await trio.testing.wait_all_tasks_blocked()
            assert waiting not in pi.answers, "nothing has changed"
            added = trio.Event()

            async def add() -> None:
                await host.add(dwell)
                added.set()

            nursery.start_soon(add)
            second = await pi.answer(waiting)
            assert [each["name"] for each in second["tools"]] == ["double", "dwell"]
            assert not added.is_set(), "Pi has not said that it took them"
            pi.ask("pi-trio:tools", version=second["version"], refused={}, session="s")
            await added.wait()

    virtually(main)


def test_a_pi_that_is_not_there_is_not_waited_for() -> None:
    async def main() -> None:
        async with serving() as (host, pi):
            await host.add(double)
            first = await pi.answer(pi.ask("pi-trio:tools", version=0, refused={}, session="s"))
            assert [each["name"] for each in first["tools"]] == ["double"]
            with pytest.raises(RequestTimeout):
                await host.add(dwell)
            assert [each.name for each in host] == ["double", "dwell"], "they are on offer all the same"

    virtually(main)


@pytest.mark.parametrize("over", [False, True])
def test_who_waits_for_a_pi_that_dies_waits_until_it_is_known_what_follows(over: bool) -> None:
    async def main() -> None:
        host = ToolHost("pi-1", (), max_concurrent=1, request_timeout=5.0)
        pi = FakePi(host)
        host.attach(pi)
        life = trio.CancelScope()

        async def live() -> None:
            with life:
                await host.serve()

        async def add() -> None:
            if over:
                with pytest.raises(ConnectionClosed, match="pi-1 is over"):
                    await host.add(double)
            else:
                await host.add(double)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(live)
            await trio.testing.wait_all_tasks_blocked()
            await pi.answer(pi.ask("pi-trio:tools", version=0, refused={}, session="s"))
            began = trio.current_time()
            nursery.start_soon(add)
            await trio.testing.wait_all_tasks_blocked()
            life.cancel()
            await trio.sleep(1)  # as a supervisor does between two of them
            assert len(nursery.child_tasks) == 1
            if over:
                host.close("is over")
            else:
                host.attach(FakePi(host))
        assert trio.current_time() == began + 1
        assert list(host) == [double]

    virtually(main)


def test_an_offer_is_over_with_its_body_however_that_ends() -> None:
    async def main() -> None:
        async with serving(double) as (host, pi):
            with pytest.raises(ValueError, match="mine"):
                async with host.offer(dwell):
                    assert list(host) == [double, dwell]
                    call = pi.call("dwell")
                    await trio.testing.wait_all_tasks_blocked()
                    raise ValueError("mine")
            assert error(pi.answers[call]) == "dwell was cancelled: the program took the tool away"
            await pi.answer(pi.ask("pi-trio:tools", version=0, refused={}, session="s"))
            with trio.move_on_after(1) as patience:  # Pi does not take it
                async with host.offer(dwell):
                    raise AssertionError("it was not taken")
            assert patience.cancelled_caught
            with pytest.raises(ToolSpecError, match="already"):
                async with host.offer(double):
                    raise AssertionError("it was there before")
            assert list(host) == [double]

    virtually(main)


def test_what_is_no_tool_is_not_added() -> None:
    async def main() -> None:
        async with serving(double) as (host, _):
            function: Any = dwell.function
            with pytest.raises(ToolSpecError, match="made with @tool"):
                await host.add(function)
            assert [each.name for each in host] == ["double"]

    virtually(main)


def test_a_tool_that_pi_refuses_is_not_added() -> None:
    async def main() -> None:
        async with serving() as (host, pi), trio.open_nursery() as nursery:
            first = await pi.answer(pi.ask("pi-trio:tools", version=0, refused={}, session="s"))
            waiting = pi.ask("pi-trio:tools", version=first["version"], refused={}, session="s")

            async def add() -> None:
                with pytest.raises(ToolSpecError, match=r"double \(it says so\)"):
                    await host.add(double, dwell)

            nursery.start_soon(add)
            second = await pi.answer(waiting)
            third = await pi.answer(
                pi.ask("pi-trio:tools", version=second["version"], refused={"double": "it says so"}, session="s")
            )
            assert [each["name"] for each in third["tools"]] == ["dwell"]

    virtually(main)


def test_a_call_has_one_answer_whatever_happens_to_it() -> None:
    async def main() -> None:
        async with serving(double, dwell) as (_, pi):
            assert await pi.answer(pi.call("double", key="a", x=2)) == {
                "content": [{"type": "text", "text": "4"}],
                "details": 4,
            }
            assert "x: is missing" in error(await pi.answer(pi.call("double", key="b")))
            assert error(await pi.answer(pi.call("nobody", key="c"))) == "nobody is not there any more"
            aborted = pi.call("dwell", key="d")
            pi.note("pi-trio:abort", "d")
            pi.note("pi-trio:abort", "d")
            assert error(await pi.answer(aborted)) == "dwell was cancelled: Pi aborted it"
            pi.note("pi-trio:over", "d")
            pi.note("pi-trio:abort", "d")  # too late: nobody is there

    virtually(main)


def test_of_calls_that_are_aborted_together_none_gets_the_turn_of_another() -> None:
    runs: list[int] = []

    @tool
    async def dwell(number: int) -> None:
        """Dwell for ever."""
        runs.append(number)
        await trio.sleep_forever()

    async def main() -> None:
        async with serving(dwell, max_concurrent=1) as (_, pi):
            aborted = [pi.call("dwell", key=str(number), number=number) for number in range(3)]
            await trio.testing.wait_all_tasks_blocked()
            pi.note("pi-trio:abort", "0 1 2")
            for each in aborted:
                assert error(await pi.answer(each)) == "dwell was cancelled: Pi aborted it"
        assert len(runs) == 1

    virtually(main)


WHOSE: ContextVar[str] = ContextVar("WHOSE", default="the host's")


def test_a_call_does_not_see_the_context_of_the_task_that_read_it() -> None:
    @tool
    async def whose() -> str:
        """Say whose context it is."""
        return WHOSE.get()

    async def main() -> None:
        async with serving(whose) as (_, pi):
            WHOSE.set("the reader's")
            answer = await pi.answer(pi.call("whose"))
            assert answer["content"][0]["text"] == "the host's"

    virtually(main)


def test_a_time_limit_counts_from_the_turn() -> None:
    async def main() -> None:
        limited = Tool.from_function(dwell.function, timeout=2.0)
        async with serving(limited, max_concurrent=1) as (_, pi):
            began = trio.current_time()
            first = pi.call("dwell", key="a")
            await trio.testing.wait_all_tasks_blocked()  # it has its turn
            second = pi.call("dwell", key="b")
            for dialog, seconds in ((first, 2.0), (second, 4.0)):
                assert error(await pi.answer(dialog)) == "dwell was cancelled: it did not end within 2 s"
                assert trio.current_time() - began == pytest.approx(seconds)

    virtually(main)


def test_updates_wait_for_pi_to_take_the_last_one_from_whatever_task() -> None:
    contexts: list[ToolContext] = []

    @tool
    async def report(context: ToolContext) -> str:
        """Report."""
        contexts.append(context)
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(context.progress, str(number))
        return "done"

    async def main() -> None:
        async with serving(report) as (_, pi):
            dialog = pi.call("report", key="k")
            said = []
            for _ in range(3):
                update = (await pi.answer(dialog))["update"]
                said.append(update["content"][0]["text"])
                await trio.testing.wait_all_tasks_blocked()
                assert len(pi.answers) == len(said), "the next one waits"
                dialog = pi.ask("pi-trio:call", key="k")
            assert sorted(said) == ["0", "1", "2"]
            assert (await pi.answer(dialog))["content"][0]["text"] == "done"
            with pytest.raises(trio.ClosedResourceError):
                await contexts[0].progress("too late")

    virtually(main)


def test_an_update_that_cannot_be_said_does_not_take_the_answer_with_it() -> None:
    @tool
    async def report(context: ToolContext) -> str:
        """Report."""
        with pytest.raises(TypeError, match="base64"):
            await context.progress(ImageContent(data=b"raw", mime_type="image/png"))  # type: ignore[arg-type]
        with trio.move_on_after(1):
            await context.progress("while Pi takes nothing")
        return "done"

    async def main() -> None:
        async with serving(report) as (_, pi):
            pi.full = True
            dialog = pi.call("report")
            await trio.sleep(2)
            pi.full = False
            assert (await pi.answer(dialog))["content"][0]["text"] == "done"

    virtually(main)


def test_an_answer_for_which_there_is_no_room_waits_for_it() -> None:
    async def main() -> None:
        async with serving(double) as (_, pi):
            pi.full = True
            dialog = pi.call("double", x=2)
            await trio.sleep(60)
            assert pi.answers == {}
            pi.full = False
            assert (await pi.answer(dialog))["details"] == 4

    virtually(main)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (ImageContent(data=b"raw", mime_type="image/png"), "base64 text, not bytes"),  # type: ignore[arg-type]
        (ToolImage(b"raw", mime_type=None), "mime_type"),  # type: ignore[arg-type]
        (TextContent(text=5), "TextContent"),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_content_that_is_made_of_something_else_ends_nothing_but_the_call(value: object, why: str) -> None:
    @tool
    async def show() -> object:
        """Show."""
        return value

    async def main() -> None:
        async with serving(show, double) as (_, pi):
            assert why in error(await pi.answer(pi.call("show")))
            assert (await pi.answer(pi.call("double", key="l", x=1)))["details"] == 2

    virtually(main)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_exception_without_words_ends_nothing_but_the_call() -> None:
    @tool
    async def fail() -> None:
        """Fail."""
        raise Unspeakable

    async def main() -> None:
        async with serving(fail, double) as (_, pi):
            assert error(await pi.answer(pi.call("fail"))) == "Unspeakable"
            assert (await pi.answer(pi.call("double", key="l", x=1)))["details"] == 2

    virtually(main)


def test_a_pi_that_gave_up_is_not_told() -> None:
    @tool
    async def report(context: ToolContext) -> None:
        """Report."""
        await context.progress("first")

    async def main() -> None:
        async with serving(report) as (host, pi):
            dialog = pi.call("report", key="k")
            assert "update" in await pi.answer(dialog)
            pi.note("pi-trio:over", "k")
            await trio.testing.wait_all_tasks_blocked()
            assert list(pi.answers) == [dialog]
            assert "0 calls" in repr(host)

    virtually(main)


def test_at_the_end_calls_are_cancelled_and_no_more_are_taken() -> None:
    async def main() -> None:
        async with serving(dwell) as (host, pi):
            dialog = pi.call("dwell", key="k")
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(1) as patience:
                await host.end_calls("it was stopped")
            assert patience.cancelled_caught, "Pi has not said that it took the answer"
            assert error(pi.answers[dialog]) == "dwell was cancelled: it was stopped"
            assert error(await pi.answer(pi.call("dwell", key="l"))) == "dwell is not there any more"
            pi.note("pi-trio:over", "k")
            await host.end_calls("it was stopped")

    virtually(main)


def test_when_the_connection_is_gone_nothing_is_sent_and_nothing_breaks() -> None:
    async def main() -> None:
        async with serving(double) as (host, pi):
            pi.gone = True
            pi.call("double", key="k", x=1)
            await trio.testing.wait_all_tasks_blocked()
        assert pi.answers == {}
        assert "0 calls" in repr(host)

    virtually(main)


@pytest.mark.parametrize(
    "record",
    [
        {"method": "input", "id": "1", "title": "Your name?", "placeholder": "x"},
        {"method": "input", "id": "1", "title": "pi-trio:call", "placeholder": "not JSON"},
        {"method": "input", "id": "1", "title": "pi-trio:call"},
        {"method": "input", "title": "pi-trio:call", "placeholder": "{}"},
        {"method": "confirm", "id": "1", "title": "pi-trio:call", "message": "{}"},
        {"method": "setStatus", "id": "1", "statusKey": "other", "statusText": "x"},
        {"method": "notify", "id": "1", "message": "pi-trio:call"},
        {"method": "input", "id": "1", "title": ["x"], "placeholder": "{}"},
        {"method": "input", "id": "1", "title": "pi-trio:call", "placeholder": "{}"},
        {"method": "input", "id": "1", "title": "pi-trio:tools", "placeholder": '{"version": "x", "refused": {}}'},
        {"method": "setStatus", "id": "1", "statusKey": ["pi-trio:abort"]},
        {"method": "setStatus", "id": "1", "statusKey": "pi-trio:abort", "statusText": ["k"]},
        {"method": "input", "id": "1", "title": "pi-trio:call", "placeholder": "\ud83d"},
        {},
    ],
    ids=str,
)
def test_what_others_ask_is_left_alone(record: dict[str, Any]) -> None:
    async def main() -> None:
        async with serving() as (host, pi):
            assert host.intercept(record) is False
            assert pi.answers == {}

    virtually(main)


def test_a_host_without_tools_takes_nothing() -> None:
    async def main() -> None:
        host = ToolHost("pi-1", None, max_concurrent=1, request_timeout=1.0)
        assert not host.intercept({"method": "input", "id": "1", "title": "pi-trio:tools", "placeholder": "{}"})
        with pytest.raises(ToolSpecError, match="python_tools"):
            await host.add(double)

    virtually(main)
