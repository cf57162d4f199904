"""Branches of one session, on the real Pi in both versions, and over a transport in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from pi_trio import BranchNotFound, ClientError, CommandFailed, PiClient, RunBusy
from pi_trio.launch import PiInstall
from pi_trio.protocol import AssistantMessage, Branch, BranchSummaryEntry, MessageEntry, Record, UserMessage
from pi_trio.testing import ModelRequest, Turn
from tests.client.memory import MemoryTransport, blocked, connected
from tests.support import run, scripted


def echo(request: ModelRequest) -> Turn:
    return Turn(f"heard {request.prompt}")


def said(branch: Branch) -> list[str]:
    return [
        entry.message.text
        for entry in branch.entries
        if isinstance(entry, MessageEntry) and isinstance(entry.message, UserMessage | AssistantMessage)
    ]


async def answer_to(client: PiClient, text: str) -> str:
    """The id of the entry with the answer to this prompt."""
    for entry in (await client.get_entries()).entries:
        message = entry.message if isinstance(entry, MessageEntry) else None
        if isinstance(message, AssistantMessage) and message.text == f"heard {text}":
            return entry.id
    raise AssertionError(text)


def test_a_branch_is_made_and_switched_back_from(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, echo) as world:
            client = (await world.spawn(branching=True)).client
            for prompt in ("one", "two"):
                await client.send(prompt)
            await client.branches.rename("main")
            await client.branches.create(await answer_to(client, "one"), name="other")

            main, other = await client.branches.list()
            assert (main.name, main.active, other.name, other.active) == ("main", False, "other", True)
            assert (said(main), said(other)) == (["one", "heard one", "two", "heard two"], ["one", "heard one"])

            await client.send("three")
            assert "two" not in str(world.model.requests[-1].messages)
            await client.branches.switch("main")
            await client.send("four")
            assert "three" not in str(world.model.requests[-1].messages)
            assert "two" in str(world.model.requests[-1].messages)

            main, other = sorted(await client.branches.list(), key=lambda branch: str(branch.name))
            assert (main.name, main.active) == ("main", True)
            assert said(main) == ["one", "heard one", "two", "heard two", "four", "heard four"]
            assert said(other) == ["one", "heard one", "three", "heard three"]
            await client.branches.switch(other)
            assert [branch.name for branch in await client.branches.list() if branch.active] == ["other"]

    run(main)


def test_a_branch_from_any_entry_and_one_without_a_name(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, echo) as world:
            client = (await world.spawn(branching=True)).client
            await client.send("one")
            first = (await client.get_fork_messages())[0].entry_id
            here = await client.branches.create(first)  # behind a message of the user: before it
            assert here == (await client.get_entries()).leaf_id
            await client.send("one in other words")
            assert "heard one" not in str(world.model.requests[-1].messages)
            for entry in (await client.get_entries()).entries:
                await client.branches.create(entry.id)
            branches = await client.branches.list()
            assert {tuple(said(branch)) for branch in branches} >= {
                ("one", "heard one"),
                ("one in other words", "heard one in other words"),
            }
            assert {branch.name for branch in branches} == {None}

    run(main)


def test_what_is_left_behind_can_be_summarized(pi: PiInstall, tmp_path: Path) -> None:
    def script(request: ModelRequest) -> Turn:
        return echo(request) if request.prompt in ("one", "two") else Turn("What was left behind.")

    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world:
            client = (await world.spawn(branching=True)).client
            await client.send("one")
            await client.send("two")
            await client.branches.create(
                await answer_to(client, "one"), summarize=True, instructions="dwell on numbers"
            )
            entries = (await client.get_entries()).entries
            summaries = [entry.summary for entry in entries if isinstance(entry, BranchSummaryEntry)]
            assert len(summaries) == 1
            assert "What was left behind." in summaries[0]
            assert "dwell on numbers" in str(world.model.requests[-1].messages)

    run(main)


def test_branches_that_are_not_there_or_cannot_be(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        refuses = "export default (pi) => pi.on('session_before_tree', async () => ({ cancel: true }));"
        async with scripted(pi, tmp_path, echo) as world:
            client = (await world.spawn(branching=True, extra_args=world.extension("refuses", refuses))).client
            await client.send("one")
            await client.branches.create(name="here")
            with pytest.raises(ValueError, match="'here' already"):
                await client.branches.create(name="here")
            with pytest.raises(BranchNotFound, match="'nowhere' .there are the branches: here"):
                await client.branches.switch("nowhere")
            with pytest.raises(BranchNotFound, match="'nothing'"):
                await client.branches.create("nothing")
            await client.branches.rename("here")  # it is called that: from here on, now
            for name in ("", " ", None, 5):
                with pytest.raises(ValueError, match="must be a string that is not empty"):
                    await client.branches.rename(name)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="must be a string that is not empty"):
                await client.branches.create(name="")
            with pytest.raises(TypeError, match="where to go"):
                await client.branches.switch(None)  # type: ignore[arg-type]
            assert [branch.name for branch in await client.branches.list()] == ["here"]
            with pytest.raises(CommandFailed, match="refused to move"):
                await client.branches.create(await answer_to(client, "one"))

    run(main)


def test_two_branches_do_not_have_one_name(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, echo) as world:
            client = (await world.spawn(branching=True)).client
            await client.send("one")
            await client.branches.rename("first")
            await client.send("two")
            await client.branches.create(await answer_to(client, "one"), name="second")
            with pytest.raises(ValueError, match="'first' already"):
                await client.branches.rename("first")
            async with client.run("three"):
                with pytest.raises(RunBusy, match="wait for itself"):
                    await client.branches.switch("first")

    run(main)


def test_without_the_extension_the_model_is_not_asked(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, echo) as world:
            client = (await world.spawn()).client
            await client.send("one")
            with pytest.raises(ClientError, match="branching=True"):
                await client.branches.create()
            assert len(await client.branches.list()) == 1
            assert len(world.model.requests) == 1

    run(main)


def test_a_move_waits_for_the_run_that_goes_on(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, [Turn("one"), Turn(["a", "b", "c"], chunk_delay=0.1)]) as world:
            client = (await world.spawn(branching=True)).client
            await client.send("one")
            start = (await client.get_entries()).leaf_id
            done = []

            async def move() -> None:
                await client.branches.create(start, name="other")
                done.append("move")

            async with trio.open_nursery() as nursery:
                async with client.run("two") as reading:
                    nursery.start_soon(move)
                    assert (await reading.result()).text == "abc"
                    done.append("run")
            assert done == ["run", "move"]

    run(main)


# --- over a transport in memory: what the extension may say, and when ------------------------------------


EXTENSION = {
    "name": "pi-trio-branch",
    "source": "extension",
    "sourceInfo": {"path": "x", "source": "cli", "scope": "temporary", "origin": "top-level"},
}


def reports(id_: str, placeholder: Any) -> Record:
    dialog = {"type": "extension_ui_request", "id": id_, "method": "input", "title": "pi-trio-branch"}
    return {**dialog, "placeholder": placeholder}


async def begin(transport: MemoryTransport) -> str:
    """Play Pi until the command is under way, and return the id under which it has to report."""
    await blocked()
    transport.answers("get_commands", {"commands": [EXTENSION]})
    await blocked()
    command, _, asked = str(transport.sent[-1]["message"]).partition(" ")
    assert command == "/pi-trio-branch"
    return str(json.loads(asked)["id"])


@pytest.mark.parametrize(
    ("report", "error"),
    [
        ({"error": "Wait for the current response to finish"}, CommandFailed),
        ({"error": "Entry e1 not found"}, BranchNotFound),
        ({"error": "Entry other not found"}, CommandFailed),
        (None, ClientError),
        ("nonsense", ClientError),
        ([], ClientError),
        (5, ClientError),
    ],
)
def test_what_the_extension_reports(report: Any, error: type[Exception]) -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        async with trio.open_nursery() as nursery:

            async def fails() -> None:
                with pytest.raises(error) as caught:
                    await client.branches.create("e1")
                assert type(caught.value) is error

            nursery.start_soon(fails)
            id_ = await begin(transport)
            if report is not None:
                transport.says(reports("u1", json.dumps({**report, "id": id_}) if isinstance(report, dict) else report))
                await blocked()
                assert transport.sent[-1] == {"type": "extension_ui_response", "id": "u1", "value": ""}
            transport.answers("prompt", {"disposition": "handled"})

    connected(test)


def test_a_report_that_comes_too_late_is_taken_off_peoples_hands() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        ids = []

        async def begins() -> None:
            ids.append(await begin(transport))

        with trio.move_on_after(1) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(begins)
                await client.branches.create("e1", summarize=True)
        assert scope.cancelled_caught
        transport.says(reports("u1", json.dumps({"id": ids[0], "leafId": "e1"})))
        await blocked()
        assert transport.sent[-1] == {"type": "extension_ui_response", "id": "u1", "value": ""}
        async with trio.open_nursery() as nursery:

            async def moves() -> None:
                assert await client.branches.create("e2") == "e2"

            nursery.start_soon(moves)
            id_ = await begin(transport)
            transport.says(reports("u2", json.dumps({"id": id_, "leafId": "e2"})))
            await blocked()
            transport.answers("prompt", {"disposition": "handled"})

    connected(test)


def test_what_is_reported_to_another_client_is_no_answer_to_this_one() -> None:
    async def test(client: PiClient, transport: MemoryTransport) -> None:
        other = PiClient("other", request_timeout=30.0)
        other_transport = MemoryTransport()
        other.attach(other_transport)
        other.open()
        ids: dict[str, str] = {}

        async def moves(who: PiClient) -> None:
            with pytest.raises(ClientError, match="did not say"):
                await who.branches.create("e1")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.serve, other_transport)
            async with trio.open_nursery() as moving:
                moving.start_soon(moves, client)
                moving.start_soon(moves, other)
                ids["ours"] = await begin(transport)
                ids["theirs"] = await begin(other_transport)
                assert ids["ours"] != ids["theirs"]
                for wire, id_ in ((transport, ids["theirs"]), (other_transport, ids["ours"])):
                    wire.says(reports("u1", json.dumps({"id": id_, "leafId": "e1"})))
                    wire.answers("prompt", {"disposition": "handled"})
            nursery.cancel_scope.cancel()

    connected(test, over=("memory",))
