"""A client behind a WebSocket that drops, is refused, goes silent: on virtual time, over streams in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from pi_trio import (
    Backoff,
    ClientError,
    ConnectFailed,
    ConnectionClosed,
    ConnectionLost,
    ConnectionState,
    Lagged,
    PiClient,
    Reconnected,
    ReconnectPolicy,
    RequestTimeout,
    Run,
    RunOver,
)
from pi_trio.client.connection import Connection
from pi_trio.client.gate import Gate
from pi_trio.protocol import MessageUpdate, Record
from tests.client.memory import SETTLED, STATE, WebSocketPi, answer, blocked, delta

EVEN = Backoff(base=1.0, cap=8.0, jitter=0.0)


def remote(
    test: Callable[[PiClient, WebSocketPi, Connection], Awaitable[None]],
    *,
    policy: ReconnectPolicy | None = None,
    gate: Gate | None = None,
    subprotocol: str | None = "pi-rpc.v1.batch",
    **options: Any,
) -> None:
    async def main() -> None:
        client, pi = PiClient("far", gate=gate), WebSocketPi(subprotocol=subprotocol)
        async with trio.open_nursery() as nursery:
            connection = Connection(
                client,
                partial(pi.dial, nursery, **options),
                policy=policy or ReconnectPolicy(attempts=3, backoff=EVEN),
                greeting_timeout=10.0,
            )
            nursery.start_soon(connection.run)
            await client.wait_connected()
            await test(client, pi, connection)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def back(client: PiClient) -> None:
    """Wait until the client has noticed that its connection is gone, and has another."""
    await blocked()
    assert client.connection_state is ConnectionState.AWAY
    await client.wait_connected()


def said_by_user(text: str) -> Record:
    return {"type": "message_end", "message": {"role": "user", "content": text, "timestamp": 1}}


@asynccontextmanager
async def client_run(client: PiClient, pi: WebSocketPi) -> AsyncIterator[Run]:
    """A run that has begun."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(prompted, pi, said_by_user("hi"))
        async with client.run("hi") as run:
            await blocked()
            yield run


async def abort_answered(pi: WebSocketPi) -> None:
    for command, data in (("clear_queue", {"steering": [], "followUp": []}), ("abort", None), ("get_state", STATE)):
        await blocked()
        pi.answers(command, data)


def test_a_request_whose_answer_was_lost_fails_and_says_that_nobody_knows() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(ConnectionLost, match="not known whether") as caught:
                    await client.request("bash")
                assert caught.value.uncertain

            nursery.start_soon(ask)
            await blocked()
            assert [record["type"] for record in pi.sent] == ["bash"]
            await pi.drop()
        await back(client)
        await blocked()
        assert [record["type"] for record in pi.sent] == ["bash"]  # never twice
        assert pi.dialled == 2

    remote(test)


def test_a_request_that_was_never_sent_is_sent_on_the_next_connection_once() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        got = []

        async def ask(command: str) -> None:
            got.append((command, await client.request(command)))

        async with trio.open_nursery() as nursery:
            await pi.drop()
            nursery.start_soon(ask, "early")  # the client does not know yet
            await client.connection_states().__anext__()
            await trio.sleep(0.5)
            assert client.connection_state is ConnectionState.AWAY
            nursery.start_soon(ask, "away")
            await trio.sleep(1)
            assert sorted(record["type"] for record in pi.sent) == ["away", "early"]
            pi.answers("early", 1)
            pi.answers("away", 2)
        assert sorted(got) == [("away", 2), ("early", 1)]

    remote(test)


def test_what_was_queued_behind_a_peer_that_does_not_read_was_never_sent() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        outcomes: dict[str, Any] = {}

        async def ask(command: str) -> None:
            try:
                outcomes[command] = await client.request(command)
            except ClientError as error:
                outcomes[command] = error

        pi.full = full = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "under_way")
            await blocked()
            nursery.start_soon(ask, "behind")
            await blocked()
            assert outcomes == {}
            pi.full = None
            full.set()  # and it breaks
            await trio.sleep(1)  # for a goodbye
            await back(client)
            await blocked()
            assert [record["type"] for record in pi.sent] == ["behind"]
            pi.answers("behind", "there")
        assert outcomes["behind"] == "there"
        lost = outcomes["under_way"]
        assert isinstance(lost, ConnectionLost)
        assert lost.uncertain

    remote(test)


