"""What a Pi does, real or simulated, seen through the real supervisor and client: checks with plain asserts.

Each is one async function with the script of its model. It gets a :class:`Lab`, which says nothing of what it runs in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs
import pytest
import trio

from pi_trio import (
    Backoff,
    CommandFailed,
    Instance,
    InstanceState,
    ProcessExited,
    Reply,
    RestartPolicy,
    RestartType,
    RunFailed,
    SpawnError,
)
from pi_trio.abc import ExitStatus
from pi_trio.protocol import MessageEntry, Notify
from pi_trio.testing import ToolUse, Turn
from pi_trio.testing.model_server import Script

__all__ = ["CHECKS", "Check", "Lab", "check"]


class Lab(Protocol):
    """A runtime whose Pis have a scripted model, and a hand on their processes."""

    version: str
    """Of Pi."""

    async def spawn(self, **changes: Any) -> Instance:
        """An instance, its spec changed like this; ephemeral unless told otherwise."""

    def signal(self, instance: Instance, name: str) -> None:
        """Send a signal to its process, from outside."""

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that nothing announces."""


@attrs.frozen
class Check:
    """A check, and what its model says."""

    function: Callable[[Lab], Awaitable[None]]
    script: Script

    @property
    def name(self) -> str:
        """What it checks."""
        return self.function.__name__


CHECKS: list[Check] = []


def check(*turns: Turn, script: Script | None = None) -> Callable[[Callable[[Lab], Awaitable[None]]], Check]:
    """Enter a check with these turns, or with this script."""

    def enter(function: Callable[[Lab], Awaitable[None]]) -> Check:
        CHECKS.append(Check(function, turns if script is None else script))
        return CHECKS[-1]

    return enter


ENDLESS = Turn([f"word{number} " for number in range(50_000)], chunk_delay=0.01)
"""An answer that outlasts every check."""


def bash(command: str) -> ToolUse:
    """A call of Pi's shell tool."""
    return ToolUse("bash", {"command": command})


def shape(record: Mapping[str, Any]) -> str | None:
    """What kind of record it is; ``None`` for those that a real Pi sends at moments of its own."""
    kind = str(record["type"])
    message = record.get("message")
    if kind in ("message_start", "message_end") and isinstance(message, dict):
        return None if message["role"] == "system" else f"{kind} {message['role']}"
    if kind == "message_update":
        return str(record["assistantMessageEvent"]["type"])
    return None if kind == "tool_execution_update" else kind


async def shapes_of(instance: Instance, prompt: str) -> list[str]:
    """The kinds of a run's records, in order; a row of the same is one."""
    shapes: list[str] = []
    async with instance.client.run(prompt) as run:
        async for record in run.records():
            assert isinstance(record, dict)
            seen = shape(record)
            if seen is not None and (not shapes or shapes[-1] != seen):
                shapes.append(seen)
    return [each for each in shapes if each != "response"]


ANSWER = ["message_start assistant", "text_start", "text_delta", "text_end", "message_end assistant"]
USER = ["message_start user", "message_end user"]
RESULT = ["message_start toolResult", "message_end toolResult"]


# --- state --------------------------------------------------------------------------------------------------


@check()
async def it_says_what_it_is(lab: Lab) -> None:
    instance = await lab.spawn()
    state = await instance.client.get_state()
    assert state.session_id
    assert state.session_file is None, "it is ephemeral"
    assert state.model is not None
    assert (state.model.provider, state.model.id) == ("scripted", "scripted-1")
    assert (state.model.context_window, state.model.max_tokens) == (128_000, 16_384)
    assert not state.is_streaming
    assert not state.is_compacting
    assert (state.steering_mode, state.follow_up_mode) == ("one-at-a-time", "one-at-a-time")
    assert (state.thinking_level, state.auto_compaction_enabled) == ("off", True)
    assert (state.message_count, state.pending_message_count) == (0, 0)


