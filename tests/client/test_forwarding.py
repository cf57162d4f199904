"""Commands of somebody else, sent on."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from pi_trio import ConnectionClosed, PiClient, RequestTimeout
from pi_trio.protocol import Record
from tests.client.memory import STATE, MemoryTransport, blocked, connected, delta, gone


def test_the_answer_has_the_id_the_command_came_with() -> None:
    async def test(client: PiClient, pi: MemoryTransport) -> None:
        got: list[Record] = []
        for id_ in ({"id": "mine"}, {"id": 7}, {"id": None}, {}):
            client.forward({**id_, "type": "get_state", "extra": 1}, got.append)
        await blocked()
        assert len({record["id"] for record in pi.sent}) == 4
        assert all(record["extra"] == 1 for record in pi.sent)
        for record in pi.sent:
            pi.says({"type": "response", "command": "get_state", "id": record["id"], "success": True})
        await blocked()
        assert [record.get("id", "none") for record in got] == ["mine", 7, None, "none"]
        assert "pending" in repr(client)

    connected(test)


def test_it_is_delivered_between_the_events_where_it_came() -> None:
    async def test(client: PiClient, pi: MemoryTransport) -> None:
        before: list[int] = []
        with client.listen() as events:
            client.forward({"id": 1, "type": "get_state"}, lambda _: before.append(len(events.receive_batch_nowait())))
            await blocked()
            answer = {"type": "response", "command": "get_state", "id": pi.sent[0]["id"], "success": True}
            pi.says(delta("a"), delta("b"), answer, delta("c"))
            await blocked()
            assert before == [2]
            assert len(events.receive_batch_nowait()) == 1
            assert events.receive_batch_nowait() == []

    connected(test)


def test_an_answer_that_nobody_looks_into_is_passed_on_as_it_is() -> None:
    async def test(client: PiClient, pi: Any) -> None:
        lines: list[bytes] = []
        records: list[Record] = []
        with client.listen() as events:

            def take(line: bytes) -> None:
                lines.append(line)
                assert len(events.receive_batch_nowait()) == 1  # what came before it is there

            for command in ({"id": 'mi"ne', "type": "a"}, {"id": None, "type": "b"}, {"type": "c"}):
                client.forward(command, records.append, deliver_line=take)
            client.forward({"id": 4, "type": "fork"}, records.append, deliver_line=take)  # it moves: we look ourselves
            await blocked()
            ids = [record["id"] for record in pi.sent]
            for number, id_ in enumerate(ids):
                written = b'{"id":"%b","type":"response","command":"x","success":true,"data":[%d, 1e2]}'
                event = b'{"type":"odd"}' if number < 3 else b" "
                pi.says(event, written % (id_.encode(), number))
            await blocked()
        rest = b',"type":"response","command":"x","success":true,"data":'
        assert lines == [
            b'{"id":"mi\\"ne"' + rest + b"[0, 1e2]}",
            b'{"id":null' + rest + b"[1, 1e2]}",
            b"{" + rest[1:] + b"[2, 1e2]}",
        ]
        assert [record["id"] for record in records] == [4]
        assert "1 pending" in repr(client)  # where it is now

    connected(test, over=["memory"])


def test_an_answer_that_is_written_in_another_way_is_found_out_when_it_is_decoded() -> None:
    async def test(client: PiClient, pi: Any) -> None:
        lines: list[bytes] = []
        records: list[Record] = []
        client.forward({"id": 1, "type": "a"}, records.append, deliver_line=lines.append)
        given_up = client.forward({"id": 2, "type": "b"}, records.append, deliver_line=lines.append)
        client.forward({"id": 3, "type": "c"}, records.append, deliver_line=lines.append)
        await blocked()
        first, second, _ = (record["id"] for record in pi.sent)
        given_up.give_up()
        pi.says(b'{"id":"%b","type":"response","success":true}' % second.encode())
        pi.says(b'{"type":"response","success":true,"id":"%b"}' % first.encode())
        await blocked()
        client.detach(gone)
        assert lines == []
        assert [(record["id"], record["success"]) for record in records] == [(1, True), (3, False)]
        assert "0 pending" in repr(client)

    connected(test, over=["memory"])


def test_a_pi_that_goes_is_a_failure_and_then_there_is_none() -> None:
    async def test(client: PiClient, pi: MemoryTransport) -> None:
        got: list[Record] = []
        client.forward({"id": 1, "type": "bash", "command": "x"}, got.append)
        client.detach(gone)
        (failure,) = got
        assert (failure["id"], failure["command"], failure["success"]) == (1, "bash", False)
        assert failure["lost"] is True  # which a refusal is not: it may have been carried out
        assert "exited with code 3" in failure["error"]
        with pytest.raises(trio.WouldBlock):
            client.forward({"id": 2, "type": "get_state"}, got.append)
        with pytest.raises(RequestTimeout):
            await client.wait_ready(timeout=1.0)
        client.close(lambda: ConnectionClosed("over"), quietly=True)
        with pytest.raises(ConnectionClosed, match="over"):
            client.forward({"id": 3, "type": "get_state"}, got.append)
        with pytest.raises(ConnectionClosed, match="over"):
            await client.wait_ready()
        assert len(got) == 1

    connected(test)


def test_what_was_given_up_is_not_delivered() -> None:
    async def test(client: PiClient, pi: MemoryTransport) -> None:
        got: list[Record] = []
        client.forward({"id": 1, "type": "get_state"}, got.append).give_up()
        await blocked()
        pi.answers("get_state", STATE)
        await blocked()
        client.detach(gone)
        assert got == []

    connected(test)


def test_behind_a_switch_of_sessions_the_client_looks_where_it_is() -> None:
    async def test(client: PiClient, pi: MemoryTransport) -> None:
        for command in ("new_session", "switch_session", "fork", "clone"):
            client.forward({"type": command}, lambda _: None)
            await blocked()
            pi.answers(command, {"cancelled": False})
            await blocked()
            assert pi.sent[-1]["type"] == "get_state"
            pi.answers("get_state", {**STATE, "sessionId": f"behind {command}"})
            await blocked()
            assert client.session_id == f"behind {command}"
        client.forward({"type": "fork"}, lambda _: None)
        await blocked()
        pi.answers("fork", success=False, error="no")
        await blocked()
        assert pi.sent[-1]["type"] == "fork"

    connected(test)