def test_the_events_go_on_behind_a_marker_with_the_state() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        with client.subscribe() as events:
            pi.says(delta("before"))
            await blocked()
            pi.state = {**STATE, "sessionId": "other"}
            await pi.drop()
            await back(client)
            pi.says(delta("behind"))
            first = await events.__anext__()
            assert isinstance(first, MessageUpdate)
            marker = await events.__anext__()
            assert isinstance(marker, Reconnected)
            assert (marker.missed, marker.state.session_id, marker.away) == (None, "other", 1.0)
            assert client.session_id == "other"
            texts = events.text()
            assert await texts.__anext__() == "behind"

    remote(test)


def test_what_came_with_the_greeting_stands_behind_the_marker() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        with client.subscribe() as events:
            pi.before_greeting = [delta("early"), {"type": "response", "id": "nobody", "success": True}]
            await pi.drop()
            await back(client)
            assert isinstance(await events.__anext__(), Reconnected)
            assert await events.text().__anext__() == "early"

    remote(test)


async def prompted(pi: WebSocketPi, *records: Any) -> None:
    """A prompt is on its way: Pi takes it, begins, and says this."""
    await blocked()
    pi.answers("prompt", {"disposition": "started"})
    pi.says({"type": "agent_start"}, *records)
    await blocked()


def entries(*messages: Record, leaf: str | None = None) -> Record:
    """The data of ``get_entries``: a path with these messages of events, and something beside it."""
    path = [
        {"type": "message", "id": f"e{n}", "parentId": f"e{n - 1}" if n else None, "timestamp": "t", **each}
        for n, each in enumerate({"message": event["message"]} for event in messages)
    ]
    aside = {
        "type": "message",
        "id": "aside",
        "parentId": "e0",
        "timestamp": "t",
        "message": answer("aside")["message"],
    }
    return {"entries": [*path, aside], "leafId": leaf or f"e{len(path) - 1}"}


def test_a_run_goes_on_where_the_connection_was_another_one_and_its_reply_is_whole() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        async with trio.open_nursery() as nursery:
            seen: list[Any] = []

            async def read() -> None:
                async with client.run("hi") as run:
                    seen.extend([event async for event in run])
                    assert run.reply.text == "four"
                    assert [message.raw for message in run.reply.messages] == [each["message"] for each in said[1:]]
                    assert run.usage.output == 3 * 2

            before = said_by_user("before")
            said = [before, said_by_user("hi"), answer("two"), answer("three"), answer("four")]
            nursery.start_soon(read)
            await prompted(pi, said[1], said[2], delta("thr"))
            pi.state = {**STATE, "isStreaming": True}
            await pi.drop()
            await back(client)
            pi.says(delta("fo"), said[4], SETTLED)
            await blocked()
            pi.answers("get_entries", entries(*said))
        assert [record["type"] for record in pi.sent] == ["prompt", "get_entries"]
        kinds = [type(event).__name__ for event in seen]
        assert kinds == [
            *("AgentStart", "MessageEnd", "MessageEnd", "MessageUpdate"),
            *("Reconnected", "MessageUpdate", "MessageEnd", "AgentSettled"),
        ]

    remote(test)