@check(Turn("First.", input_tokens=1000, output_tokens=500), Turn("Second.", tools=[bash("true")]), Turn("Third."))
async def it_counts(lab: Lab) -> None:
    instance = await lab.spawn()
    before = await instance.client.get_session_stats()
    assert (before.total_messages, before.cost, before.tokens.total) == (0, 0, 0)
    reply = await instance.client.send("one")
    assert (reply.usage.input, reply.usage.output, reply.usage.total_tokens) == (1000, 500, 1500)
    assert reply.usage.cost.total == pytest.approx(0.002)
    await instance.client.send("two")
    stats = await instance.client.get_session_stats()
    assert (stats.user_messages, stats.assistant_messages, stats.tool_calls, stats.tool_results) == (2, 3, 1, 1)
    assert (stats.tokens.input, stats.tokens.output, stats.tokens.total) == (1200, 520, 1720)
    assert stats.cost == pytest.approx(0.00224)
    assert stats.context_usage is not None
    assert stats.context_usage.context_window == 128_000


@check()
async def it_refuses_what_it_does_not_know(lab: Lab) -> None:
    instance = await lab.spawn()
    with pytest.raises(CommandFailed, match="Unknown command: no_such_command"):
        await instance.client.request("no_such_command")
    with pytest.raises(CommandFailed, match="Model not found: scripted/no-such-model"):
        await instance.client.request("set_model", {"provider": "scripted", "modelId": "no-such-model"})
    await instance.client.get_state()  # and it goes on


@check(Turn("From the other."))
async def it_changes_the_model(lab: Lab) -> None:
    instance = await lab.spawn()
    data = await instance.client.request("set_model", {"provider": "scripted", "modelId": "scripted-2"})
    assert data["id"] == "scripted-2"
    state = await instance.client.get_state()
    assert state.model is not None
    assert state.model.id == "scripted-2"
    reply = await instance.client.send("hello")
    assert reply.text == "From the other."


@check()
async def it_takes_settings(lab: Lab) -> None:
    instance = await lab.spawn()
    await instance.client.request("set_steering_mode", {"mode": "all"})
    await instance.client.request("set_follow_up_mode", {"mode": "all"})
    await instance.client.request("set_auto_compaction", {"enabled": False})
    state = await instance.client.get_state()
    assert (state.steering_mode, state.follow_up_mode, state.auto_compaction_enabled) == ("all", "all", False)


# --- runs ---------------------------------------------------------------------------------------------------


@check(Turn(["Hel", "lo, ", "w\u00f6rld \u2028!"]))
async def an_answer_is_streamed(lab: Lab) -> None:
    instance = await lab.spawn()
    async with instance.client.run("Say hello") as run:
        pieces = [piece async for piece in run.text()]
    assert pieces == ["Hel", "lo, ", "w\u00f6rld \u2028!"]
    assert (run.reply.text, run.reply.stop_reason) == ("Hello, w\u00f6rld \u2028!", "stop")


@check(Turn(["One ", "two."]))
async def a_run_has_these_events(lab: Lab) -> None:
    instance = await lab.spawn()
    assert await shapes_of(instance, "hello") == [
        *("agent_start", "turn_start", *USER, *ANSWER),
        *("turn_end", "agent_end", "agent_settled"),
    ]


@check(Turn("It is", stop_reason="length"))
async def a_cut_answer_says_so(lab: Lab) -> None:
    instance = await lab.spawn()
    assert (await instance.client.send("hello")).stop_reason == "length"


@check(Turn("Looking.", tools=[bash("echo one; echo two >&2; exit 3")]), Turn("", tools=[ToolUse("none")]), Turn("So."))
async def tools_run_between_the_turns(lab: Lab) -> None:
    instance = await lab.spawn()
    tool = ["tool_execution_start", "tool_execution_end", *RESULT, "turn_end", "turn_start"]
    asked = ["toolcall_start", "toolcall_delta"]
    text = ["text_start", "text_delta"]
    assert await shapes_of(instance, "go") == [
        *("agent_start", "turn_start", *USER, "message_start assistant", *text, *asked, "text_end", "toolcall_end"),
        *("message_end assistant", *tool),
        *("message_start assistant", *asked, "toolcall_end", "message_end assistant", *tool),
        *(*ANSWER, "turn_end", "agent_end", "agent_settled"),
    ]


