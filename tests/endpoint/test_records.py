"""Pi's records over WebSocket: several peers, each as if it were alone."""

from __future__ import annotations

from typing import Any

from tests.client.memory import SETTLED, STATE, delta
from tests.endpoint.world import World, served


def test_a_command_is_answered_with_the_id_it_came_with() -> None:
    async def test(world: World) -> None:
        async with world.connect() as peer:
            await peer.send({"id": "mine", "type": "get_state", "unknown": [1, "ü"]})
            (sent,) = await world.asked(1)
            assert sent["id"] != "mine"
            assert sent["unknown"] == [1, "ü"]
            world.pi.answers("get_state", STATE)
            assert await peer.receive() == {
                "type": "response",
                "command": "get_state",
                "id": "mine",
                "success": True,
                "data": STATE,
            }

    served(test)


def test_two_peers_with_the_same_id_each_get_their_own_answer() -> None:
    async def test(world: World) -> None:
        async with world.connect() as one, world.connect() as other:
            await one.send({"id": 1, "type": "get_state"})
            await world.asked(1)
            await other.send({"id": 1, "type": "get_messages"})
            await world.asked(2)
            world.pi.answers("get_messages", {"messages": []})
            world.pi.answers("get_state", STATE)
            first, second = await one.receive(), await other.receive()
            assert (first["id"], first["command"]) == (1, "get_state")
            assert (second["id"], second["command"]) == (1, "get_messages")

    served(test)


def test_events_go_to_all_who_want_them_in_order_with_the_answers() -> None:
    async def test(world: World) -> None:
        async with world.connect() as one, world.connect(resource="/?events=0") as other:
            await one.send({"id": "p", "type": "prompt", "message": "hi"})
            await other.send({"id": "s", "type": "get_state"})
            await world.asked(2)
            world.pi.says({"type": "agent_start"}, delta("a"))
            world.pi.answers("prompt")
            world.pi.says(delta("b"), SETTLED)
            world.pi.answers("get_state", STATE)
            got = [await one.receive() for _ in range(5)]
            assert [record["type"] for record in got] == [
                "agent_start",
                "message_update",
                "response",
                "message_update",
                "agent_settled",
            ]
            assert (await other.receive())["id"] == "s"

    served(test)


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


def test_an_id_that_can_be_read_but_not_be_written_harms_nobody() -> None:
    async def test(world: World) -> None:
        async with world.connect() as peer, world.connect() as other:
            await peer.socket.send_message(f'{{"type":"get_state","id":{"[" * 1000}{"]" * 1000}}}')
            await other.send({"id": 2, "type": "get_state"})
            for request in await world.asked(2):
                world.pi.says(f'{{"id":"{request["id"]}","type":"response","success":true}}'.encode())
            answer = await peer.receive()
            assert "id" not in answer
            assert answer["success"] is False
            assert await other.receive() == {"id": 2, "type": "response", "success": True}

    served(test)


def test_what_is_nested_more_deeply_than_encoders_go_harms_nobody() -> None:
    async def test(world: World) -> None:
        async with world.connect() as peer:
            for depth in (200, 300, 1000, 5000, 100_000):
                await peer.socket.send_message(f'{{"id":{depth},"type":"get_state","x":{nested(depth)}}}')
                if depth > 800:
                    answer = await peer.receive()
                    assert answer["success"] is False
            (first, *_) = await world.asked(1)
            for depth in (300, 1000):
                world.pi.says(f'{{"type":"odd","x":{nested(depth)}}}'.encode())
            answer = (
                f'{{"id":"{first["id"]}","type":"response","command":"get_state","success":true,"data":{nested(500)}}}'
            )
            world.pi.says(answer.encode(), SETTLED)
            told: list[Any] = []
            while "agent_settled" not in [each["type"] for each in told]:
                told.append(await peer.receive())
            assert [each["success"] for each in told if each["type"] == "response"] == [True]

    served(test)