def test_the_compactions_of_a_run_count_once_heard_or_not() -> None:
    def told(number: int) -> Record:
        usage = answer("")["message"]["usage"]
        return {"summary": "s", "firstKeptEntryId": f"e{number}", "tokensBefore": 9, "usage": usage}

    def ended(number: int) -> Record:
        told_of = {"reason": "threshold", "aborted": False, "willRetry": False}
        return {"type": "compaction_end", **told_of, "result": told(number)}

    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                reply = await client.send("hi")
                assert [type(message).__name__ for message in reply.messages] == [
                    "UserMessage",
                    *["AssistantMessage"] * 3,
                ]
                assert reply.usage.output == (3 + 3) * 2

            said = [said_by_user("hi"), answer("two"), answer("three"), answer("four")]
            nursery.start_soon(ask)
            await prompted(pi, said[0], ended(0), said[1])
            pi.state = {**STATE, "isStreaming": True}
            await pi.drop()
            await back(client)
            pi.says(said[3], ended(2), SETTLED)
            await blocked()
            flat = entries(*said)
            for number, after in enumerate(("e0", "e1", "e3")):  # the second while nobody heard it
                of_entry = {"type": "compaction", "id": f"c{number}", "parentId": after, "timestamp": "t"}
                flat["entries"].append({**of_entry, **told(number)})
                for each in flat["entries"]:
                    if each["parentId"] == after and each["id"] not in ("aside", f"c{number}"):
                        each["parentId"] = f"c{number}"
            flat["leafId"] = "c2"
            pi.answers("get_entries", flat)

    remote(test)


def test_a_run_that_ended_meanwhile_ends_with_the_state() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        async with trio.open_nursery() as nursery:
            texts: list[str] = []

            async def read() -> None:
                async with client.run("hi") as run:
                    texts.extend([text async for text in run.text()])
                    assert run.settled
                    assert run.reply.text == "fine"
                assert (await client.send("again")).text == "again"

            nursery.start_soon(read)
            said = [said_by_user("hi"), answer("fine")]
            await prompted(pi, said[0], delta("fi"))
            await pi.drop()
            # Twice, and the second time while it is asked what was said.
            await back(client)
            await blocked()
            assert pi.sent[-1]["type"] == "get_entries"
            await pi.drop()
            await back(client)
            await blocked()
            pi.answers("get_entries", entries(*said))
            await prompted(pi, answer("again"), SETTLED)
        assert texts == ["fi"]

    remote(test)


def test_a_run_of_which_nothing_was_heard_yet_is_found_by_its_prompt() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                reply = await client.send("hi")
                assert (reply.text, len(reply.messages)) == ("fine", 2)

            nursery.start_soon(ask)
            await prompted(pi)
            await pi.drop()
            await back(client)
            await blocked()
            said = [said_by_user("hi"), answer("old"), said_by_user("hi"), answer("fine")]
            pi.answers("get_entries", entries(*said))

    remote(test)


def test_what_is_told_to_a_run_that_ended_meanwhile_does_not_go_to_another() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        async with client_run(client, pi) as run:
            await pi.drop()
            await back(client)
            with pytest.raises(RunOver):
                await run.steer("faster")
        assert [record["type"] for record in pi.sent] == ["prompt"]  # and nothing is aborted that is another's

    remote(test)


def test_what_is_told_to_a_run_while_there_is_no_connection_waits_for_what_becomes_of_it() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        async with trio.open_nursery() as nursery:

            async def told(text: str) -> None:
                try:
                    await run.steer(text)
                except RunOver:
                    text = f"{text}: over"
                outcomes.append(text)

            outcomes: list[str] = []
            async with client_run(client, pi) as run:
                for text, streams in (("faster", True), ("now", False)):
                    pi.state = {**STATE, "isStreaming": streams}
                    await pi.drop()
                    await blocked()
                    nursery.start_soon(told, text)
                    await blocked()
                    assert client.connection_state is ConnectionState.AWAY
                    await client.wait_connected()
                    await blocked()
                    if streams:
                        pi.answers("steer")
                        await blocked()
            assert outcomes == ["faster", "now: over"]
        assert [record["type"] for record in pi.sent] == ["prompt", "steer"]

    remote(test)


def test_a_run_that_is_left_behind_a_reconnection_is_aborted_there() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        async with trio.open_nursery() as nursery:
            async with client_run(client, pi):
                pi.state = {**STATE, "isStreaming": True}
                await pi.drop()
                await back(client)
                nursery.start_soon(abort_answered, pi)
        assert [record["type"] for record in pi.sent] == ["prompt", "clear_queue", "abort", "get_state"]

    remote(test)


def test_a_run_that_is_left_while_there_is_no_connection_goes_on_over_there() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        async with client_run(client, pi):
            await pi.drop()
            await blocked()
            assert client.connection_state is ConnectionState.AWAY
        await client.wait_connected()
        assert [record["type"] for record in pi.sent] == ["prompt"]

    remote(test)