@check(Turn("", tools=[bash("echo out; echo err >&2; exit 3"), bash("echo fine")]), Turn("Done."))
async def the_output_of_tools_is_told(lab: Lab) -> None:
    instance = await lab.spawn()
    ends: dict[str, tuple[str, bool]] = {}
    async with instance.client.run("go") as run:
        async for record in run.records():
            if isinstance(record, dict) and record["type"] == "tool_execution_end":
                text = "".join(block["text"] for block in record["result"]["content"])
                ends[record["toolCallId"]] = text, record["isError"]
                assert ("durationMs" in record) == (lab.version != "0.87.1")
    assert sorted(ends.values()) == [("fine\n", False), ("out\nerr\n\n\nCommand exited with code 3", True)]


@check(Turn("no", status=400))
async def a_refusing_model_fails_the_run(lab: Lab) -> None:
    instance = await lab.spawn()
    with pytest.raises(RunFailed, match="400") as caught:
        await instance.client.send("hello")
    assert caught.value.reply.stop_reason == "error"


@check(Turn("busy", status=503), Turn(["cut ", "off "], cut_off=True), Turn("There."))
async def what_may_pass_is_asked_for_again(lab: Lab) -> None:
    instance = await lab.spawn()
    shapes = await shapes_of(instance, "hello")
    failed = ["message_start assistant", "message_end assistant", "turn_end", "agent_end"]
    again = ["auto_retry_start", "entry_appended", "agent_start", "turn_start"]
    assert shapes == [
        *("agent_start", "turn_start", *USER, *failed, *again),
        *("message_start assistant", "text_start", "text_delta", *_cut(shapes), "message_end assistant"),
        *("turn_end", "agent_end", *again, *ANSWER, "auto_retry_end", "turn_end", "agent_end", "agent_settled"),
    ]


def _cut(shapes: Sequence[str]) -> list[str]:
    """Whether a block that was cut off is closed is Pi's own affair."""
    return ["text_end"] if shapes.count("text_end") == 2 else []


@check(Turn("boom", status=500), Turn("boom", status=500), Turn("boom", status=500), Turn("Never said."))
async def in_the_end_it_gives_up(lab: Lab) -> None:
    instance = await lab.spawn()
    with pytest.raises(RunFailed, match="boom"):
        await instance.client.send("hello")


@check(ENDLESS, Turn("After that."))
async def a_run_is_aborted(lab: Lab) -> None:
    instance = await lab.spawn()
    async with instance.client.run("hello") as run:
        async for _ in run.text():
            state = await instance.client.get_state()
            assert state.is_streaming
            with pytest.raises(CommandFailed, match="already processing"):
                await instance.client.prompt("another")
            await instance.client.abort()
            break
        reply = await run.result(check=False)
    assert reply.stop_reason == "aborted"
    assert not (await instance.client.get_state()).is_streaming
    assert (await instance.client.send("and now?")).text == "After that."


@check(Turn("", tools=[bash("echo begun; exec sleep 600")]), Turn("Never said."))
async def an_abort_ends_the_tool(lab: Lab) -> None:
    instance = await lab.spawn()
    async with instance.client.run("go") as run:
        async for record in run.records():
            assert isinstance(record, dict)
            if record["type"] == "tool_execution_update" and "begun" in str(record["partialResult"]):
                await instance.client.abort()
                break
        reply = await run.result(check=False)
    assert reply.stop_reason == "aborted"  # Pi 0.87 says "error", which is what the abort led to
    assert reply.error_message is None


WORK = [Turn(["step "] * 30, tools=[bash("echo work")], chunk_delay=0.02), Turn("Instead."), Turn("Afterwards.")]


