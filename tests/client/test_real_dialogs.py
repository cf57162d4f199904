"""Dialogs that the real Pi opens, in both versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from pi_trio import PiClient
from pi_trio.client.dialogs import allow, chain, choose, deny
from pi_trio.launch import PiInstall
from pi_trio.protocol import (
    Confirm,
    Dialog,
    DialogAnswer,
    DialogHandler,
    Editor,
    Input,
    Notify,
    Select,
    ToolExecutionEnd,
)
from pi_trio.testing import ModelRequest, ToolUse, Turn
from tests.support import run, scripted, until

ASK = """export default (pi) => {
    pi.registerCommand("ask", { handler: async (_, ctx) => {
        const answers = [
            await ctx.ui.select("Which?", ["one", "two"]),
            await ctx.ui.confirm("Sure?", "There is no way back."),
            await ctx.ui.input("Your name", "as you like it"),
            await ctx.ui.editor("Your story", "Once"),
        ];
        ctx.ui.notify(JSON.stringify(answers));
    } });
    pi.registerCommand("impatient", { handler: async (_, ctx) => {
        ctx.ui.notify(JSON.stringify([await ctx.ui.select("Which?", ["one"], { timeout: 100 }) ?? "nothing"]));
    } });
    pi.registerCommand("several", { handler: async (_, ctx) => {
        const all = ["a", "b", "c"].map((title) => ctx.ui.input(title));
        ctx.ui.notify(JSON.stringify(await Promise.all(all)));
    } });
};"""

GATE = """export default (pi) => pi.on("tool_call", async (event, ctx) => {
    if (!(await ctx.ui.confirm("Run it?", event.input.command))) return { block: true, reason: "The user said no." };
});"""


async def told(client: PiClient, command: str) -> Any:
    """What an extension's command tells after it was prompted."""
    with client.subscribe() as events:
        await client.prompt(command)
        async for event in events:
            if isinstance(event, Notify):
                return json.loads(event.message)
        raise AssertionError("nothing was told")


async def person(dialog: Dialog) -> DialogAnswer | None:
    if isinstance(dialog, Select):
        return dialog.options[1]
    if isinstance(dialog, Confirm):
        return dialog.message == "There is no way back."
    if isinstance(dialog, Input):
        return f"{dialog.placeholder}: Zoë"
    assert isinstance(dialog, Editor)
    return f"{dialog.prefill}\nupon \u2028 a time"


@pytest.mark.parametrize(
    ("handler", "answers"),
    [
        (person, ["two", True, "as you like it: Zoë", "Once\nupon \u2028 a time"]),
        (None, [None, False, None, None]),
        (deny, [None, False, None, None]),
        (chain(choose("two"), allow), ["two", True, None, None]),
    ],
)
def test_every_dialog_is_answered(
    pi: PiInstall, tmp_path: Path, handler: DialogHandler | None, answers: list[Any]
) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            client = (await world.spawn(dialogs=handler, extra_args=world.extension("ask", ASK))).client
            assert await told(client, "/ask") == answers
            client.dialog_handler = deny
            assert await told(client, "/ask") == [None, False, None, None]

    run(main)


def test_pi_does_not_wait_longer_than_it_said(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        cancelled = []

        async def never(dialog: Dialog) -> DialogAnswer | None:
            try:
                await trio.sleep(1000)
            finally:
                cancelled.append(dialog.title)
            return "one"

        async with scripted(pi, tmp_path, []) as world:
            client = (await world.spawn(dialogs=never, extra_args=world.extension("ask", ASK))).client
            assert await told(client, "/impatient") == ["nothing"]
            await until(lambda: cancelled)  # Pi's clock may be ahead of ours
            assert cancelled == ["Which?"]

    run(main)


def test_several_dialogs_are_open_at_once(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        open_now: set[str] = set()
        all_open = trio.Event()

        async def together(dialog: Dialog) -> DialogAnswer | None:
            open_now.add(dialog.title)
            if len(open_now) == 3:
                all_open.set()
            await all_open.wait()
            return dialog.title.upper()

        async with scripted(pi, tmp_path, []) as world:
            client = (await world.spawn(dialogs=together, extra_args=world.extension("ask", ASK))).client
            assert await told(client, "/several") == ["A", "B", "C"]

    run(main)


@pytest.mark.parametrize(("handler", "says"), [(allow, "42"), (deny, "The user said no."), (None, "The user said no.")])
def test_a_gate_before_a_tool(pi: PiInstall, tmp_path: Path, handler: DialogHandler | None, says: str) -> None:
    def script(request: ModelRequest) -> Turn:
        if request.tool_result is None:
            return Turn("Let me.", tools=[ToolUse("bash", {"command": "echo $((6*7))"})])
        return Turn("Done.")

    async def main() -> None:
        async with scripted(pi, tmp_path, script) as world:
            client = (await world.spawn(dialogs=handler, extra_args=world.extension("gate", GATE))).client
            async with client.run("go") as reading:
                ends = [event async for event in reading if isinstance(event, ToolExecutionEnd)]
            assert says in ends[0].text
            assert ends[0].is_error == (handler is not allow)

    run(main)


@pytest.mark.parametrize("force", [True, False])
def test_a_question_ends_with_its_pi(one_pi: PiInstall, tmp_path: Path, force: bool) -> None:
    async def main() -> None:
        asked, cancelled = trio.Event(), []
        titles = set()

        async def never(dialog: Dialog) -> DialogAnswer | None:
            titles.add(dialog.title)
            if len(titles) == 3:
                asked.set()
            try:
                await trio.sleep(1000)
            finally:
                cancelled.append(dialog.title)
            return None

        async with scripted(one_pi, tmp_path, []) as world:
            pi = await world.spawn(dialogs=never, extra_args=world.extension("ask", ASK))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pi.client.prompt, "/several")
                await asked.wait()
                nursery.cancel_scope.cancel()
            await world.runtime.kill(pi.id, force=force)
            assert sorted(cancelled) == ["a", "b", "c"]

    run(main)
