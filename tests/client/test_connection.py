"""A client behind a WebSocket that drops, is refused, goes silent: on virtual time, over streams in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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
)
from pi_trio.client.connection import Connection
from pi_trio.client.gate import Gate
from pi_trio.protocol import MessageUpdate
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


def test_a_run_ends_with_its_connection_and_the_next_one_works() -> None:
    async def test(client: PiClient, pi: WebSocketPi, _: Connection) -> None:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(ConnectionLost) as caught:
                    await client.send("hi")
                assert caught.value.uncertain

            nursery.start_soon(ask)
            await blocked()
            pi.answers("prompt", {"disposition": "started"})
            pi.says({"type": "agent_start"}, delta("x"))
            await blocked()
            await pi.drop()
        await back(client)
        assert [record["type"] for record in pi.sent] == ["prompt"]  # nobody aborts what goes on over there
        async with trio.open_nursery() as nursery:

            async def again() -> None:
                assert (await client.send("again")).text == "fine"

            nursery.start_soon(again)
            await blocked()
            pi.answers("prompt", {"disposition": "started"})
            pi.says({"type": "agent_start"}, answer("fine"), SETTLED)

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
