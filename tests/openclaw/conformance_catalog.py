"""The sessions of Pis that a gateway does not run, but knows of, as far as we count on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from pi_trio import PiClient
from pi_trio.errors import NoMatchingInstance, Unsupported
from pi_trio.lifecycle import Health
from pi_trio.protocol import AssistantMessage, UserMessage
from pi_trio.registry import Criteria

from .conformance import Lab, check, completed, looked
from .scenario import COUNT

THREADS = ("thread-a", "thread-b", "thread-c")
"""One more than are on a page."""

ONLY = "kind:pi"


@asynccontextmanager
async def threads(lab: Lab, *, usable: bool = True) -> AsyncIterator[None]:
    """These are in the catalog for the body; behind it, nor are the sessions in which they were gone on with."""
    for thread in THREADS:
        lab.set_thread(thread, usable)
    try:
        yield
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(30):
            for key in await _continued(lab):
                await lab.delete(key)
            for thread in THREADS:
                lab.set_thread(thread, None)


async def texts(client: PiClient) -> list[str]:
    return [each.text for each in await client.get_messages() if isinstance(each, UserMessage | AssistantMessage)]


@check
async def the_catalog_is_listed_where_there_is_one(lab: Lab) -> None:
    if not lab.is_later:
        assert await lab.found(kinds={"pi"}) == {}, "it has none, and that is no failure"
        return
    async with lab.catalog:
        async with threads(lab):
            found = await lab.found(kinds={"pi"})
            assert set(found) == {f"there/pi/{thread}" for thread in THREADS}
            assert {each.profile.tags for each in found.values()} == {frozenset({"openclaw", ONLY})}
            assert all(each.profile.selectable for each in found.values())
            assert await lab.found(kinds={"pi"}, catalog=False) == {}
        assert await lab.found(kinds={"pi"}) == {}


@check
async def a_pis_session_is_gone_on_with(lab: Lab) -> None:
    if not lab.is_later:
        return
    async with lab.catalog, threads(lab), lab.registry(kinds={"pi"}, period=3600.0) as registry:
        name = f"there/pi/{THREADS[-1]}"
        await registry.wait_for(lambda table: name in table)
        async with registry.open_client(name) as client:
            assert (await client.get_state()).session_id == THREADS[-1]
            assert await texts(client) == ["what was asked", "what was said"]
            assert await client.get_last_assistant_text() == "what was said"
        assert not await _continued(lab), "to look at it leaves it where it is"
        others = {f"there/pi/{thread}" for thread in THREADS[:-1]}
        times = looked(registry)
        async with registry.acquire(Criteria(tags={ONLY}, exclude=others)) as lease, lease.open_client() as client:
            assert lease.instance_id == name
            assert (await client.send(COUNT)).text == "one two three"
            said = await texts(client)
            assert any("what was said" in text for text in said[:-2]), "the gateway has taken in what was said before"
            assert said[-2:] == [COUNT, "one two three"]
            # The list changes with that, but neither is the thread gone nor is its session somebody else.
            await registry.wait_for(lambda _: looked(registry) > times)
            assert lease.lost is None
            (key,) = await _continued(lab)
        assert (await registry.check_health(name)).health is Health.HEALTHY
        assert set(registry.instances) == {f"there/pi/{thread}" for thread in THREADS}
        found = await lab.found()
        assert name in found
        assert f"there/{key}" not in found
        async with registry.open_client(name) as client:
            assert (await client.send(COUNT)).text == "one two three"
            assert len(await texts(client)) == len(said) + 2, "it is the same session as before"


async def _continued(lab: Lab) -> list[str]:
    rows = (await lab.admin.request("sessions.list", {"limit": 100}))["sessions"]
    return [row["key"] for row in rows if row["key"].startswith("agent:main:dashboard:")]


@check
async def a_pis_session_that_cannot_be_gone_on_with_is_only_seen(lab: Lab) -> None:
    if not lab.is_later:
        return
    async with lab.catalog, threads(lab, usable=False), lab.registry(kinds={"pi"}, period=3600.0) as registry:
        await completed(registry)
        name = f"there/pi/{THREADS[0]}"
        assert not registry.get(name).profile.selectable
        with pytest.raises(NoMatchingInstance):
            registry.select(Criteria(tags={ONLY}))
        async with registry.open_client(name) as client:
            assert await texts(client) == ["what was asked", "what was said"]
            with pytest.raises(Unsupported, match="'prompt' is not supported by the session 'thread-a' of"):
                await client.send(COUNT)
        assert (await registry.check_health(name)).error is None
