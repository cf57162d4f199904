"""Every kind of request at the end of Pi, at its time-out and when cancelled: one outcome, and nothing left over."""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import orjson
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
    Run,
    RunOver,
    ToolHost,
    tool,
)
from pi_trio.client.branches import Branches
from pi_trio.launch import PiInstall
from pi_trio.testing import Turn
from tests.client.memory import SETTLED, STATE, MemoryTransport, answer, blocked, connected, gone
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
    "branches.tree": lambda client: client.branches.tree(),
}
OF_A_RUN: dict[str, Callable[[Run], Awaitable[Any]]] = {
    "abort": lambda run: run.abort(),
    "follow_up": lambda run: run.follow_up("then"),
    "steer": lambda run: run.steer("left"),
}


@tool
async def there() -> None:
    """Is there from the beginning."""


@tool
async def later() -> None:
    """Comes later."""


async def offer(tools: ToolHost) -> None:
    async with tools.offer(later):
        raise AssertionError("Pi never took it")


OF_THE_TOOLS: dict[str, Callable[[ToolHost], Awaitable[Any]]] = {
    "add": lambda tools: tools.add(later),
    "offer": offer,
    "remove": lambda tools: tools.remove("there"),
}
# Compactions, shell commands and runs take as long as they take.
WITHOUT_TIME_OUT = {"bash", "compact", "send"}

every_command = pytest.mark.parametrize("command", COMMANDS)
everything = pytest.mark.parametrize("name", [*COMMANDS, *MADE_OF_OTHERS])


def waits(member: Any) -> bool:
    return inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(inspect.unwrap(member))


def waiting(cls: type[Any]) -> set[str]:
    """What there is to be awaited, or entered."""
    return {name for name in dir(cls) if name[0] != "_" and callable(each := getattr(cls, name)) and waits(each)}


def test_the_table_has_every_command_there_is() -> None:
    made = {name for name in MADE_OF_OTHERS if "." not in name}
    others = {"probe", "request", "run", "serve", "wait_connected", "wait_ready"}  # a run is what `send` is made of
    assert waiting(PiClient) == set(COMMANDS) | made | others
    assert {f"branches.{name}" for name in waiting(Branches)} == set(MADE_OF_OTHERS) - made
    assert waiting(Run) == set(OF_A_RUN) | {"result"}
    assert waiting(ToolHost) == set(OF_THE_TOOLS) | {"end_calls", "serve"}


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


# --- what is said to a run ----------------------------------------------------------------------------

# An abort is two requests: either may be the one that is not answered.
at_every_request = pytest.mark.parametrize(
    ("name", "command"), [("abort", "clear_queue"), ("abort", "abort"), ("follow_up", "follow_up"), ("steer", "steer")]
)


async def accept(transport: MemoryTransport) -> None:
    await blocked()
    transport.answers("prompt", {"disposition": "started"})


async def until_asked(transport: MemoryTransport, name: str, command: str) -> None:
    await blocked()
    if name == "abort" and command != "clear_queue":
        transport.answers("clear_queue", {"steering": [], "followUp": []})
        await blocked()
    assert transport.sent[-1]["type"] == command


@at_every_request
def test_pi_ends_while_a_run_is_told(name: str, command: str) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async def end() -> None:
            await until_asked(transport, name, command)
            client.close(gone, quietly=True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept, transport)
            async with client.run("hi") as going_on:
                nursery.start_soon(end)
                with pytest.raises(ProcessExited) as caught:
                    await OF_A_RUN[name](going_on)
                assert caught.value.stderr_tail == b"oh\n"
        assert "0 pending" in repr(client)
        assert not client.turn.taken

    connected(test)


@pytest.mark.parametrize("name", OF_A_RUN)
def test_pi_has_ended_before_a_run_is_told(name: str) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept, transport)
            async with client.run("hi") as going_on:
                client.close(lambda: ConnectionClosed("pi-1 was stopped"), quietly=True)
                with pytest.raises(RunOver):
                    await OF_A_RUN[name](going_on)
        assert [record["type"] for record in transport.sent] == ["prompt"]

    connected(test)


@at_every_request
def test_no_answer_to_what_a_run_is_told(name: str, command: str) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept, transport)
            async with client.run("hi") as going_on:
                nursery.start_soon(until_asked, transport, name, command)
                started = trio.current_time()
                with pytest.raises(RequestTimeout) as caught:
                    await OF_A_RUN[name](going_on)
                assert caught.value.command == command
                assert trio.current_time() - started == 30
        assert "0 pending" in repr(client)
        assert not client.turn.taken

    connected(test)


@pytest.mark.parametrize("refused", [True, False])
@at_every_request
def test_what_a_run_is_told_is_refused_or_given_up(name: str, command: str, refused: bool) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async def refuse() -> None:
            await until_asked(transport, name, command)
            if refused:
                transport.answers(command, success=False, error="no, thank you")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept, transport)
            async with client.run("hi") as going_on:
                nursery.start_soon(refuse)
                if refused:
                    with pytest.raises(CommandFailed, match="no, thank you"):
                        await OF_A_RUN[name](going_on)
                else:
                    with trio.move_on_after(1) as scope:
                        await OF_A_RUN[name](going_on)
                    assert scope.cancelled_caught
                    transport.answers(command)  # too late
                # The run does not mind.
                transport.says(answer("done"), SETTLED)
                assert (await going_on.result()).text == "done"
        assert "0 pending" in repr(client)
        assert not client.turn.taken

    connected(test)


