"""Dialogs: who answers them, what becomes of those that nobody answers, and when an answer is not wanted any more."""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from pi_trio import PiClient
from pi_trio.client.dialogs import allow, ask, chain, choose, deny
from pi_trio.protocol import (
    DISMISSED,
    Confirm,
    Dialog,
    DialogAnswer,
    DialogHandler,
    Editor,
    Input,
    Record,
    Select,
    dialog_response,
)
from tests.client.memory import MemoryTransport, blocked, connected, gone

SELECT = Select("u1", "Which?", ("one", "two", "3"))
CONFIRM = Confirm("u2", "Sure?", "There is no way back.")
INPUT = Input("u3", "Name", "as you like it")
EDITOR = Editor("u4", "Story", "Once\nupon")


def asked(id_: str, method: str = "confirm", **fields: Any) -> Record:
    return {"type": "extension_ui_request", "id": id_, "method": method, "title": "?", **fields}


def answered(id_: str, **fields: Any) -> Record:
    return {"type": "extension_ui_response", "id": id_, **fields}


def at_work(handler: DialogHandler, test: Callable[[PiClient, MemoryTransport], Awaitable[None]]) -> None:
    """Run a test on virtual time, with a client whose dialogs ``handler`` answers."""
    connected(test, handler=handler)


def asks(handler: DialogHandler, dialog: Dialog) -> DialogAnswer | None:
    async def main() -> DialogAnswer | None:
        return await handler(dialog)

    return trio.run(main)


# --- the ready-made ones -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "answers"),
    [
        (allow, (None, True, None, None)),
        (deny, (DISMISSED, False, DISMISSED, DISMISSED)),
        (choose("4", "two", "one"), ("two", None, None, None)),
        (choose("4"), (None, None, None, None)),
        (chain(choose("one"), allow), ("one", True, None, None)),
        (chain(allow, deny), (DISMISSED, True, DISMISSED, DISMISSED)),
        (chain(deny, allow), (DISMISSED, False, DISMISSED, DISMISSED)),
        (chain(), (None, None, None, None)),
    ],
)
def test_what_the_handlers_answer(handler: DialogHandler, answers: tuple[DialogAnswer | None, ...]) -> None:
    assert tuple(asks(handler, dialog) for dialog in (SELECT, CONFIRM, INPUT, EDITOR)) == answers


def person(*lines: str | None) -> tuple[DialogHandler, list[str]]:
    shown: list[str] = []
    said = iter(lines)

    async def read(question: str) -> str | None:
        await trio.lowlevel.checkpoint()
        shown.append(question)
        return next(said)

    return ask(read), shown


@pytest.mark.parametrize(
    ("dialog", "lines", "answer"),
    [
        (SELECT, ["2"], "two"),
        (SELECT, ["3"], "3"),
        (SELECT, [" one "], "one"),
        (SELECT, ["4", "0", "²", "other", "1"], "one"),
        (SELECT, [""], DISMISSED),
        (SELECT, [None], DISMISSED),
        (CONFIRM, ["y"], True),
        (CONFIRM, ["YES "], True),
        (CONFIRM, [""], False),
        (CONFIRM, ["yesterday"], False),
        (CONFIRM, [None], DISMISSED),
        (INPUT, ["Zoë "], "Zoë "),
        (INPUT, [""], ""),
        (INPUT, [None], DISMISSED),
        (EDITOR, ["a", "", "b", "."], "a\n\nb"),
        (EDITOR, ["a", None], "a"),
        (EDITOR, ["."], "Once\nupon"),
        (EDITOR, [None], DISMISSED),
    ],
)
def test_what_a_person_answers(dialog: Dialog, lines: list[str | None], answer: DialogAnswer) -> None:
    handler, shown = person(*lines)
    assert asks(handler, dialog) == answer
    assert shown[0].startswith(dialog.title)
    assert len(shown) == len(lines)


def test_a_person_is_asked_one_thing_at_a_time() -> None:
    at_once = most = 0

    async def read(question: str) -> str | None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await trio.sleep(1)
        at_once -= 1
        return "y"

    async def test(client: PiClient, transport: MemoryTransport) -> None:
        transport.says(asked("u1"), asked("u2"), asked("u3"))
        await trio.sleep(10)
        assert sorted(record["id"] for record in transport.sent) == ["u1", "u2", "u3"]
        assert all(record["confirmed"] for record in transport.sent)
        assert most == 1

    at_work(ask(read), test)


# --- answers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialog", "answer", "response"),
    [
        (SELECT, "two", {"value": "two"}),
        (CONFIRM, True, {"confirmed": True}),
        (CONFIRM, False, {"confirmed": False}),
        (INPUT, "", {"value": ""}),
        (EDITOR, "a\nb", {"value": "a\nb"}),
        *((dialog, DISMISSED, {"cancelled": True}) for dialog in (SELECT, CONFIRM, INPUT, EDITOR)),
    ],
)
def test_an_answer_on_the_wire(dialog: Dialog, answer: DialogAnswer, response: Record) -> None:
    assert dialog_response(dialog, answer) == response


