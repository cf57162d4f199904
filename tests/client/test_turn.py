"""Runs, and what a prompt would be lost in: another session, a compaction, a move between branches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from pi_trio import PiClient, RunBusy, tool
from pi_trio.client.turn import Turn as Waiting
from pi_trio.launch import PiInstall
from pi_trio.testing import ModelRequest, ToolUse, Turn
from tests.support import run, scripted

LONG = "words " * 3000
COMPACTING = {"compaction": {"enabled": True, "reserveTokens": 1000, "keepRecentTokens": 2000}}


def answers(request: ModelRequest) -> Turn:
    """Long answers to what begins with "fill", slow ones to what asks for a summary, else what was heard."""
    prompt = request.prompt
    if prompt.startswith("fill"):
        return Turn(LONG, input_tokens=6000)
    if prompt.startswith("say"):
        return Turn(f"heard {prompt}")
    return Turn(["w "] * 50, chunk_delay=0.01)


@asynccontextmanager
async def filled(pi: PiInstall, tmp_path: Path) -> AsyncIterator[PiClient]:
    """A Pi whose session has something to be compacted and summarized."""
    async with scripted(pi, tmp_path, answers) as world:
        world.model.configure(tmp_path / "agent", settings=COMPACTING)
        client = (await world.spawn(branching=True, ephemeral=False)).client
        await client.send("fill one")
        await client.send("fill two")
        yield client


async def first_message(client: PiClient) -> str:
    """The entry of the first prompt."""
    return (await client.get_fork_messages())[0].entry_id


MOVES: dict[str, Callable[[PiClient], Awaitable[object]]] = {
    "new_session": lambda client: client.new_session(),
    "clone": lambda client: client.clone(),
}


@pytest.mark.parametrize("move", MOVES)
def test_a_run_beside_a_move_is_not_lost(pi: PiInstall, tmp_path: Path, move: str) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, answers) as world:
            client = (await world.spawn(ephemeral=False)).client
            await client.send("say it")
            for seconds in (0.0, 0.001, 0.003):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(MOVES[move], client)
                    while not client.turn.waits:
                        await trio.lowlevel.checkpoint()
                    await trio.sleep(seconds)
                    assert (await client.send("say more")).text == "heard say more"

    run(main)


@pytest.mark.parametrize("move", MOVES)
def test_a_move_beside_a_run_ends_it_but_does_not_swallow_it(pi: PiInstall, tmp_path: Path, move: str) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, answers) as world:
            client = (await world.spawn(ephemeral=False)).client
            await client.send("say it")
            for _ in range(3):
                async with trio.open_nursery() as nursery:

                    async def prompt() -> None:
                        reply = await client.send("say more", check=False)
                        assert (reply.text, reply.stop_reason) in (("heard say more", "stop"), ("", "aborted"))
                        assert not reply.handled

                    nursery.start_soon(prompt)
                    await trio.testing.wait_all_tasks_blocked()
                    await MOVES[move](client)

    run(main)


def test_a_run_that_waits_for_its_turn_starts_in_the_other_session(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        slow = Turn(["w "] * 500, chunk_delay=0.01)
        async with scripted(pi, tmp_path, [slow, Turn("heard")]) as world:
            client = (await world.spawn(ephemeral=False)).client
            before = client.session_id
            ends: list[str | None] = []

            async def long() -> None:
                async with client.run("long") as first:
                    await anext(first.text())
                    begun.set()
                    ends.append((await first.result(check=False)).stop_reason)

            async def follow() -> None:
                ends.append((await client.send("next")).text)

            async with trio.open_nursery() as nursery:
                begun = trio.Event()
                nursery.start_soon(long)
                await begun.wait()
                nursery.start_soon(follow)
                await trio.testing.wait_all_tasks_blocked()
                await client.new_session()
            assert ends == ["aborted", "heard"]
            assert client.session_id != before
            told = [type(each).__name__ for each in await client.get_messages()]
            assert told[-2:] == ["UserMessage", "AssistantMessage"]
            assert told.count("UserMessage") == 1

    run(main)


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_a_run_waits_for_a_compaction(pi: PiInstall, tmp_path: Path, seconds: float) -> None:
    async def main() -> None:
        async with filled(pi, tmp_path) as client, trio.open_nursery() as nursery:
            nursery.start_soon(client.compact)
            await trio.sleep(seconds)
            assert (await client.send("say it")).text == "heard say it"

    run(main)


def test_what_was_given_up_is_waited_for(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with filled(pi, tmp_path) as client:
            with trio.move_on_after(0.2) as scope:
                await client.compact()
            assert scope.cancelled_caught
            assert (await client.send("say one")).text == "heard say one"
            with trio.move_on_after(0.002) as scope:
                await client.new_session()
            assert (await client.send("say two")).text == "heard say two"

    run(main)


def test_a_branch_move_that_was_given_up_does_not_move_the_next_run_away(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with filled(pi, tmp_path) as client:
            first = await first_message(client)
            with trio.move_on_after(0.2) as scope:
                await client.branches.create(first, summarize=True)
            assert scope.cancelled_caught
            assert (await client.send("say it")).text == "heard say it"
            (active,) = [branch for branch in await client.branches.list() if branch.active]
            told = [entry for entry in active.entries if "heard say it" in str(entry)]
            assert told  # the conversation is where the run was
            assert "fill two" not in str(active.entries)  # and that is where the move has gone

    run(main)


def test_send_may_refuse_to_wait(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, [Turn(["w "] * 500, chunk_delay=0.01)]) as world:
            client = (await world.spawn()).client
            async with client.run("long"), trio.open_nursery() as nursery:

                async def refused() -> None:
                    with pytest.raises(RunBusy, match="going on already"):
                        await client.send("more", if_busy="refuse")

                nursery.start_soon(refused)

    run(main)


def test_a_tool_that_would_wait_for_its_own_run_is_told_so(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        later: list[str] = []

        @tool
        async def nested() -> str:
            """Run something in the run."""
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
            return "not reached"

        @tool
        async def afterwards() -> str:
            """Have something run behind the run."""
            outer.start_soon(ask_later)
            await trio.testing.wait_all_tasks_blocked()
            return "will be done"

        async def ask() -> None:
            await client.send("inner")

        async def ask_later() -> None:
            later.append((await client.send("say later")).text)

        def script(request: ModelRequest) -> Turn:
            if request.tool_result is not None:
                return Turn(f"told {request.tool_result}")
            return (
                Turn(tools=[ToolUse(request.prompt)])
                if request.prompt in ("nested", "afterwards")
                else answers(request)
            )

        async with scripted(pi, tmp_path, script) as world, trio.open_nursery() as outer:
            client = (await world.spawn(python_tools=(nested, afterwards))).client
            assert "RunBusy: the run that is going on waits for this tool call" in (await client.send("nested")).text
            assert (await client.send("afterwards")).text == "told will be done"
        assert later == ["heard say later"]

    run(main)


def test_who_is_aborted_by_somebody_else_has_not_failed(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        @tool
        async def stop() -> None:
            """Stop it all."""
            await client.abort()

        async with scripted(pi, tmp_path, [Turn(tools=[ToolUse("stop")]), Turn("more")]) as world:
            client = (await world.spawn(python_tools=(stop,))).client
            reply = await client.send("go")  # it would raise RunFailed
            assert reply.stop_reason == "aborted"

    run(main)


def test_nothing_is_waited_for_that_is_over() -> None:
    async def main() -> None:
        turn = Waiting()
        turn.began("a")
        turn.began("b")
        entered: list[str] = []

        async def enter() -> None:
            async with turn.take():
                entered.append("in")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(enter)
            for each in ("a", "x", None):
                turn.over(each)
                await trio.testing.wait_all_tasks_blocked()
                assert not entered
            turn.over("b")
        assert entered
        turn.began("c")
        turn.clear()  # that Pi is gone, and answers no more
        async with turn.take():
            pass

    trio.run(main)


def test_no_prompt_comes_between_the_look_and_the_move() -> None:
    async def main() -> None:
        turn = Waiting()
        steps: list[str] = []

        async def move() -> None:
            await turn.let_arrive()
            steps.append("moves" if turn._prompted.is_set() else "moves into a prompt")

        async def prompt() -> None:
            with turn.prompting():
                await trio.testing.wait_all_tasks_blocked()

        for _ in range(20):  # whoever is first
            async with trio.open_nursery() as nursery:
                nursery.start_soon(move)
                nursery.start_soon(prompt)
        assert set(steps) == {"moves"}

    trio.run(main)
