"""The client over a transport in memory, on virtual time: every request ends exactly once."""

from __future__ import annotations

import pytest
import trio

from pi_trio import (
    ClientError,
    CommandFailed,
    ConnectionClosed,
    InvalidResponse,
    Lagged,
    PiClient,
    ProcessExited,
    RequestTimeout,
    RunFailed,
    WhenFull,
)
from pi_trio.abc import ExitStatus
from pi_trio.protocol import Record, UnknownEvent
from tests.client.memory import SETTLED, STATE, MemoryTransport, answer, blocked, connected, delta, gone


def test_responses_find_their_request_whatever_their_order() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        got = {}

        async def ask(command: str) -> None:
            got[command] = await client.request(command)

        async with trio.open_nursery() as nursery:
            for command in "abc":
                nursery.start_soon(ask, command)
            await blocked()
            for command in "bca":
                transport.answers(command, command.upper())
        assert got == {"a": "A", "b": "B", "c": "C"}
        assert len({record["id"] for record in transport.sent}) == 3

    connected(test)


def test_a_refused_command() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(CommandFailed, match="Pi refused 'x': too late") as caught:
                    await client.request("x")
                assert (caught.value.command, caught.value.error) == ("x", "too late")

            nursery.start_soon(ask)
            await blocked()
            transport.answers("x", success=False, error="too late")

    connected(test)


def test_a_request_has_a_deadline_of_its_own() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        started = trio.current_time()
        with pytest.raises(RequestTimeout, match="no response to 'x' within 30 s"):
            await client.request("x")
        assert trio.current_time() - started == 30
        with pytest.raises(RequestTimeout, match="within 2 s"):
            await client.request("x", timeout=2)
        transport.answers("x")  # too late: dropped
        await blocked()
        with trio.move_on_after(1000) as scope:
            await client.request("x", timeout=None)
        assert scope.cancelled_caught

    connected(test)


def test_the_callers_cancellation_is_no_time_out() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        with trio.move_on_after(1) as scope:
            await client.request("x")
        assert scope.cancelled_caught
        transport.answers("x", "late")
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                assert await client.request("x") == "fresh"

            nursery.start_soon(ask)
            await blocked()
            transport.answers("x", "fresh")
            transport.answers("x", "twice")
        await blocked()
        assert "0 pending" in repr(client)

    connected(test)


def test_the_end_of_the_process_ends_every_request_and_run() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        ended = []

        async def ask(command: str) -> None:
            try:
                await client.request(command)
            except ProcessExited as error:
                ended.append((command, error.status, error.stderr_tail))

        async def run() -> None:
            try:
                async with client.run("hi") as reading:
                    async for _ in reading:
                        pass
            except ProcessExited as error:
                ended.append(("run", error.status, error.stderr_tail))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "a")
            nursery.start_soon(ask, "b")
            nursery.start_soon(run)
            await blocked()
            transport.answers("prompt", {"disposition": "started"})
            transport.says({"type": "agent_start"}, delta("x"))
            await blocked()
            client.detach(gone)
        what = (ExitStatus(code=3), b"oh\n")
        assert sorted(ended) == [("a", *what), ("b", *what), ("run", *what)]
        client.close(gone, quietly=True)
        with pytest.raises(ProcessExited, match="exited with code 3.*\noh"):
            await client.request("c")
        assert sorted(record["type"] for record in transport.sent) == ["a", "b", "prompt"]

    connected(test)


def test_a_broken_pipe_is_told_as_the_end_of_the_process() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        transport.broken = True
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(ProcessExited):
                    await client.request("x")

            nursery.start_soon(ask)
            await blocked()
            client.detach(gone)

    connected(test, over=["memory"])


def test_requests_wait_for_a_pi_that_is_started_again_within_their_time() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        client.detach(gone)
        with pytest.raises(RequestTimeout, match="within 2 s"):
            await client.request("x", timeout=2)
        got = []

        async def ask() -> None:
            got.append(await client.request("x", timeout=2))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            second = MemoryTransport()
            client.attach(second)
            nursery.start_soon(client.serve, second)
            await blocked()
            assert second.sent == []  # attached, but not ready
            client.open()
            await blocked()
            second.answers("x", "from the second")
            await blocked()
            nursery.cancel_scope.cancel()
        assert got == ["from the second"]
        assert transport.sent == []

    connected(test)


def test_a_run_that_dies_with_its_pi_is_not_aborted_on_the_next_one() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        second = MemoryTransport()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(ProcessExited):
                    await client.send("hi")

            nursery.start_soon(ask)
            await blocked()
            transport.answers("prompt", {"disposition": "started"})
            await blocked()
            client.detach(gone)
            client.attach(second)
            client.open()
        assert second.sent == []

    connected(test)