# --- what Pi is told of tools --------------------------------------------------------------------------

LEFT = {"add": {"there", "later"}, "offer": {"there"}, "remove": set()}
"""The tools on offer behind each, Pi's answer or not."""

everything_of_the_tools = pytest.mark.parametrize("name", OF_THE_TOOLS)


def asks_for_tools(transport: MemoryTransport, version: int) -> None:
    """Play the extension: it has this list, and wants the next."""
    payload = orjson.dumps({"version": version, "refused": {}, "session": "s"}).decode()
    dialog = {"id": f"d{version}", "method": "input", "title": "pi-trio:tools", "placeholder": payload}
    transport.says({"type": "extension_ui_request", **dialog})


@asynccontextmanager
async def with_tools(client: PiClient, transport: MemoryTransport) -> AsyncIterator[ToolHost]:
    tools = ToolHost("pi-1", [there], max_concurrent=1, request_timeout=30.0)
    client.add_dialog_interceptor(tools.intercept)
    tools.attach(transport)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tools.serve)
        for version in (0, tools._offer.version):
            asks_for_tools(transport, version)
            await blocked()
        assert len(transport.sent) == 1, "it has what there is"
        yield tools
        nursery.cancel_scope.cancel()


def names(tools: ToolHost) -> set[str]:
    return {each.name for each in tools}


@everything_of_the_tools
def test_pi_ends_while_it_is_told_of_tools(name: str) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async with with_tools(client, transport) as tools, trio.open_nursery() as nursery:

            async def fails() -> None:
                with pytest.raises(ConnectionClosed, match="is over"):
                    await OF_THE_TOOLS[name](tools)

            nursery.start_soon(fails)
            await blocked()
            tools.close("is over")
        assert names(tools) == LEFT[name]

    connected(test, over=["memory"])


@everything_of_the_tools
def test_pi_has_ended_before_it_is_told_of_tools(name: str) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async with with_tools(client, transport) as tools:
            sent = len(transport.sent)
            transport.broken = True
            tools.close("is over")
            with pytest.raises(ConnectionClosed, match="is over"):
                await OF_THE_TOOLS[name](tools)
            assert len(transport.sent) == sent

    connected(test, over=["memory"])


@everything_of_the_tools
def test_pi_does_not_take_the_tools_in_time(name: str) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async with with_tools(client, transport) as tools:
            started = trio.current_time()
            with pytest.raises(RequestTimeout):
                await OF_THE_TOOLS[name](tools)
            assert trio.current_time() - started == 30
            assert names(tools) == LEFT[name]

    connected(test, over=["memory"])


@everything_of_the_tools
def test_who_tells_of_tools_gives_up(name: str) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async with with_tools(client, transport) as tools:
            with trio.move_on_after(1) as scope:
                await OF_THE_TOOLS[name](tools)
            assert scope.cancelled_caught
            assert names(tools) == LEFT[name]
            asks_for_tools(transport, tools._offer.version - (name == "offer"))  # too late
            await blocked()
            # And what is asked next is told, and waited for.
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tools.remove, *names(tools))
                await blocked()
                asks_for_tools(transport, tools._offer.version)
            assert names(tools) == set()

    connected(test, over=["memory"])


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


@tool
async def second() -> None:
    """Comes behind all of that."""


def said_to(pi: Instance, going_on: Run) -> dict[str, Callable[[], Awaitable[Any]]]:
    return {
        **{name: partial(say, going_on) for name, say in OF_A_RUN.items()},
        **{f"tools.{name}": partial(say, pi.tools) for name, say in OF_THE_TOOLS.items()},
    }


@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.parametrize("name", [*OF_A_RUN, *(f"tools.{name}" for name in OF_THE_TOOLS)])
def test_a_real_pi_that_stands_still_is_killed_or_goes_on(
    one_pi: PiInstall, tmp_path: Path, name: str, killed: bool
) -> None:
    async def main() -> None:
        asked = trio.Event()

        async def ask(say: Callable[[], Awaitable[Any]]) -> None:
            asked.set()
            if killed:
                with pytest.raises(ConnectionClosed):
                    await say()
            else:
                await say()
                raise AssertionError("it cannot hear that")

        async with scripted(one_pi, tmp_path, [SLOW, Turn("Next.")]) as world:
            pi = await world.spawn(python_tools=[there], health=None)
            assert pi.pid is not None
            async with pi.client.run("slow") as going_on:
                await anext(going_on.text())
                os.kill(pi.pid, signal.SIGSTOP)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask, said_to(pi, going_on)[name])
                    await asked.wait()
                    if killed:
                        await world.runtime.kill(pi.id, force=True)
                    else:
                        nursery.cancel_scope.cancel()
                if not killed:
                    os.kill(pi.pid, signal.SIGCONT)
            if not killed:
                assert (await pi.client.send("next")).text == "Next."
                await pi.tools.add(second)
                assert second in pi.tools

    run(main)