@pytest.mark.parametrize("what", ["another session", "another branch", "given up", "its Pi died"])
def test_a_run_that_cannot_go_on_fails_and_says_that_nobody_knows(what: str) -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(ConnectionLost) as caught:
                    await client.send("hi")
                assert caught.value.uncertain

            nursery.start_soon(ask)
            await prompted(pi, said_by_user("hi"))
            if what == "another session":
                pi.state = {**STATE, "sessionId": "other", "isStreaming": True}
            elif what == "given up":
                pi.refusal = 503
            if what == "its Pi died":
                pi.says({**SETTLED, "aborted": True, "error": "Pi (pi-1) exited with code 3"})
            else:
                await pi.drop()
                await blocked()
                with suppress(ConnectionLost):
                    await client.wait_connected()
            await blocked()
            if what == "another branch":
                pi.answers("get_entries", entries(said_by_user("what?"), answer("fine")))
        if what == "its Pi died":
            assert [record["type"] for record in pi.sent] == ["prompt"]  # the next one is left alone
        if what != "given up":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send, "again")
                await prompted(pi, answer("fine"), SETTLED)

    remote(test)


def test_a_run_whose_prompt_was_never_sent_is_read_from_the_next_connection() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        await pi.drop()  # the client does not know yet
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                assert (await client.send("hi")).text == "fine"

            nursery.start_soon(ask)
            await trio.sleep(2)
            assert [record["type"] for record in pi.sent] == ["prompt"]
            pi.answers("prompt", {"disposition": "started"})
            pi.says({"type": "agent_start"}, answer("fine"), SETTLED)
        assert pi.dialled == 2

    remote(test)


def test_it_is_given_up_when_the_attempts_are_used_up() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        with client.subscribe() as events:
            started = trio.current_time()
            pi.refusal = 503
            await pi.drop()
            with pytest.raises(ConnectionLost, match="given up after 3 attempts.*HTTP 503") as caught:
                await client.request("x")
            assert not caught.value.uncertain
            assert trio.current_time() - started == 1 + 2 + 4
            with pytest.raises(ConnectionLost, match="given up"):
                await events.__anext__()
        assert client.connection_state is ConnectionState.CLOSED
        with pytest.raises(ConnectionLost):
            await client.wait_connected()

    remote(test)


def test_a_long_connection_ends_the_row_of_attempts() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        for _round in range(5):
            await pi.drop()
            await back(client)
            await trio.sleep(30)
        for _round in range(3):
            await pi.drop()
            await back(client)
        await pi.drop()
        await blocked()
        with pytest.raises(ConnectionLost, match="given up after 3 attempts"):
            await client.wait_connected()

    remote(test)


def test_a_token_that_is_refused_later_is_not_tried_again() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        pi.refusal = 401
        await pi.drop()
        with pytest.raises(ConnectFailed, match="HTTP 401") as caught:
            await client.request("x")
        assert caught.value.status == 401
        assert pi.dialled == 2

    remote(test)


@pytest.mark.parametrize(("code", "quiet"), [(1000, True), (1001, True), (1008, False), (4000, False)])
def test_a_goodbye_is_final(code: int, quiet: bool) -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        with client.subscribe() as events:
            assert pi.connection is not None
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    with pytest.raises(ConnectionClosed, match="it is so") as caught:
                        await client.request("x")
                    assert not isinstance(caught.value, ConnectionLost)

                nursery.start_soon(ask)
                await blocked()
                await pi.connection.aclose(code, "it is so")
            if quiet:
                assert [event async for event in events] == []
            else:
                with pytest.raises(ConnectionClosed, match="it is so"):
                    await events.__anext__()
        with pytest.raises(ConnectionClosed, match=f"it is so.*{code}"):
            await client.request("y")
        assert pi.dialled == 1

    remote(test)


def test_a_peer_that_was_too_slow_comes_back() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        assert pi.connection is not None
        await pi.connection.aclose(1013, "you do not read")
        await back(client)
        assert pi.dialled == 2

    remote(test)


