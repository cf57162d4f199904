"""A session's model, its name, its history; and the rights that a gateway asks for to change them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from pi_trio import PiClient
from pi_trio.client import EventStream
from pi_trio.errors import CommandFailed, ProviderUnavailable
from pi_trio.openclaw import READ, WRITE, open_session
from pi_trio.protocol import AssistantMessage, CompactionEnd

from .conformance import ADMIN, Lab, check
from .scenario import COUNT, SLOWLY


@asynccontextmanager
async def may_all(lab: Lab) -> AsyncIterator[PiClient]:
    """A client to a session of its own, with every right."""
    options = lab.options(scopes=(READ, WRITE, ADMIN))
    async with lab.session() as key, open_session(lab.url, key, options=options) as client:
        yield client


@check
async def the_model_is_switched(lab: Lab) -> None:
    async with may_all(lab) as client:
        models = {model.id: model for model in await client.get_available_models()}
        assert set(models) == {"scripted-1", "scripted-2"}
        assert (models["scripted-2"].provider, models["scripted-2"].context_window) == ("local", 128_000)
        assert (await client.set_model("local", "scripted-2")).id == "scripted-2"
        model = (await client.get_state()).model
        assert model is not None
        assert (model.provider, model.id) == ("local", "scripted-2")
        answer = (await client.send(COUNT)).messages[-1]
        assert isinstance(answer, AssistantMessage)
        assert answer.model == "scripted-2"
        with pytest.raises(CommandFailed, match="Model not found: local/nothing"):
            await client.set_model("local", "nothing")
        with pytest.raises(ProviderUnavailable):
            await client.switch_provider("nobody")
        cycled = await client.cycle_model()
        assert cycled is not None
        assert cycled.model.id == "scripted-1"


@check
async def it_thinks_as_hard_as_its_model_can(lab: Lab) -> None:
    async with may_all(lab) as client:
        await client.set_thinking_level("off")
        if lab.is_later:
            assert await client.get_available_thinking_levels() == ("off",)
            await client.set_thinking_level("high")  # the nearest that there is
            assert await client.cycle_thinking_level() is None
        else:  # it lists what there might be, and refuses what there is not
            assert await client.get_available_thinking_levels() == ("off", "minimal", "low", "medium", "high")
            with pytest.raises(CommandFailed, match='thinkingLevel "high" is not supported for local/scripted-1'):
                await client.set_thinking_level("max")
        assert (await client.get_state()).thinking_level == "off"


@check
async def it_is_named(lab: Lab) -> None:
    async with may_all(lab) as client, lab.registry(filters={"label": "another name"}, period=3600.0) as registry:
        await client.set_session_name("another name")
        assert (await client.get_state()).session_name == "another name"
        await registry.wait_for(lambda table: len(table) == 1)
        async with may_all(lab) as other:
            with pytest.raises(CommandFailed, match="label already in use"):
                await other.set_session_name("another name")
        with pytest.raises(CommandFailed, match="empty"):
            await client.set_session_name(" ")


@check
async def it_is_compacted(lab: Lab) -> None:
    async with may_all(lab) as client:
        with client.subscribe() as events:
            with pytest.raises(CommandFailed, match="it was not compacted"):
                await client.compact()
            for _ in range(2):
                await client.send(COUNT)
            result = await client.compact()
            assert await compactions(events, 2) == [False, True]
        assert result.summary
        assert (result.tokens_before, bool(result.first_kept_entry_id)) == (110, True)
        assert (await client.get_session_stats()).user_messages == 2, "a gateway shows all that was said"
        assert (await client.send(COUNT)).text == "one two three"


async def compactions(events: EventStream, number: int) -> list[bool]:
    """Whether each of the first compactions succeeded."""
    came: list[bool] = []
    async for event in events:
        if isinstance(event, CompactionEnd):
            came.append(event.result is not None)
        if len(came) == number:
            break
    return came


@check
async def it_begins_anew(lab: Lab) -> None:
    async with may_all(lab) as client:
        await client.send(COUNT)
        assert not (await client.new_session()).cancelled
        assert await client.get_messages() == ()
        async with client.run(SLOWLY) as run:
            await anext(run.text())
            await run.follow_up(COUNT)
            assert not (await client.new_session()).cancelled
            reply = await run.result()
        assert reply.stop_reason == "aborted"
        assert not (await client.get_state()).is_streaming
        assert await client.get_messages() == ()
        assert (await client.send(COUNT)).text == "one two three"


@check
async def its_commands_are_listed(lab: Lab) -> None:
    async with lab.client() as client:
        commands = {command.name: command for command in await client.get_commands()}
    assert commands["status"].source == "extension"
    assert commands["status"].description


@check
async def who_may_only_write_is_told_what_is_missing(lab: Lab) -> None:
    """A newer gateway lets those who may write choose the model and the name."""
    async with lab.client() as client:
        may_set: list[Callable[[], Awaitable[object]]] = [
            lambda: client.set_model("local", "scripted-2"),
            lambda: client.set_session_name("by a writer"),
            lambda: client.set_thinking_level("off"),
        ]
        may_not: list[Callable[[], Awaitable[object]]] = [client.compact, client.new_session]
        for call in may_set if lab.is_later else [*may_set, *may_not]:
            if lab.is_later:
                await call()
            else:
                with pytest.raises(CommandFailed, match=f"missing scope: {ADMIN}"):
                    await call()
        async with client.run(SLOWLY) as run:
            await anext(run.text())
            for call in may_not:
                with pytest.raises(CommandFailed, match=f"missing scope: {ADMIN}"):
                    await call()
            await run.abort()
            assert (await run.result()).stop_reason == "aborted"