@check(script=WORK)
async def messages_are_queued(lab: Lab) -> None:
    instance = await lab.spawn()
    said: list[str] = []
    asked = False
    async with instance.client.run("work") as run:
        async for record in run.records():
            assert isinstance(record, dict)
            if record["type"] == "message_update" and not asked:
                asked = True
                await instance.client.request("steer", {"message": "taken back"})
                await instance.client.request("follow_up", {"message": "taken back too"})
                assert (await instance.client.get_state()).pending_message_count == 2
                taken = await instance.client.clear_queue()
                assert (taken.steering, taken.follow_up) == (("taken back",), ("taken back too",))
                await instance.client.request("follow_up", {"message": "afterwards"})
                await instance.client.prompt("instead", streaming_behavior="steer")
            elif record["type"] == "message_end" and record["message"]["role"] == "user":
                said.append(record["message"]["content"][0]["text"])
        reply = await run.result()
    assert said == ["work", "instead", "afterwards"]
    assert reply.text == "Afterwards."


@check(Turn("Fine."))
async def dispositions_are_told_by_those_who_know_them(lab: Lab) -> None:
    instance = await lab.spawn()
    disposition = await instance.client.prompt("hello")
    assert disposition == (None if lab.version == "0.87.1" else "started")


# --- the shell ----------------------------------------------------------------------------------------------


@check()
async def shell_commands_run_in_the_session(lab: Lab) -> None:
    instance = await lab.spawn()
    result = await instance.client.bash("echo out; echo err >&2; exit 3")
    assert (result.output, result.exit_code, result.cancelled) == ("out\nerr\n", 3, False)
    result = await instance.client.bash("kill -TERM $$")
    assert (result.output, result.cancelled) == ("", False)


@check()
async def shell_commands_are_aborted(lab: Lab) -> None:
    instance = await lab.spawn()
    outcomes = []

    async def run() -> None:
        outcomes.append(await instance.client.bash("echo begun; exec sleep 600"))

    with instance.client.subscribe() as events:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            async for record in events.records():
                if isinstance(record, dict) and record["type"] == "bash_execution_update":
                    break
            await instance.client.request("abort_bash")
    assert [(each.output, each.cancelled) for each in outcomes] == [("begun\n", True)]


@check()
async def a_background_process_does_not_hold_up_its_command(lab: Lab) -> None:
    instance = await lab.spawn()
    result = await instance.client.bash("sleep 600 & echo started")
    assert (result.output, result.exit_code) == ("started\n", 0)


# --- sessions -----------------------------------------------------------------------------------------------


@check(Turn("One."), Turn("Two."))
async def a_restarted_one_goes_on_with_its_session(lab: Lab) -> None:
    policy = RestartPolicy(type=RestartType.PERMANENT, backoff=Backoff(base=0.01))
    instance = await lab.spawn(ephemeral=False, restart=policy)
    await instance.client.send("one")
    before = await instance.client.get_state()
    assert before.session_file is not None
    lab.signal(instance, "SIGKILL")
    await lab.until(lambda: instance.status().incarnation == 2 and instance.state is InstanceState.RUNNING)
    after = await instance.client.get_state()
    assert (after.session_id, after.message_count) == (before.session_id, before.message_count)
    assert (await instance.client.send("two")).text == "Two."


@check(Turn("Let me see.", tools=[bash("echo there")]), Turn("It is there."))
async def what_was_said_is_in_the_entries(lab: Lab) -> None:
    instance = await lab.spawn(ephemeral=False)
    reply = await instance.client.send("look")
    found = await instance.client.get_entries()
    by_id = {entry.id: entry for entry in found.entries}
    path: list[Any] = []
    at = found.leaf_id
    while at is not None:
        path.insert(0, by_id[at])
        at = by_id[at].parent_id
    messages = [entry.message for entry in path if isinstance(entry, MessageEntry)]
    said = [each for each in messages if each.raw["role"] != "system"]
    assert [each.raw["role"] for each in said] == ["user", "assistant", "toolResult", "assistant"]
    assert [each.raw for each in said] == [each.raw for each in reply.messages if each.raw["role"] != "system"]
    assert path[-1].message.text == reply.text == "It is there."