@pytest.mark.parametrize(
    ("dialog", "answer"), [(SELECT, "four"), (SELECT, True), (CONFIRM, "yes"), (INPUT, True), (EDITOR, False)]
)
def test_what_is_no_answer(dialog: Dialog, answer: DialogAnswer) -> None:
    with pytest.raises(ValueError, match="answered with|none of the options"):
        dialog_response(dialog, answer)

    async def wrong(_: Dialog) -> DialogAnswer | None:
        return answer

    async def test(client: PiClient, transport: MemoryTransport) -> None:
        method = type(dialog).__name__.lower()
        transport.says(asked("u1", method, options=["one"]))
        await blocked()
        assert transport.sent == [answered("u1", cancelled=True)]

    at_work(wrong, test)


# --- the desk ----------------------------------------------------------------------------------------


def test_a_slow_answer_holds_up_neither_requests_nor_events_nor_other_dialogs() -> None:
    async def slow(dialog: Dialog) -> DialogAnswer | None:
        await trio.sleep(100 if dialog.id == "u1" else 1)
        return True

    async def test(client: PiClient, transport: MemoryTransport) -> None:
        with client.subscribe() as events:
            transport.says(asked("u1"), asked("u2"), {"type": "agent_start"})
            await blocked()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.request, "x")
                await blocked()
                transport.answers("x")
            assert trio.current_time() < 1
            assert [type(await anext(events)).__name__ for _ in range(3)] == ["Confirm", "Confirm", "AgentStart"]
        await trio.sleep(200)
        assert transport.sent[1:] == [answered("u2", confirmed=True), answered("u1", confirmed=True)]

    at_work(slow, test)


def test_when_pis_own_time_is_over_the_handler_is_cancelled_and_nothing_sent() -> None:
    ended = []

    async def never(dialog: Dialog) -> DialogAnswer | None:
        try:
            await trio.sleep(10_000)
        finally:
            ended.append((dialog.id, trio.current_time()))
        return True

    async def test(client: PiClient, transport: MemoryTransport) -> None:
        ended.clear()  # of the way before
        transport.says(asked("u1", timeout=2000), asked("u2", timeout=-1), asked("u3", timeout=0))
        started = trio.current_time()
        await trio.sleep(1000)
        assert [(id_, at - started) for id_, at in ended] == [("u2", 0), ("u1", 2)]  # 0 is none, in Pi too
        assert transport.sent == []

    at_work(never, test)


def test_the_handler_is_cancelled_when_pi_ends_and_answers_the_next_one() -> None:
    async def main() -> None:
        ended = []

        async def never(dialog: Dialog) -> DialogAnswer | None:
            try:
                await trio.sleep(100)
            finally:
                ended.append(dialog.id)
            return True

        client = PiClient("pi-1")
        client.dialog_handler = never
        for id_ in ("u1", "u2"):
            transport = MemoryTransport()
            client.attach(transport)
            async with trio.open_nursery() as nursery:
                client.serve_dialogs(nursery)
                nursery.start_soon(client.serve, transport)
                transport.says(asked(id_))
                await trio.sleep(10)
                client.detach(gone)
                nursery.cancel_scope.cancel()
            assert transport.sent == []
        assert ended == ["u1", "u2"]

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("error", [ZeroDivisionError(), ExceptionGroup("several", [ValueError()])])
def test_a_handler_that_fails_dismisses_its_dialog_and_hurts_nobody_else(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(dialog: Dialog) -> DialogAnswer | None:
        await trio.lowlevel.checkpoint()
        raise error

    async def test(client: PiClient, transport: MemoryTransport) -> None:
        transport.says(asked("u1"))
        await blocked()
        client.dialog_handler = allow
        transport.says(asked("u2"))
        await blocked()
        assert transport.sent == [answered("u1", cancelled=True), answered("u2", confirmed=True)]

    at_work(fails, test)
    assert "the handler of dialogs failed" in caplog.text


def test_what_nobody_answers_and_what_is_no_dialog() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        transport.says(asked("u1", "input"), asked("u2", "notify", message="hi"), asked("u3", "select"))
        await blocked()
        # u1: `allow` leaves it; u3: no options, so it is no dialog that anybody could answer
        assert sorted(record["id"] for record in transport.sent) == ["u1", "u3"]
        assert all(record["cancelled"] for record in transport.sent)

    at_work(allow, test)


def test_a_handler_does_not_run_in_the_context_of_whoever_happened_to_read() -> None:
    mine = contextvars.ContextVar("mine", default="nobody's")
    seen: list[str] = []

    async def handler(dialog: Dialog) -> DialogAnswer | None:
        seen.append(mine.get())
        return True

    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async def answer(*before: Record) -> None:
            await blocked()
            transport.says(*before)
            transport.answers("get_entries", {})

        seen.clear()
        mine.set("the reader's")
        async with trio.open_nursery() as nursery:
            for number in range(20):  # at the latest when it asks again at once, this task reads for itself
                nursery.start_soon(answer, asked(f"u{number}"))
                await client.request("get_entries")
            await blocked()
        assert seen == ["nobody's"] * 20

    at_work(handler, test)
