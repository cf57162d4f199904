"""The scripted model, asked directly; that the real Pi understands it is shown everywhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h11
import pytest
import trio

from pi_trio.testing import ModelRequest, ModelServer, ToolUse, Turn, open_model_server
from tests.support import run


async def ask(server: ModelServer, body: bytes, *, path: str = "/v1/chat/completions") -> tuple[int, bytes, bool]:
    """One request: the status, the body, and whether it was whole."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    client = h11.Connection(h11.CLIENT)

    def next_event() -> Any:
        return client.next_event()

    async with stream:
        head = h11.Request(method="POST", target=path, headers=[("host", "x"), ("content-length", str(len(body)))])
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            await stream.send_all(client.send(event) or b"")
        status, data = 0, b""
        while True:
            event = next_event()
            if event is h11.NEED_DATA:
                received = await stream.receive_some()
                try:
                    client.receive_data(received)
                    event = next_event()
                except h11.RemoteProtocolError:
                    return status, data, False
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                data += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, data, True


def chat(*texts: str) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text} for text in texts]}).encode()


def chunks(data: bytes) -> list[dict[str, object]]:
    lines = [line.removeprefix(b"data: ") for line in data.split(b"\n\n") if line]
    assert lines[-1] == b"[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_text_tools_and_usage_are_streamed_piece_by_piece() -> None:
    async def main() -> None:
        turn = Turn("a bc", tools=[ToolUse("bash", {"command": "ls"})], input_tokens=7, output_tokens=3)
        async with open_model_server([turn]) as server:
            status, data, whole = await ask(server, chat("hello"))
            assert (status, whole) == (200, True)
            choices = [chunk["choices"] for chunk in chunks(data)]
            deltas = [choice[0]["delta"] for choice in choices if choice]  # type: ignore[index]
            assert [delta["content"] for delta in deltas if "content" in delta] == ["a", " bc"]
            (call,) = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
            assert call["function"] == {"name": "bash", "arguments": '{"command": "ls"}'}
            assert chunks(data)[-1]["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
            assert server.requests[0].prompt == "hello"

    run(main)


def test_errors_the_end_of_the_script_and_nonsense() -> None:
    async def main() -> None:
        async with open_model_server([Turn("busy", status=429)]) as server:
            status, data, _ = await ask(server, chat("x"))
            assert (status, json.loads(data)["error"]["message"]) == (429, "busy")
            status, data, _ = await ask(server, chat("x"))
            assert status == 400
            assert "1 turns" in json.loads(data)["error"]["message"]
            assert (await ask(server, b"not json"))[0] == 400
            assert (await ask(server, b"[]"))[0] == 400
            assert (await ask(server, chat("x"), path="/elsewhere"))[0] == 404
            assert len(server.requests) == 2

    run(main)


def test_a_cut_off_answer_is_not_whole() -> None:
    async def main() -> None:
        async with open_model_server([Turn("a b c d e f", cut_off=True)]) as server:
            status, data, whole = await ask(server, chat("x"))
            assert (status, whole) == (200, False)
            assert b"[DONE]" not in data

    run(main)


def test_a_script_may_be_an_async_function() -> None:
    async def script(request: ModelRequest) -> Turn:
        await trio.lowlevel.checkpoint()
        return Turn(f"{request.number}: {request.prompt}")

    async def main() -> None:
        async with open_model_server(script) as server:
            for number in range(2):
                _, data, _ = await ask(server, chat("hello"))
                deltas = [chunk["choices"][0]["delta"] for chunk in chunks(data) if chunk["choices"]]  # type: ignore[index]
                assert "".join(delta.get("content", "") for delta in deltas) == f"{number}: hello"

    run(main)


def test_leaving_ends_an_answer_that_is_being_streamed() -> None:
    async def main() -> None:
        endless = Turn(text=["x"] * 1000, chunk_delay=1000)
        async with trio.open_nursery() as nursery:
            outcome: list[tuple[int, bytes, bool]] = []

            async def client() -> None:
                outcome.append(await ask(server, chat("x")))

            async with open_model_server([endless]) as server:
                nursery.start_soon(client)
                while not server.requests:
                    await trio.sleep(0.001)
        assert [whole for _, _, whole in outcome] == [False]

    run(main)


def test_a_users_own_configuration_is_never_overwritten(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_model_server([]) as server:
            server.configure(tmp_path / "ours")
            server.configure(tmp_path / "ours", provider="anthropic", models=["claude"])
            known = json.loads((tmp_path / "ours" / "models.json").read_text())["providers"]
            assert sorted(known) == ["anthropic", "scripted"]
            theirs = tmp_path / "theirs"
            theirs.mkdir()
            (theirs / "models.json").write_text('{"providers": {}}')
            with pytest.raises(FileExistsError, match="not ours"):
                server.configure(theirs)
            assert (theirs / "models.json").read_text() == '{"providers": {}}'

    run(main)


def test_it_says_how_many_of_a_model_were_answered_at_once() -> None:
    async def main() -> None:
        both = trio.Event()

        async def together(request: ModelRequest) -> Turn:
            if request.prompt == "alone":
                return Turn("yes")
            if request.number == 1:
                both.set()
            await both.wait()
            return Turn("yes")

        async with open_model_server(together) as server, trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(ask, server, chat("together"))
            await both.wait()
            await ask(server, chat("alone").replace(b'"m"', b'"other"'))
        assert server.most_at_once == {"m": 2, "other": 1}

    run(main)
