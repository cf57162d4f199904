"""Every kind of request at the end of Pi, at its time-out and when cancelled: one outcome, and nothing left over."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from pi_trio import (
    CommandFailed,
    ConnectionClosed,
    Instance,
    InvalidResponse,
    PiClient,
    ProcessExited,
    RequestTimeout,
)
from pi_trio.launch import PiInstall
from pi_trio.testing import Turn
from tests.client.memory import STATE, MemoryTransport, blocked, connected, gone
from tests.support import run, scripted

Ask = Callable[[PiClient], Awaitable[Any]]

COMMANDS: dict[str, Ask] = {
    "abort": lambda client: client.abort(),
    "abort_bash": lambda client: client.abort_bash(),
    "abort_retry": lambda client: client.abort_retry(),
    "bash": lambda client: client.bash("true"),
    "clear_queue": lambda client: client.clear_queue(),
    "clone": lambda client: client.clone(),
    "compact": lambda client: client.compact("briefly"),
    "cycle_model": lambda client: client.cycle_model(),
    "cycle_thinking_level": lambda client: client.cycle_thinking_level(),
    "export_html": lambda client: client.export_html("x.html"),
    "follow_up": lambda client: client.follow_up("then"),
    "fork": lambda client: client.fork("e1"),
    "get_available_models": lambda client: client.get_available_models(),
    "get_available_thinking_levels": lambda client: client.get_available_thinking_levels(),
    "get_commands": lambda client: client.get_commands(),
    "get_entries": lambda client: client.get_entries(since="e1"),
    "get_fork_messages": lambda client: client.get_fork_messages(),
    "get_last_assistant_text": lambda client: client.get_last_assistant_text(),
    "get_messages": lambda client: client.get_messages(),
    "get_session_stats": lambda client: client.get_session_stats(),
    "get_state": lambda client: client.get_state(),
    "get_tree": lambda client: client.get_tree(),
    "new_session": lambda client: client.new_session(parent_session="x"),
    "prompt": lambda client: client.prompt("hi"),
    "set_auto_compaction": lambda client: client.set_auto_compaction(True),
    "set_auto_retry": lambda client: client.set_auto_retry(True),
    "set_follow_up_mode": lambda client: client.set_follow_up_mode("all"),
    "set_model": lambda client: client.set_model("p", "m"),
    "set_session_name": lambda client: client.set_session_name("name"),
    "set_steering_mode": lambda client: client.set_steering_mode("all"),
    "set_thinking_level": lambda client: client.set_thinking_level("off"),
    "steer": lambda client: client.steer("left"),
    "switch_session": lambda client: client.switch_session(Path("x.jsonl")),
}

SENT_AS = {"get_tree": "get_entries"}
NO_DATA = {
    "abort",
    "abort_bash",
    "abort_retry",
    "follow_up",
    "prompt",
    "steer",
    *(name for name in COMMANDS if name.startswith("set_") and name != "set_model"),
}
MADE_OF_OTHERS: dict[str, Ask] = {
    "heartbeat": lambda client: client.heartbeat(),
    "send": lambda client: client.send("hi"),
    "status": lambda client: client.status(),
    "switch_provider": lambda client: client.switch_provider("p"),
    "branches.create": lambda client: client.branches.create("e1"),
    "branches.list": lambda client: client.branches.list(),
    "branches.rename": lambda client: client.branches.rename("name"),
    "branches.switch": lambda client: client.branches.switch("e1"),
}
# Compactions, shell commands and runs take as long as they take.
WITHOUT_TIME_OUT = {"bash", "compact", "send"}

every_command = pytest.mark.parametrize("command", COMMANDS)
everything = pytest.mark.parametrize("name", [*COMMANDS, *MADE_OF_OTHERS])


def test_the_table_has_every_command_there_is() -> None:
    requests = {name for name, each in inspect.getmembers(PiClient, inspect.iscoroutinefunction) if name[0] != "_"}
    others = {"probe", "request", "serve", "wait_connected", "wait_ready"}
    assert requests == set(COMMANDS) | {name for name in MADE_OF_OTHERS if "." not in name} | others


def ask(name: str, client: PiClient) -> Awaitable[Any]:
    return (COMMANDS.get(name) or MADE_OF_OTHERS[name])(client)


@everything
def test_pi_ends(name: str) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async with trio.open_nursery() as nursery:

            async def fails() -> None:
                with pytest.raises(ProcessExited) as caught:
                    await ask(name, client)
                assert caught.value.stderr_tail == b"oh\n"

            nursery.start_soon(fails)
            await blocked()
            client.close(gone, quietly=True)
        assert "0 pending" in repr(client)

    connected(test)


@everything
def test_pi_has_ended(name: str) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        client.close(lambda: ConnectionClosed("pi-1 was stopped"), quietly=True)
        with pytest.raises(ConnectionClosed, match="was stopped"):
            await ask(name, client)
        assert transport.sent == []

    connected(test)


@everything
def test_no_answer_in_time(name: str) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        started = trio.current_time()
        if name in WITHOUT_TIME_OUT:
            with trio.move_on_after(1000) as scope:
                await ask(name, client)
            assert scope.cancelled_caught
        else:
            with pytest.raises(RequestTimeout):
                await ask(name, client)
            assert trio.current_time() - started == (10 if name == "heartbeat" else 30)
        assert "0 pending" in repr(client)

    connected(test)


@everything
def test_the_caller_gives_up(name: str) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        with trio.move_on_after(1) as scope:
            await ask(name, client)
        assert scope.cancelled_caught
        assert "0 pending" in repr(client)
        first = transport.sent[0]
        transport.says({"type": "response", "id": first["id"], "command": first["type"], "success": True})  # too late
        await blocked()
        assert not client.turn.taken

    connected(test)


@every_command
def test_pi_refuses(command: str) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async with trio.open_nursery() as nursery:

            async def fails() -> None:
                with pytest.raises(CommandFailed, match="no, thank you") as caught:
                    await COMMANDS[command](client)
                assert caught.value.command == SENT_AS.get(command, command)

            nursery.start_soon(fails)
            await blocked()
            transport.answers(SENT_AS.get(command, command), success=False, error="no, thank you")

    connected(test)


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - NO_DATA))
@pytest.mark.parametrize("data", [[], "text", {"cancelled": "no", "models": None, "text": 5, "messages": [5]}])
def test_pi_answers_what_it_does_not_document(command: str, data: Any) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async with trio.open_nursery() as nursery:

            async def fails() -> None:
                with pytest.raises(InvalidResponse) as caught:
                    await COMMANDS[command](client)
                assert caught.value.command == SENT_AS.get(command, command)

            nursery.start_soon(fails)
            await blocked()
            transport.answers(SENT_AS.get(command, command), data)

    connected(test)


def test_a_heartbeat() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        beats: list[float] = []
        async with trio.open_nursery() as nursery:

            async def beat() -> None:
                await client.heartbeat(period=20, timeout=5, on_beat=beats.append)

            nursery.start_soon(beat)
            for latency in (0, 2):
                await blocked()
                await trio.sleep(latency)
                transport.answers("get_state", STATE)
                await blocked()
                await trio.sleep(20)
            assert beats == [0, 2]
            # It died in the middle of a beat, and another takes its place.
            await blocked()
            client.detach(gone)
            second = MemoryTransport()
            client.attach(second)
            nursery.start_soon(client.serve, second)
            client.open()
            await blocked()
            second.answers("get_state", STATE)
            await blocked()
            assert beats == [0, 2, 0]
            nursery.cancel_scope.cancel()

    connected(test)


# --- on the real Pi ----------------------------------------------------------------------------------

SLOW = Turn(text=[f"word{n} " for n in range(100_000)], chunk_delay=0.005)


async def leave_with_a_summary(pi: Instance) -> None:
    await pi.client.branches.create((await pi.client.get_fork_messages())[0].entry_id, summarize=True)


# What the real Pi takes its time for.
TAKES_LONG: dict[str, Callable[[Instance], Awaitable[Any]]] = {
    "bash": lambda pi: pi.client.bash("sleep 1000"),
    "compact": lambda pi: pi.client.compact(),
    "send": lambda pi: pi.client.send("slow"),
    "branches.create": leave_with_a_summary,
}
takes_long = pytest.mark.parametrize("name", TAKES_LONG)


@takes_long
def test_the_real_pi_is_killed(one_pi: PiInstall, tmp_path: Path, name: str) -> None:
    async def main() -> None:
        asked = trio.Event()

        async def script(request: Any) -> Turn:
            if request.prompt in ("one", "two"):
                return Turn("words " * 4000, input_tokens=6000)
            asked.set()
            return SLOW

        async with scripted(one_pi, tmp_path, script) as world:
            settings = {"compaction": {"enabled": True, "reserveTokens": 1000, "keepRecentTokens": 2000}}
            world.model.configure(tmp_path / "agent", settings=settings)
            pi = await world.spawn(branching=True)
            await pi.client.send("one")
            await pi.client.send("two")
            async with trio.open_nursery() as nursery:

                async def fails() -> None:
                    with pytest.raises(ConnectionClosed):
                        await TAKES_LONG[name](pi)

                nursery.start_soon(fails)
                if name == "bash":
                    await pi.client.get_state()
                else:
                    await asked.wait()
                await world.runtime.kill(pi.id, force=True)

    run(main)


@takes_long
def test_the_real_pi_goes_on_when_it_was_given_up(pi: PiInstall, tmp_path: Path, name: str) -> None:
    async def main() -> None:
        asked = trio.Event()

        async def script(request: Any) -> Turn:
            if request.prompt in ("one", "two", "three"):
                return Turn("words " * 4000, input_tokens=6000)
            asked.set()
            return SLOW

        async with scripted(pi, tmp_path, script) as world:
            settings = {"compaction": {"enabled": True, "reserveTokens": 1000, "keepRecentTokens": 2000}}
            world.model.configure(tmp_path / "agent", settings=settings)
            instance = await world.spawn(branching=True)
            await instance.client.send("one")
            await instance.client.send("two")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(TAKES_LONG[name], instance)
                if name == "bash":
                    await instance.client.get_state()
                else:
                    await asked.wait()
                nursery.cancel_scope.cancel()
            await instance.client.abort()  # what is given up by us, Pi may go on with
            assert (await instance.client.send("three")).ok

    run(main)