@check(Turn("One."))
async def a_new_session_is_empty(lab: Lab) -> None:
    instance = await lab.spawn(ephemeral=False)
    await instance.client.send("one")
    before = await instance.client.get_state()
    assert not (await instance.client.new_session()).cancelled
    after = await instance.client.get_state()
    assert after.session_id != before.session_id
    assert after.message_count == 0


@check()
async def a_session_with_a_name_of_the_callers_is_made(lab: Lab) -> None:
    session = "0b0b0b0b-0000-4000-8000-000000000001"
    instance = await lab.spawn(ephemeral=False, session_id=session)
    assert (await instance.client.get_state()).session_id == session


@check()
async def a_session_that_is_not_there_ends_it(lab: Lab) -> None:
    with pytest.raises(SpawnError) as caught:
        await lab.spawn(ephemeral=False, session="no-such-session")
    assert caught.value.status == ExitStatus(code=1)
    assert b"No session found matching 'no-such-session'" in caught.value.stderr_tail


@check(Turn("Short."))
async def a_short_session_is_not_compacted(lab: Lab) -> None:
    instance = await lab.spawn()
    await instance.client.send("hello")
    with pytest.raises(CommandFailed, match="Nothing to compact"):
        await instance.client.request("compact")


# --- the end ------------------------------------------------------------------------------------------------


@check()
async def a_closed_stdin_ends_it(lab: Lab) -> None:
    instance = await lab.spawn()
    await instance.stop()
    assert instance.exit_status == ExitStatus(code=0)


@check()
async def signals_end_it(lab: Lab) -> None:
    statuses = {
        "SIGTERM": ExitStatus(code=143),
        "SIGHUP": ExitStatus(code=129),
        "SIGINT": ExitStatus(signal="SIGINT"),
        "SIGKILL": ExitStatus(signal="SIGKILL"),
    }
    for name, status in statuses.items():
        instance = await lab.spawn()
        lab.signal(instance, name)
        await instance.wait_stopped()
        assert instance.exit_status == status
        with pytest.raises(ProcessExited):
            await instance.client.get_state()


@check()
async def a_stopped_one_is_woken_to_end(lab: Lab) -> None:
    instance = await lab.spawn(drain_timeout=0.1)
    lab.signal(instance, "SIGSTOP")
    await instance.stop()
    # Woken, it finds the end of its stdin as well: which of the two it ends by depends on what it reads first.
    assert instance.exit_status in (ExitStatus(code=143), ExitStatus(code=0), ExitStatus(signal="SIGTERM"))


@check(ENDLESS)
async def a_stop_ends_a_run(lab: Lab) -> None:
    instance = await lab.spawn()
    replies: list[Reply] = []

    async def send() -> None:
        async with instance.client.run("hello") as run:
            async for _ in run.text():
                nursery.start_soon(instance.stop)
            replies.append(run.reply)

    with pytest.RaisesGroup(pytest.RaisesExc(Exception, match="stopped")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
    await instance.wait_stopped()
    assert instance.exit_status == ExitStatus(code=0)
    assert not replies


@check(Turn("", tools=[bash("setsid -f sleep 600; nohup sleep 600 & echo begun; sleep 600")]))
async def nothing_is_left_of_its_tools(lab: Lab) -> None:
    instance = await lab.spawn()
    with pytest.raises(ProcessExited):
        async with instance.client.run("go") as run:
            async for record in run.records():
                if isinstance(record, dict) and "begun" in str(record.get("partialResult")):
                    lab.signal(instance, "SIGTERM")
    await instance.wait_stopped()
    assert instance.exit_status == ExitStatus(code=143)


# --- extensions ---------------------------------------------------------------------------------------------


@check()
async def dialogs_that_nobody_answers_are_cancelled(lab: Lab) -> None:
    instance = await lab.spawn()
    told: list[str] = []
    with instance.client.subscribe() as events:
        disposition = await instance.client.prompt("/ask me")
        assert disposition == (None if lab.version == "0.87.1" else "handled")
        async for event in events:
            if isinstance(event, Notify):
                told.append(event.message)
                break
    assert told == ["me: null, false, null"]
    assert (await instance.client.send("/ask me again")).handled
