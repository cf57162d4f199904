"""Commands of somebody else, sent on."""

from __future__ import annotations

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


def test_a_pi_that_goes_is_a_failure_and_then_there_is_none() -> None:
    async def test(client: PiClient, pi: MemoryTransport) -> None:
        got: list[Record] = []
        client.forward({"id": 1, "type": "bash", "command": "x"}, got.append)
        client.detach(gone)
        (failure,) = got
        assert (failure["id"], failure["command"], failure["success"]) == (1, "bash", False)
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
