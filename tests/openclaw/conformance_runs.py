"""What can be said to a run on a gateway while it goes on, as far as we count on it."""

from __future__ import annotations

import pytest
import trio

from pi_trio import PiClient
from pi_trio.client import Run
from pi_trio.errors import RunOver
from pi_trio.protocol import AssistantMessage, Message, QueueUpdate, ToolCallEnd, ToolExecutionStart, UserMessage

from .conformance import Lab, check
from .scenario import COUNT, FAIL, LEFT, SLOWLY, TOOL


def said_by_user(messages: tuple[Message, ...]) -> list[str]:
    return [message.text for message in messages if isinstance(message, UserMessage)]


async def until_it_uses_the_tool(run: Run) -> None:
    async for event in run:
        if isinstance(event, ToolExecutionStart):
            return
    raise AssertionError("no tool was used")


@check
async def a_tool_is_used(lab: Lab) -> None:
    async with lab.client() as client, client.run(TOOL) as run:
        events = [event async for event in run]
        reply = await run.result()
    assert reply.text.endswith("it was used")
    assert [event.tool_name for event in events if isinstance(event, ToolExecutionStart)] == ["exec"]
    roles = [message.raw["role"] for message in reply.messages]
    assert roles == ["user", "assistant", "toolResult", "assistant"]
    assert not any(isinstance(event, ToolCallEnd) for event in events), "a gateway streams no calls, only results"


@check
async def a_run_is_steered(lab: Lab) -> None:
    async with lab.client() as client:
        async with client.run(TOOL) as run:
            await until_it_uses_the_tool(run)
            await run.steer(LEFT)
            reply = await run.result()
        assert reply.text.endswith("left it is")
        assert said_by_user(reply.messages) == [TOOL, LEFT]
        assert isinstance(reply.messages[-1], AssistantMessage)
        state = await client.get_state()
        assert (state.is_streaming, state.pending_message_count) == (False, 0)
        # It was part of that run: nothing of it is left for another.
        assert (await client.send(COUNT)).text == "one two three"


@check
async def a_run_that_has_just_begun_is_steered(lab: Lab) -> None:
    """A gateway cannot tell it something yet, and makes another run of that: here it is one all the same."""
    async with lab.client() as client:
        async with client.run(COUNT) as run:
            await run.steer(LEFT)
            reply = await run.result()
        assert said_by_user(reply.messages) == [COUNT, LEFT]
        assert reply.text.endswith("left it is")
        assert not (await client.get_state()).is_streaming
        assert said_by_user(await client.get_messages()) == [COUNT, LEFT]


@check
async def a_run_goes_on_with_what_is_to_follow(lab: Lab) -> None:
    async with lab.client() as client:
        async with client.run(COUNT) as run:
            await run.follow_up(LEFT)
            await run.follow_up(COUNT)
            events = [event async for event in run]
            reply = await run.result()
        assert said_by_user(reply.messages) == [COUNT, LEFT, COUNT]
        answers = [message.text for message in reply.messages if isinstance(message, AssistantMessage)]
        assert answers == ["one two three", "left it is", "one two three"]
        assert reply.usage.output == 30
        queues = [event.follow_up for event in events if isinstance(event, QueueUpdate)]
        assert queues == [(LEFT,), (LEFT, COUNT), (COUNT,), ()]
        with pytest.raises(RunOver):
            await run.follow_up(LEFT)


@check
async def a_failure_ends_a_run_with_what_was_to_follow_behind_it(lab: Lab) -> None:
    async with lab.client() as client, client.run(COUNT) as run:
        await run.follow_up(FAIL)
        reply = await run.result(check=False)
    assert (reply.stop_reason, reply.ok) == ("error", False)
    assert said_by_user(reply.messages) == [COUNT, FAIL]


@check
async def what_waits_is_taken_back(lab: Lab) -> None:
    async with lab.client() as client:
        assert await client.follow_up(LEFT) == "queued"
        assert await client.steer(COUNT) == "queued"
        assert (await client.get_state()).pending_message_count == 2
        taken = await client.clear_queue()
        assert (taken.steering, taken.follow_up) == ((COUNT,), (LEFT,))
        assert (await client.get_state()).pending_message_count == 0
        async with client.run(SLOWLY) as run:
            await anext(run.text())
            await run.follow_up(LEFT)
            taken = await run.abort()
            reply = await run.result()
        assert taken.follow_up == (LEFT,)
        assert reply.stop_reason == "aborted"
        assert said_by_user(await client.get_messages()) == [SLOWLY]


@check
async def what_a_run_has_not_taken_in_is_taken_back(lab: Lab) -> None:
    async with lab.client() as client, client.run(TOOL) as run:
        await until_it_uses_the_tool(run)
        await run.steer(LEFT)
        taken = await client.clear_queue()
        reply = await run.result()
    if lab.is_later:  # an earlier one has taken it in as soon as it has it, or nearly
        assert taken.steering == (LEFT,)
    done = [*said_by_user(reply.messages), *taken.steering]
    assert done == [TOOL, LEFT], f"nothing is lost, nothing is done twice: {done}"


@check
async def a_prompt_says_what_becomes_of_it(lab: Lab) -> None:
    async with lab.client() as client:
        async with client.run(TOOL) as run:
            await until_it_uses_the_tool(run)
            assert await client.prompt(LEFT, streaming_behavior="steer") == "queued"
            assert await client.prompt(COUNT, streaming_behavior="followUp") == "queued"
            reply = await run.result()
        assert said_by_user(reply.messages) == [TOOL, LEFT, COUNT]
        await until_idle(client)


async def until_idle(client: PiClient) -> None:
    while (await client.get_state()).is_streaming:
        await trio.sleep(0.05)