def test_a_client_that_was_closed_before_it_was_open() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        client.close(lambda: ConnectionClosed("pi-1 was stopped"), quietly=True)
        with pytest.raises(ConnectionClosed, match="was stopped"):
            await client.get_state()

    connected(test)


def test_an_answer_with_a_wrong_shape_is_no_answer() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(InvalidResponse, match="get_state") as caught:
                    await client.get_state()
                assert caught.value.data == {**STATE, "messageCount": "5"}

            nursery.start_soon(ask)
            await blocked()
            transport.answers("get_state", {**STATE, "messageCount": "5"})

    connected(test)


def test_what_has_no_json_form_is_refused_and_forgotten() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        with pytest.raises(Exception, match="cannot be encoded"):
            await client.request("x", {"what": object()})
        assert "0 pending" in repr(client)

    connected(test)


def test_a_run_is_over_when_pi_has_settled_not_before() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                reply = await client.send("hi")
                assert (reply.text, reply.stop_reason) == ("two", "stop")
                assert (reply.usage.total_tokens, reply.usage.cost.total) == (6, 1.0)

            nursery.start_soon(ask)
            await blocked()
            transport.says(SETTLED)  # the end of something else
            transport.answers("prompt", {"disposition": "started"})
            transport.says({"type": "agent_start"}, answer("one", "error", errorMessage="x"), {"type": "agent_end"})
            transport.says({"type": "agent_start"}, answer("two"), {"type": "agent_end"}, SETTLED)

    connected(test)


def test_the_prompt_response_and_the_end_of_something_else_in_one_read() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                assert (await client.send("hi")).text == "mine"

            nursery.start_soon(ask)
            await blocked()
            response = {"type": "response", "command": "prompt", "success": True, "data": {"disposition": "started"}}
            transport.says(
                answer("theirs"), SETTLED, {**response, "id": transport.sent[0]["id"]}, answer("mine"), SETTLED
            )

    connected(test)


def test_a_failed_run_raises_unless_asked_not_to() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async def play() -> None:
            await blocked()
            transport.answers("prompt", {"disposition": "started"})
            transport.says(answer("", "error", errorMessage="no credit"), SETTLED)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            with pytest.raises(RunFailed, match="no credit") as caught:
                await client.send("hi")
            assert caught.value.reply.error_message == "no credit"
            nursery.start_soon(play)
            assert (await client.send("hi", check=False)).stop_reason == "error"

    connected(test)


def test_leaving_a_run_early_takes_back_the_queue_then_aborts() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async def play() -> None:
            await blocked()
            transport.answers("prompt", {"disposition": "started"})
            transport.says({"type": "agent_start"}, delta("x"))
            await blocked()
            transport.answers("clear_queue", {"steering": [], "followUp": []})
            await blocked()
            transport.answers("abort")
            await blocked()
            transport.answers("get_state", {**STATE, "isStreaming": True})
            await trio.sleep(0.5)
            transport.answers("get_state", STATE)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            with pytest.raises(ZeroDivisionError):
                async with client.run("hi") as reading:
                    async for text in reading.text():
                        assert text == "x"
                        raise ZeroDivisionError
        told = [record["type"] for record in transport.sent]
        assert told == ["prompt", "clear_queue", "abort", "get_state", "get_state"]

    connected(test)


def test_a_pi_that_does_not_stop_holds_nobody_for_ever() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        started = trio.current_time()
        with trio.move_on_after(1):
            async with client.run("hi"):
                raise AssertionError("the prompt was never answered")
        assert trio.current_time() - started == 6  # the caller's second, and five to abort
        assert [record["type"] for record in transport.sent] == ["prompt", "clear_queue"]

    connected(test)


def test_a_refused_prompt_is_not_aborted() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(CommandFailed, match="no model"):
                    await client.send("hi")

            nursery.start_soon(ask)
            await blocked()
            transport.answers("prompt", success=False, error="no model")
        assert [record["type"] for record in transport.sent] == ["prompt"]

    connected(test)


def test_a_subscriber_that_is_waited_for_holds_the_pump_but_not_the_responses() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        with client.subscribe(capacity=2, when_full=WhenFull.WAIT) as events:
            transport.says(delta("1"), delta("2"), delta("3"))
            await blocked()
            transport.says(delta("4"))
            await blocked()
            got = []
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    got.append(await client.request("x"))

                nursery.start_soon(ask)
                await blocked()
                transport.answers("x", "answered")  # behind everything else
            assert got == ["answered"]
            texts = events.text()
            assert [await texts.__anext__() for _ in range(4)] == ["1", "2", "3", "4"]

    connected(test)