def test_waiting_has_a_limit_and_a_time_of_its_own() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        pi.refusal = 503
        await pi.drop()
        await blocked()
        outcomes: list[str] = []

        async def ask(timeout: float) -> None:
            try:
                await client.request("x", timeout=timeout)
            except RequestTimeout:
                outcomes.append("time-out")
            except ConnectionLost as error:
                outcomes.append("sent" if error.uncertain else error.reason)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, 2.0)
            await blocked()
            nursery.start_soon(ask, 60.0)
            await blocked()
            nursery.start_soon(ask, 60.0)
        assert outcomes == [
            "2 requests wait for another already",
            "time-out",
            "there was no other within 5 s",
        ]

    remote(test, gate=Gate(places=2, patience=5.0))


def test_a_peer_that_goes_silent_is_noticed_after_twice_the_heartbeat() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        await trio.sleep(3600)
        await blocked()  # the pong of now has come
        assert (client.connection_state, pi.dialled) == (ConnectionState.CONNECTED, 1)
        pi.stall = trio.Event()
        heard = trio.current_time()
        states = client.connection_states()
        assert await states.__anext__() is ConnectionState.CONNECTED
        assert await states.__anext__() is ConnectionState.AWAY
        assert trio.current_time() - heard == 60
        pi.stall = None
        assert await states.__anext__() is ConnectionState.CONNECTED

    remote(test, heartbeat=30.0)


def test_one_record_a_message_where_the_peer_knows_no_batches() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        with client.subscribe() as events:
            async with trio.open_nursery() as nursery:
                for command in "abc":
                    nursery.start_soon(client.request, command)
                await blocked()
                for command in "cab":
                    pi.answers(command)
            pi.says(delta("1"), delta("2"))
            texts = events.text()
            assert [await texts.__anext__(), await texts.__anext__()] == ["1", "2"]

    remote(test, subprotocol="pi-rpc.v1")
    remote(test, subprotocol=None)


def test_a_client_that_is_closed_says_what_it_has_to_say() -> None:
    async def test(client: PiClient, pi: WebSocketPi, connection: Connection) -> None:
        with client.subscribe() as events:
            client.answer_dialog("u1", {"cancelled": True})
            connection.close()
            assert [event async for event in events] == []
        assert [record["type"] for record in pi.sent] == ["extension_ui_response"]
        with pytest.raises(ConnectionClosed, match="the client was closed"):
            await client.request("x")
        assert pi.connection is not None
        assert pi.connection.closed is not None
        assert pi.connection.closed.code == 1000

    remote(test)


def test_a_goodbye_to_a_peer_that_is_just_gone_is_one_all_the_same() -> None:
    async def test(client: PiClient, pi: WebSocketPi, connection: Connection) -> None:
        connection.close()
        await pi.drop()
        await trio.sleep(100)
        assert pi.dialled == 1
        with pytest.raises(ConnectionClosed, match="the client was closed"):
            await client.wait_connected()

    remote(test)


def test_a_client_that_is_closed_while_it_is_away() -> None:
    async def test(client: PiClient, pi: WebSocketPi, connection: Connection) -> None:
        pi.refusal = 503
        await pi.drop()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(ConnectionClosed, match="the client was closed"):
                    await client.request("x")

            nursery.start_soon(ask)
            await blocked()
            connection.close()

    remote(test)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"success": False, "error": "not now"}, "not now"),
        ({"success": True, "data": 3}, "not what it documents"),
        (None, "did not answer within 10 s"),
    ],
)
def test_a_peer_that_is_no_pi(answer: dict[str, Any] | None, why: str) -> None:
    async def main() -> None:
        pi = WebSocketPi()
        pi.greeting = answer
        async with trio.open_nursery() as nursery:
            client = PiClient("far")
            await Connection(client, partial(pi.dial, nursery), policy=ReconnectPolicy(), greeting_timeout=10.0).run()
            with pytest.raises(ConnectFailed, match=why):
                await client.wait_connected()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_subscriber_that_lags_may_lose_the_marker_but_is_told() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        with client.subscribe(capacity=2) as events:
            await pi.drop()
            await back(client)
            pi.says(*(delta(str(n)) for n in range(5)))
            await blocked()
            assert await events.__anext__() == Lagged(4)

    remote(test)
