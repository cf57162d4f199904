"""Several peers at once: slow ones, silent ones, many; and what they see when the instance goes."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from pi_trio import (
    Backoff,
    ConnectionClosed,
    EndpointConfig,
    Reconnected,
    ReconnectPolicy,
    RemoteOptions,
    Scope,
    WhenFull,
    open_client,
)
from pi_trio.endpoint import CloseCode
from pi_trio.protocol import DISMISSED, Confirm, Dialog, DialogAnswer
from tests.client.memory import SETTLED, STATE, MemoryTransport, delta, gone
from tests.endpoint.world import World, connect, open_world, served
from tests.support import run, until

STREAMED = b'{"type":"message_update","assistantMessageEvent":{"type":"text_delta","delta":"%06d"}}'


def lines(count: int, start: int = 0) -> list[bytes]:
    return [STREAMED % number for number in range(start, start + count)]


def test_a_peer_that_never_reads_is_dropped_and_holds_nobody_up() -> None:
    async def test(world: World) -> None:
        count = 100_000
        behind: list[bytes] = []
        async with world.connect() as slow, world.connect(subprotocols=("pi-rpc.v1.batch",)) as quick:
            got = 0
            while got < count:
                world.pi.says(*lines(500, got))
                for _ in range(500):
                    if not behind:
                        message = await quick.socket.get_message()
                        assert isinstance(message, str)
                        behind = message.encode().splitlines()[::-1]
                    assert behind.pop() == STREAMED % got
                    got += 1
            await until(lambda: world.endpoint.statistics().waiting_bytes == 0)
            assert await slow.closed() == (CloseCode.TRY_AGAIN_LATER, "too slow")
            await until(lambda: world.endpoint.statistics().dropped == 1)

    served(test, EndpointConfig(outbox_bytes=1024 * 1024))


def test_one_record_a_message_or_several_with_their_line_ends() -> None:
    async def test(world: World) -> None:
        async with world.connect() as single, world.connect(subprotocols=("pi-rpc.v1.batch",)) as batch:
            world.pi.says(*lines(3), {"type": "ü"})
            assert [await single.socket.get_message() for _ in range(4)] == [
                *[line.decode() for line in lines(3)],
                '{"type":"ü"}',
            ]
            assert (
                await batch.socket.get_message()
                == "".join(f"{line.decode()}\n" for line in lines(3)) + '{"type":"ü"}\n'
            )
            await batch.socket.send_message('{"id":1,"type":"get_state"}\n{"id":2,"type":"get_tree"}\n')
            assert [record["type"] for record in await world.asked(2)] == ["get_state", "get_tree"]

    served(test)


def test_what_is_not_utf_8_is_mended_and_what_is_no_record_is_kept_back() -> None:
    async def test(world: World) -> None:
        async with world.connect() as peer:
            world.pi.says(STREAMED % 1 + b"\xff", b"no record", STREAMED % 2)
            assert await peer.socket.get_message() == (STREAMED % 1).decode() + "\ufffd"
            assert await peer.socket.get_message() == (STREAMED % 2).decode()

    served(test)


def test_two_hundred_connections_to_one_instance() -> None:
    async def test(world: World) -> None:
        answered, all_answered = 0, trio.Event()

        async def ask(number: int, *, task_status: trio.TaskStatus[None]) -> None:
            nonlocal answered
            async with world.connect() as peer:
                task_status.started()
                await peer.send({"id": number, "type": "get_state"})
                answer = await peer.receive()
                while answer["type"] != "response":
                    answer = await peer.receive()
                assert answer["id"] == number
                answered += 1
                if answered == 200:
                    all_answered.set()
                await all_answered.wait()

        async with trio.open_nursery() as nursery:
            for number in range(200):
                await nursery.start(ask, number)
            assert world.endpoint.statistics().peers == 200
            for record in await world.asked(200):
                world.pi.says(
                    SETTLED, {"type": "response", "command": "get_state", "id": record["id"], "success": True}
                )
        await until(lambda: world.endpoint.statistics().peers == 0)

    served(test)


def test_a_peer_that_does_not_answer_pings_is_dropped() -> None:
    async def test(world: World) -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", world.port)
        async with stream:
            await stream.send_all(
                f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{world.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                f"Authorization: Bearer {world.endpoints.token}\r\n\r\n".encode()
            )
            answer = b"".join([data async for data in stream])
        assert b" 101 " in answer
        assert b"\x89" in answer  # it was pinged
        assert world.endpoint.statistics().peers == 0

    served(test, EndpointConfig(ping_period=0.05, ping_timeout=0.1, close_timeout=0.1))


def test_a_peer_that_answers_pings_stays() -> None:
    async def test(world: World) -> None:
        async with world.connect() as peer:
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    await peer.socket.ping()
                await trio.sleep(0.3)  # several periods: what is shown is that nothing happens
                nursery.cancel_scope.cancel()
            assert world.endpoint.statistics().peers == 1

    served(test, EndpointConfig(ping_period=0.05, ping_timeout=5.0))


def test_requests_under_way_are_given_up_with_their_peer() -> None:
    async def test(world: World) -> None:
        async with world.connect() as peer:
            await peer.send({"id": 1, "type": "get_state"})
            await world.asked(1)
        await until(lambda: world.endpoint.statistics().peers == 0)
        assert "0 pending" in repr(world.client)
        world.pi.answers("get_state", STATE)  # and nobody minds

    served(test)


def test_the_instance_is_stopped() -> None:
    async def test(world: World) -> None:
        async with world.connect() as peer:
            await peer.send({"id": 1, "type": "get_state"})
            await world.asked(1)
            world.stop()
            answer = await peer.receive()
            assert (answer["id"], answer["success"], answer["error"]) == (1, False, "pi-1 was stopped")
            assert await peer.closed() == (CloseCode.GOING_AWAY, "pi-1 was stopped")
        with pytest.raises(OSError, match=r"refused|connect"):
            await trio.open_tcp_stream("127.0.0.1", world.port)

    served(test)


def test_the_instance_fails() -> None:
    async def test(world: World) -> None:
        async with world.connect() as peer:
            world.client.close(gone, quietly=False)
            code, reason = await peer.closed()
            assert code == CloseCode.INSTANCE_FAILED
            assert reason is not None
            assert "exited with code 3" in reason

    served(test)


def test_requests_wait_for_the_next_process_and_keep_their_order() -> None:
    async def test(world: World) -> None:
        async with world.connect() as peer:
            await peer.send({"id": 0, "type": "get_state"})
            await world.asked(1)
            world.client.detach(gone)
            answer = await peer.receive()
            assert (answer["id"], answer["success"], answer["lost"]) == (0, False, True)
            assert "exited with code 3" in answer["error"]
            for number in range(1, 6):
                await peer.send({"id": number, "type": "get_state"})
            await trio.testing.wait_all_tasks_blocked(0.02)
            next_pi = MemoryTransport()
            world.client.attach(next_pi)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.client.serve, next_pi)
                world.client.open()
                await until(lambda: len(next_pi.sent) == 5)
                for record in next_pi.sent:
                    next_pi.says({"type": "response", "command": "get_state", "id": record["id"], "success": True})
                assert [(await peer.receive())["id"] for _ in range(5)] == [1, 2, 3, 4, 5]
                nursery.cancel_scope.cancel()

    served(test)


def test_whoever_follows_a_run_is_told_of_its_end_when_pi_goes() -> None:
    async def test(world: World) -> None:
        async with world.connect() as peer, world.connect(scope=Scope.OBSERVE) as watching:
            world.client.detach(gone)  # with no run going on
            world.client.attach(world.pi)
            world.client.open()
            await peer.send({"id": 1, "type": "prompt", "message": "hi"})
            await world.asked(1)
            world.pi.answers("prompt", {"disposition": "started"})  # and went before it began
            assert (await peer.receive())["id"] == 1
            world.client.detach(gone)
            told = {"type": "agent_settled", "aborted": True, "error": str(gone())}
            assert await peer.receive() == told
            assert await watching.receive() == told
            world.client.attach(world.pi)
            world.client.open()
            world.pi.says({"type": "agent_start"}, {"type": "agent_settled"}, {"type": "agent_start"})
            assert [(await watching.receive())["type"] for _ in range(3)][-1] == "agent_start"
            world.client.detach(gone)
            assert await watching.receive() == told
            world.client.detach(gone)
            world.stop()
            assert await watching.closed() == (CloseCode.GOING_AWAY, "pi-1 was stopped")

    served(test)


def test_nobody_is_let_in_before_pi_is_ready() -> None:
    async def main() -> None:
        async with open_world(ready=False) as world:
            connected = trio.Event()

            async def come() -> None:
                async with world.connect():
                    connected.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(come)
                with trio.move_on_after(0.1):  # what is shown is that nothing happens
                    await connected.wait()
                assert not connected.is_set()
                world.client.open()
                await connected.wait()

    run(main)


def test_the_endpoint_costs_the_host_none_of_its_events() -> None:
    async def test(world: World) -> None:
        with world.client.subscribe(when_full=WhenFull.WAIT) as events:
            async with world.connect() as peer:
                world.pi.says(delta("a"))
                assert (await peer.receive())["type"] == "message_update"
                records = events.records()
                assert (await anext(records)) == delta("a")

    served(test)


# --- dialogs -----------------------------------------------------------------------------------------------


def question(id: str = "d1") -> dict[str, Any]:
    return {"type": "extension_ui_request", "id": id, "method": "confirm", "title": "Really?"}


async def answered(world: World, count: int = 1) -> list[dict[str, Any]]:
    def answers() -> list[dict[str, Any]]:
        return [record for record in world.pi.sent if record["type"] == "extension_ui_response"]

    await until(lambda: len(answers()) >= count)
    return answers()


def test_a_dialog_is_put_to_whose_run_it_is() -> None:
    async def test(world: World) -> None:
        async with world.connect() as one, world.connect() as other:
            await one.send({"id": 1, "type": "prompt", "message": "go"})
            await world.asked(1)
            world.pi.answers("prompt")
            assert (await one.receive())["success"] is True
            world.pi.says({"type": "agent_start"}, question())
            assert [(await one.receive())["type"] for _ in range(2)] == ["agent_start", "extension_ui_request"]
            assert (await other.receive())["type"] == "agent_start"
            # An answer of somebody who was not asked does not count.
            await other.send({"type": "extension_ui_response", "id": "d1", "confirmed": False})
            await other.send({"id": 9, "type": "get_state"})
            await world.asked(2)
            await one.send({"type": "extension_ui_response", "id": "d1", "confirmed": True})
            assert await answered(world) == [{"type": "extension_ui_response", "id": "d1", "confirmed": True}]
            # Behind the run's end it is everybody's again.
            world.pi.says(SETTLED, question("d2"))
            assert [(await other.receive())["type"] for _ in range(2)] == ["agent_settled", "extension_ui_request"]

    served(test)


def test_a_prompt_that_began_no_run_makes_nobody_its_owner() -> None:
    # A slash command on Pi 0.87, which does not say in its answer whether a run starts.
    async def test(world: World) -> None:
        async with world.connect() as one, world.connect() as other:
            await one.send({"id": 1, "type": "prompt", "message": "/command"})
            await world.asked(1)
            world.pi.answers("prompt")
            assert (await one.receive())["success"] is True
            world.pi.says(question())
            assert (await other.receive())["id"] == (await one.receive())["id"] == "d1"
            # The next run is of whoever prompts next.
            await other.send({"id": 2, "type": "prompt", "message": "go"})
            await world.asked(2)
            world.pi.says({"type": "agent_start"})
            world.pi.answers("prompt")
            assert [(await other.receive())["type"] for _ in range(2)] == ["agent_start", "response"]
            world.pi.says(question("d2"), {"type": "turn_start"})
            assert {(await other.receive())["type"] for _ in range(2)} == {"turn_start", "extension_ui_request"}
            assert [(await one.receive())["type"] for _ in range(2)] == ["agent_start", "turn_start"]

    served(test)


def test_no_end_is_told_of_a_run_that_never_began() -> None:
    async def test(world: World) -> None:
        async with world.connect() as one, world.connect() as other:
            await one.send({"id": 1, "type": "prompt", "message": "/command"})
            await world.asked(1)
            world.pi.answers("prompt")
            assert (await one.receive())["success"] is True
            world.client.detach(gone)
            assert (await one.receive())["type"] == "agent_settled"  # it alone may have followed one
            world.client.attach(world.pi)
            world.client.open()
            world.pi.says({"type": "turn_start"})
            assert (await other.receive())["type"] == "turn_start"

    served(test)


def test_a_report_on_branches_is_shown_to_whoever_prompted_and_asked_of_nobody() -> None:
    async def handler(dialog: Dialog) -> DialogAnswer | None:
        raise AssertionError(f"nobody is to be asked: {dialog}")

    async def test(world: World) -> None:
        world.client.dialog_handler = handler
        report = {**question("b"), "method": "input", "title": "pi-trio-branch", "placeholder": "{}"}
        async with world.connect() as one, world.connect() as other:
            await one.send({"id": 1, "type": "prompt", "message": "/pi-trio-branch {}"})
            await world.asked(1)
            world.pi.says(report)
            assert await one.receive() == report
            assert await answered(world) == [{"type": "extension_ui_response", "id": "b", "value": ""}]
            world.pi.says({"type": "turn_start"})
            assert (await other.receive())["type"] == "turn_start"

    served(test)


def test_a_dialog_that_is_nobodys_is_put_to_all_who_may_answer_and_the_first_counts() -> None:
    async def test(world: World) -> None:
        async with world.connect() as one, world.connect() as other, world.connect(scope=Scope.OBSERVE) as observer:
            world.pi.says(question())
            assert (await one.receive())["id"] == "d1"
            assert (await other.receive())["id"] == "d1"
            await observer.send({"type": "extension_ui_response", "id": "d1", "confirmed": True})
            await other.send({"type": "extension_ui_response", "id": "d1", "cancelled": True})
            assert await answered(world) == [{"type": "extension_ui_response", "id": "d1", "cancelled": True}]
            await one.send({"type": "extension_ui_response", "id": "d1", "confirmed": True})
            world.pi.says({"type": "agent_start"})
            assert (await observer.receive())["type"] == "agent_start"  # it never saw the dialog
            assert len(await answered(world)) == 1

    served(test)


def test_when_whom_it_concerned_leaves_the_others_are_asked_and_with_nobody_left_it_is_dismissed() -> None:
    async def test(world: World) -> None:
        async with world.connect() as other:
            async with world.connect() as owner:
                await owner.send({"id": 1, "type": "prompt", "message": "go"})
                await world.asked(1)
                world.pi.says(question())  # before Pi has taken the prompt
                assert (await owner.receive())["id"] == "d1"
            assert (await other.receive())["id"] == "d1"
        assert await answered(world) == [{"type": "extension_ui_response", "id": "d1", "cancelled": True}]
        world.pi.says(question("d2"))
        assert (await answered(world, 2))[1] == {"type": "extension_ui_response", "id": "d2", "cancelled": True}

    served(test)


def test_the_hosts_own_handler_comes_first() -> None:
    async def handler(dialog: Dialog) -> DialogAnswer | None:
        assert isinstance(dialog, Confirm)
        answers: dict[str, DialogAnswer] = {"d1": True, "d2": DISMISSED}
        return answers.get(dialog.id)

    async def test(world: World) -> None:
        world.client.dialog_handler = handler
        async with world.connect() as peer:
            world.pi.says(question("d1"), question("d2"), question("d3"))
            assert (await peer.receive())["id"] == "d3"
            await peer.send({"type": "extension_ui_response", "id": "d3", "confirmed": False})
            by_id = {record["id"]: record for record in await answered(world, 3)}
            assert by_id["d1"]["confirmed"] is True
            assert by_id["d2"]["cancelled"] is True
            assert by_id["d3"]["confirmed"] is False

    served(test)


def test_what_is_only_shown_goes_to_all() -> None:
    async def test(world: World) -> None:
        async with world.connect(scope=Scope.OBSERVE) as peer:
            world.pi.says({"type": "extension_ui_request", "id": "n", "method": "notify", "message": "done"})
            assert (await peer.receive())["message"] == "done"

    served(test)


def test_after_another_session_the_client_knows_which() -> None:
    async def test(world: World) -> None:
        async with world.connect() as peer:
            await peer.send({"id": 1, "type": "new_session"})
            await world.asked(1)
            world.pi.answers("new_session", {"cancelled": False})
            await world.asked(2)
            world.pi.answers("get_state", {**STATE, "sessionId": "another"})
            assert (await peer.receive())["command"] == "new_session"
            await until(lambda: world.client.session_id == "another")

    served(test)


def test_a_peer_that_names_no_subprotocol_is_told_by_its_first_message() -> None:
    async def test(world: World) -> None:
        async with connect(world.endpoint.url, world.endpoints.token, subprotocols=()) as records:
            world.pi.says({"type": "agent_start"})
            await records.send({"id": 1, "type": "get_state"})
            assert (await records.receive())["type"] == "agent_start"  # nothing was lost meanwhile
        async with connect(world.endpoint.url, world.endpoints.token, subprotocols=()) as dialect:
            await dialect.send({"id": 1, "method": "no.such", "params": {}})
            assert (await dialect.receive())["error"]["code"] == "method_not_found"
        async with connect(world.endpoint.url, world.endpoints.token, subprotocols=("pi-session.v1",)) as dialect:
            assert dialect.socket.subprotocol == "pi-session.v1"
            await dialect.socket.send_message("{")
            answer = await dialect.receive()
            assert (answer["id"], answer["error"]["code"]) == (None, "parse_error")
        async with connect(world.endpoint.url, world.endpoints.token, subprotocols=()) as listener:
            world.pi.says({"type": "agent_start"})
            assert (await listener.receive())["type"] == "agent_start"

    served(test)


def test_a_closed_client_is_refused_at_once() -> None:
    async def test(world: World) -> None:
        async with world.connect() as peer:
            world.client.refuse(lambda: ConnectionClosed("pi-1 is being stopped"))
            await peer.send({"id": 1, "type": "get_state"})
            assert (await peer.receive())["error"] == "pi-1 is being stopped"

    served(test)


def test_a_first_message_that_comes_late_tells_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pi_trio.endpoint.conversation._PATIENCE", 0.0)
    dialog = {"type": "extension_ui_request", "id": "d", "method": "input", "title": "Name?"}

    async def test(world: World) -> None:
        async with connect(world.endpoint.url, world.endpoints.token, subprotocols=()) as dialect:
            world.pi.says({"type": "agent_start"})
            assert (await dialect.receive())["type"] == "agent_start"  # taken for one that listens only
            world.pi.says(dialog)
            assert (await dialect.receive())["title"] == "Name?"
            await dialect.send({"id": 1, "method": "no.such", "params": {}})
            assert (await dialect.receive())["error"]["code"] == "method_not_found"
            await world.asked(1)  # it would never answer that, and nobody else is there
            assert (world.pi.sent[0]["id"], world.pi.sent[0]["cancelled"]) == ("d", True)
            world.pi.says({"type": "turn_start"}, {"type": "agent_settled"})
            told = await dialect.receive()
            assert (told["event"], told["data"]["state"]) == ("session.state_changed", "idle")
        async with connect(world.endpoint.url, world.endpoints.token, subprotocols=()) as records:
            world.pi.says({"type": "turn_start"})
            assert (await records.receive())["type"] == "turn_start"
            await records.send({"id": 1, "type": "get_state"})
            await world.asked(2)
            world.pi.answers("get_state", STATE)
            assert (await records.receive())["command"] == "get_state"
            world.pi.says({"type": "turn_end"})
            assert (await records.receive())["type"] == "turn_end"

    served(test)


def test_a_first_message_tells_however_much_was_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pi_trio.endpoint.conversation._MOST_HELD", 0)
    monkeypatch.setattr("pi_trio.endpoint.conversation._PATIENCE", 3600.0)

    async def test(world: World) -> None:
        async with connect(world.endpoint.url, world.endpoints.token, subprotocols=()) as dialect:
            world.pi.says({"type": "agent_start"})
            assert (await dialect.receive())["type"] == "agent_start"  # no sooner than it is shown
            await dialect.send({"id": 1, "method": "no.such", "params": {}})
            assert (await dialect.receive())["error"]["code"] == "method_not_found"

    served(test)


def test_a_client_that_was_away_is_told_how_many_events_it_missed() -> None:
    async def test(world: World) -> None:
        options = RemoteOptions(reconnect=ReconnectPolicy(backoff=Backoff(base=0.01)))

        async def answer_greeting(count: int) -> None:
            await until(lambda: [record["type"] for record in world.pi.sent].count("get_state") == count)
            world.pi.answers("get_state", STATE)

        async with trio.open_nursery() as nursery:
            world.pi.says(delta("before anybody came"))
            nursery.start_soon(answer_greeting, 1)
            async with open_client(world.endpoint.url, token=world.endpoints.token, options=options) as client:
                with client.subscribe() as events:
                    records = events.records()
                    for count, missed in enumerate((0, 3, 2, None), 2):
                        world.pi.says(delta("heard"), question(), {"type": "turn_start"})
                        heard = [await anext(records) for _ in range(3)]
                        assert [record["type"] for record in heard if isinstance(record, dict)] == [
                            "message_update",
                            "turn_start",
                            "extension_ui_request",  # which was put to this peer, and not to all
                        ]
                        (peer,) = world.endpoint._peers
                        peer.wants_events = False  # what is on its way when a connection drops is not heard
                        shown = world.endpoint._shown
                        if missed is None:  # it comes to another endpoint, which has counted others
                            world.endpoint._count_id = "another"
                        world.pi.says(*[delta("missed")] * (missed or 0))
                        await until(lambda: world.endpoint._shown == shown + (missed or 0))  # noqa: B023
                        peer._scope.cancel()  # cut off, without a word
                        await answer_greeting(count)
                        marker = await anext(records)
                        assert isinstance(marker, Reconnected)
                        assert marker.missed == missed
            nursery.cancel_scope.cancel()

    served(test)