def test_a_subscriber_that_lags_is_told_how_much_it_missed() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        with client.subscribe(capacity=2) as events:
            transport.says(*(delta(str(n)) for n in range(10)))
            await blocked()
            records = events.records()
            assert await records.__anext__() == Lagged(8)
            assert await records.__anext__() == delta("8")

    connected(test)


def test_subscribers_end_with_the_client_loudly_or_quietly() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        with client.subscribe() as events:
            transport.says(delta("last"))
            await blocked()
            client.close(gone, quietly=False)
            assert await events.text().__anext__() == "last"
            with pytest.raises(ProcessExited):
                await events.__anext__()
        with client.subscribe() as late, pytest.raises(ProcessExited):
            await late.__anext__()

    connected(test)

    async def quiet(client: PiClient, transport: MemoryTransport) -> None:
        with client.subscribe() as events:
            client.close(gone, quietly=True)
            assert [event async for event in events] == []

    connected(quiet)


def test_a_response_to_nobody_is_an_event() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        with client.subscribe() as events:
            transport.says({"type": "response", "command": "parse", "success": False, "error": "what?"})
            event = await events.__anext__()
            assert isinstance(event, UnknownEvent)
            assert event.raw["error"] == "what?"

    connected(test)


def test_dialogs_are_dismissed_and_notices_are_not() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        request = {"type": "extension_ui_request", "id": "u1", "title": "?"}
        transport.says({**request, "method": "confirm", "message": "?"}, {**request, "method": "notify"})
        await blocked()
        assert transport.sent == [{"type": "extension_ui_response", "id": "u1", "cancelled": True}]

    connected(test)


def test_an_interceptor_takes_over_what_it_wants_and_answers_later() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        seen: list[str] = []

        def claims_tools(record: Record) -> bool:
            seen.append(record["id"])
            return bool(record.get("title") == "tool")

        def fails(record: Record) -> bool:
            raise ZeroDivisionError

        client.add_dialog_interceptor(fails)
        client.add_dialog_interceptor(claims_tools)
        request = {"type": "extension_ui_request", "method": "input"}
        transport.says({**request, "id": "u1", "title": "tool"}, {**request, "id": "u2", "title": "name?"})
        await blocked()
        assert transport.sent == [{"type": "extension_ui_response", "id": "u2", "cancelled": True}]
        client.answer_dialog("u1", {"value": "done"})
        await blocked()
        assert transport.sent[1:] == [{"type": "extension_ui_response", "id": "u1", "value": "done"}]
        client.remove_dialog_interceptor(claims_tools)
        client.remove_dialog_interceptor(claims_tools)
        transport.says({**request, "id": "u3", "title": "tool"})
        await blocked()
        assert (seen, transport.sent[-1]["id"]) == (["u1", "u2"], "u3")
        client.detach(gone)
        client.answer_dialog("u1", {"value": "nobody hears it"})
        assert len(transport.sent) == 3

    connected(test)


def test_bash_given_up_is_ended_in_pi() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        with trio.move_on_after(1):
            await client.bash("sleep 100")
        with pytest.raises(RequestTimeout):
            await client.bash("sleep 100", timeout=1)
        await blocked()
        assert [record["type"] for record in transport.sent] == ["bash", "abort_bash", "bash", "abort_bash"]

    connected(test)


def test_too_much_for_a_pi_that_does_not_read() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        def full(record: bytes) -> None:
            raise trio.WouldBlock

        transport.send_nowait = full  # type: ignore[method-assign]
        with pytest.raises(ClientError, match="does not read its stdin"):
            await client.request("x")
        assert "0 pending" in repr(client)

    connected(test, over=["memory"])


@pytest.mark.parametrize(
    ("known", "taken"),
    [({"p": "second"}, "second"), ({"p": "not to be had"}, "first"), ({"q": "second"}, "first"), (None, "first")],
)
def test_a_provider_without_a_model_is_taken_at_its_default(known: dict[str, str] | None, taken: str) -> None:
    async def defaults() -> dict[str, str]:
        await trio.lowlevel.checkpoint()
        assert known is not None
        return known

    async def test(client: PiClient, transport: MemoryTransport) -> None:
        client.default_models = None if known is None else defaults
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.switch_provider, "p")
            await blocked()
            models = [{"provider": "q", "id": "other"}, *({"provider": "p", "id": id_} for id_ in ("first", "second"))]
            transport.answers("get_available_models", {"models": models})
            await blocked()
            assert transport.sent[-1]["modelId"] == taken
            transport.answers("set_model", {"provider": "p", "id": taken})
            await blocked()
            transport.answers("get_state", STATE)

    connected(test)
