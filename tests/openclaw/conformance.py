"""What a gateway does, as far as we count on it: the same checks for the real ones and for the stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from pi_trio import PiClient
from pi_trio.abc import Found
from pi_trio.errors import (
    ClientError,
    CommandFailed,
    ConnectFailed,
    GatewayError,
    MissingScope,
    RunFailed,
    Unsupported,
)
from pi_trio.lifecycle import DiscoveryFailed, Health, HealthPolicy
from pi_trio.openclaw import READ, WRITE, Gateway, GatewayOptions, SessionRow, open_gateway, open_session
from pi_trio.protocol import AssistantMessage, MessageEnd, MessageStart, MessageUpdate, UserMessage
from pi_trio.registry import Criteria, Numbered, OpenClawDiscovery, Registry, Watch

from .scenario import COUNT, FAIL, SLOWLY

__all__ = ["CHECKS", "REAL_CHECKS", "Check", "Lab", "looked"]

ADMIN = "operator.admin"

PATIENCE = 120.0
"""Seconds after which an answer does not come: a gateway has one thread, and the machine may be busy."""


@attrs.define(eq=False)
class Lab:
    """A gateway to be checked, and what a check needs beside our own code to do so."""

    version: str
    url: str
    token: str
    admin: Gateway
    set_thread: Callable[[str, bool | None], None]
    """Put a session of a Pi into the gateway's catalog: one that can be gone on with, or not; ``None`` takes it out."""
    catalog: trio.Lock = attrs.field(factory=trio.Lock)
    """For whoever changes the catalog: a gateway has one, and checks run side by side."""
    made: int = 0

    @property
    def is_later(self) -> bool:
        """Whether it is one of the gateways that came in the summer, and can do more."""
        return "sessions.branches.list" in self.admin.hello.features.methods

    async def create(self, label: str = "") -> str:
        """One more session; its key."""
        self.made += 1
        key = f"agent:main:check-{self.made}"
        await self.admin.request("sessions.create", {"key": key, "label": label or f"check {self.made}"})
        return key

    async def delete(self, key: str) -> None:
        await self.admin.request("sessions.delete", {"key": key})

    @asynccontextmanager
    async def session(self) -> AsyncIterator[str]:
        """A session for the body."""
        key = await self.create()
        try:
            yield key
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(30):
                await self.delete(key)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[PiClient]:
        """A client to a session of its own."""
        async with self.session() as key, open_session(self.url, key, options=self.options()) as client:
            yield client

    def options(self, **changes: Any) -> GatewayOptions:
        return attrs.evolve(GatewayOptions(token=self.token, request_timeout=PATIENCE), **changes)

    def discovery(self, **options: Any) -> OpenClawDiscovery:
        patient = {"options": GatewayOptions(request_timeout=PATIENCE), **options}
        return OpenClawDiscovery(self.url, token=self.token, name="there", **patient)

    @asynccontextmanager
    async def registry(self, **options: Any) -> AsyncIterator[Registry]:
        """A registry with what the discovery finds."""
        async with open_registry() as registry, registry.discover(self.discovery(**options)):
            yield registry

    async def found(self, **options: Any) -> dict[str, Found]:
        """What one look finds."""
        async with self.registry(**options) as registry:
            await completed(registry)
            return {each.instance_id: found for each in registry.all() if (found := _found(registry, each.instance_id))}


def _found(registry: Registry, name: str) -> Found | None:
    return registry._members[name].found


@asynccontextmanager
async def open_registry() -> AsyncIterator[Registry]:
    # A gateway that is busy with a run may not answer for seconds.
    registry = Registry(watch=Watch(health=HealthPolicy(period=30.0, timeout=30.0, slow_after=30.0, action="report")))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.serve)
        yield registry
        registry.quiesce()
        registry.close()


async def completed(registry: Registry) -> None:
    """Until the discovery has looked once."""
    await registry.wait_for(lambda _: any(each.completed for each in registry.snapshot().discoveries.values()))


def looked(registry: Registry) -> int:
    """How often the discovery has told what there is."""
    report = registry.snapshot().discoveries.get("there")
    return 0 if report is None else report.completed


@attrs.frozen
class Check:
    """One promise."""

    name: str
    function: Callable[[Lab], Awaitable[None]]


CHECKS: list[Check] = []
REAL_CHECKS: list[Check] = []


def check(function: Callable[[Lab], Awaitable[None]]) -> Callable[[Lab], Awaitable[None]]:
    CHECKS.append(Check(function.__name__, function))
    return function


def check_real(function: Callable[[Lab], Awaitable[None]]) -> Callable[[Lab], Awaitable[None]]:
    """One that is too slow to be made of the stand-in as well."""
    REAL_CHECKS.append(Check(function.__name__, function))
    return function


# --- finding -----------------------------------------------------------------------------------------


@check
async def it_says_what_it_is(lab: Lab) -> None:
    assert lab.admin.hello.protocol == 4
    assert lab.admin.hello.server.version == lab.version
    assert ADMIN in lab.admin.hello.auth.scopes
    assert {"sessions.list", "sessions.describe", "chat.send", "agent.wait"} <= set(lab.admin.hello.features.methods)


@check
async def all_pages_are_found(lab: Lab) -> None:
    keys = [await lab.create(label=f"paged {n}") for n in range(5)]
    try:
        page = await lab.admin.request("sessions.list", {"limit": 2, "search": "paged"})
        assert (len(page["sessions"]), page["hasMore"], page["totalCount"]) == (2, True, 5), (
            "there are pages to be turned"
        )
        found = await lab.found(filters={"limit": 2, "search": "paged"})
        assert set(found) == {f"there/{key}" for key in keys}
        one = found[f"there/{keys[0]}"]
        assert (one.provider, one.model) == ("local", "scripted-1")
        assert one.profile.tags == {"openclaw", "kind:direct", "agent:main"}
        assert (str(one.profile.mode), one.profile.url, one.profile.max_concurrent) == ("local", lab.url, 1)
    finally:
        for key in keys:
            await lab.delete(key)


@check
async def the_gateway_filters_and_so_do_we(lab: Lab) -> None:
    one, two = await lab.create(label="this one"), await lab.create(label="that one")
    try:
        assert set(await lab.found(filters={"label": "this one"})) == {f"there/{one}"}
        assert set(await lab.found(filters={"search": "one", "agentId": "main"})) >= {f"there/{one}", f"there/{two}"}
        assert await lab.found(filters={"search": "neither of them"}) == {}
        # One that only the later gateways take, and what it means where it is not.
        assert set(await lab.found(filters={"label": "that one", "archived": False})) == {f"there/{two}"}
        assert await lab.found(filters={"label": "that one", "activeOnly": True}) == {}
        assert await lab.found(filters={"label": "that one"}, kinds={"group"}) == {}
        assert set(await lab.found(kinds={"direct"}, accept=lambda row: row.key == two)) == {f"there/{two}"}
    finally:
        await lab.delete(one)
        await lab.delete(two)


@check
async def only_those_that_are_at_work(lab: Lab) -> None:
    """A filter of the later gateways, which is done here for the others."""
    async with (
        lab.session() as idle,
        lab.session() as busy,
        open_session(lab.url, busy, options=lab.options()) as client,
    ):

        def ours(row: SessionRow) -> bool:
            return row.key in (idle, busy)

        assert set(await lab.found(accept=ours)) == {f"there/{idle}", f"there/{busy}"}
        async with client.run(SLOWLY) as run:
            await anext(run.text())
            assert set(await lab.found(filters={"activeOnly": True}, accept=ours)) == {f"there/{busy}"}
        assert await lab.found(filters={"activeOnly": True}, accept=ours) == {}


@check
async def it_looks_again_though_nothing_is_said(lab: Lab) -> None:
    async with lab.registry(period=0.1, filters={"search": "nothing like that"}) as registry:
        await registry.wait_for(lambda _: looked(registry) >= 3)
    async with lab.registry(period=3600.0, catalog=False, scopes=(READ,)) as registry:
        await completed(registry)
        assert registry.snapshot().discoveries["there"].error is None, "the right to read is enough"


@check
async def it_refuses_what_it_does_not_know(lab: Lab) -> None:
    with pytest.raises(GatewayError, match="unexpected property 'kinds'") as refused:
        await lab.admin.request("sessions.list", {"kinds": ["direct"]})
    assert (refused.value.method, refused.value.code) == ("sessions.list", "INVALID_REQUEST")


@check
async def a_session_that_appears_is_seen_and_one_that_goes(lab: Lab) -> None:
    async with lab.registry(period=3600.0) as registry:
        await completed(registry)
        key = await lab.create()
        await registry.wait_for(lambda table: f"there/{key}" in table)
        assert registry.get(f"there/{key}").profile.source == "there"
        await lab.delete(key)
        await registry.wait_for(lambda table: f"there/{key}" not in table)


# --- using -------------------------------------------------------------------------------------------


@check
async def a_prompt_is_streamed(lab: Lab) -> None:
    async with lab.client() as client, client.run(COUNT) as run:
        events = [event async for event in run]
        reply = await run.result()
    assert (
        "".join(each.text_delta for each in events if isinstance(each, MessageUpdate)) == reply.text == "one two three"
    )
    assert (reply.stop_reason, reply.ok) == ("stop", True)
    assert (reply.usage.input, reply.usage.output) == (100, 10)
    assert reply.usage.cost.total == pytest.approx(0.00012)
    question, answer = reply.messages
    assert isinstance(question, UserMessage)
    assert question.text == COUNT
    assert isinstance(answer, AssistantMessage)
    assert (answer.provider, answer.model) == ("local", "scripted-1")
    begun = [type(event.message) for event in events if isinstance(event, MessageStart)]
    ended = [type(event.message) for event in events if isinstance(event, MessageEnd)]
    assert ended == [UserMessage, AssistantMessage]
    assert set(begun) == set(ended)
    assert len(begun) == 2


@check
async def the_same_prompt_may_follow_at_once(lab: Lab) -> None:
    async with lab.client() as client:
        for _ in range(2):
            assert (await client.send(COUNT)).text == "one two three"
        said = await client.get_messages()
    assert [type(message) for message in said] == [UserMessage, AssistantMessage] * 2


@check
async def a_run_is_aborted(lab: Lab) -> None:
    async with lab.client() as client:
        async with client.run(SLOWLY) as run:
            pieces = run.text()
            text = await anext(pieces)
            await run.abort()
            text += "".join([piece async for piece in pieces])
            reply = await run.result()
        assert reply.stop_reason == "aborted"
        assert reply.text == text
        assert text.startswith("1")
        assert len(reply.messages) == 2
        assert not (await client.get_state()).is_streaming


@check
async def a_run_that_is_left_is_aborted(lab: Lab) -> None:
    async with lab.client() as client:
        async with client.run(SLOWLY) as run:
            async for _ in run.text():
                break
        assert not (await client.get_state()).is_streaming
        assert (await client.send(COUNT)).text == "one two three"


@check
async def a_run_that_fails_says_so(lab: Lab) -> None:
    async with lab.client() as client:
        with pytest.raises(RunFailed) as failed:
            await client.send(FAIL)
        assert failed.value.reply.stop_reason == "error"
        assert failed.value.reply.error_message


@check
async def it_tells_how_it_is(lab: Lab) -> None:
    async with lab.client() as client:
        await client.send(COUNT)
        status = await client.status()
        assert not status.busy
        assert status.model is not None
        assert (status.model.provider, status.model.id) == ("local", "scripted-1")
        assert status.tokens == 110
        assert status.cost == pytest.approx(0.00012)
        assert (status.stats.user_messages, status.stats.assistant_messages, status.stats.total_messages) == (1, 1, 2)
        assert await client.get_last_assistant_text() == "one two three"
        async with client.run(SLOWLY) as run:
            await anext(run.text())
            assert (await client.get_state()).is_streaming


@check
async def what_it_cannot_do_is_unsupported(lab: Lab) -> None:
    async with lab.client() as client:
        calls: list[Callable[[], Awaitable[object]]] = [
            client.get_tree,
            client.clone,
            client.export_html,
            client.abort_retry,
            lambda: client.bash("true"),
            lambda: client.fork("entry"),
            lambda: client.switch_session("/nowhere"),
            lambda: client.set_steering_mode("all"),
            lambda: client.set_auto_compaction(True),
            lambda: client.set_auto_retry(True),
            lambda: client.compact("only what matters"),
            lambda: client.new_session(parent_session="/nowhere"),
        ]
        for call in calls:
            with pytest.raises(Unsupported, match="is not supported by the gateway's session 'agent:main:check-"):
                await call()
        assert not (await client.get_state()).is_streaming


@check
async def sessions_are_leased_and_run_like_any_instance(lab: Lab) -> None:
    async with lab.session() as key, lab.registry(accept=lambda row: row.key == key, catalog=False) as registry:
        await registry.wait_for(lambda table: f"there/{key}" in table)
        only = Criteria(tags={"openclaw"})
        assert (await registry.run(COUNT, only, attempts=1)).text == "one two three"
        async with registry.acquire(only) as lease, lease.open_client() as client:
            assert lease.instance_id == f"there/{key}"
            assert registry.get(f"there/{key}").free == 0
            assert (await client.send(COUNT)).text == "one two three"


@check
async def health_is_a_real_request(lab: Lab) -> None:
    async with lab.session() as key:
        async with lab.registry(period=3600.0, accept=lambda row: row.key == key, catalog=False) as registry:
            await completed(registry)
            report = await registry.check_health(f"there/{key}")
            assert (report.health, report.error) == (Health.HEALTHY, None)
    async with open_registry() as registry:
        registry.register(Found("gone"), open_client=lambda: open_session(lab.url, key, options=lab.options()))
        report = await registry.check_health("gone")
        assert report.health is Health.DEGRADED
        assert report.error is not None
        assert f"there is no session '{key}'" in report.error


# --- not let in --------------------------------------------------------------------------------------


async def refusal(lab: Lab, options: GatewayOptions) -> ConnectFailed:
    with pytest.raises(ConnectFailed) as failed:
        async with open_gateway(lab.url, options):
            pass
    return failed.value


@check
async def another_token_is_refused(lab: Lab) -> None:
    error = await refusal(lab, lab.options(token="another"))
    assert (error.code, error.final) == ("AUTH_TOKEN_MISMATCH", True)
    assert str(error).startswith(f"no connection to {lab.url}: the token is not the gateway's: ")


@check
async def without_a_token_nobody_is_let_in(lab: Lab) -> None:
    error = await refusal(lab, lab.options(token=None))
    assert (error.code, error.final) == ("DEVICE_IDENTITY_REQUIRED", True)
    assert "the gateway asks for a token" in str(error)


@check
async def another_protocol_is_refused(lab: Lab) -> None:
    error = await refusal(lab, lab.options(protocol=3))
    assert (error.code, error.final) == ("PROTOCOL_MISMATCH", True)
    assert "the gateway speaks another protocol (4, not 3)" in str(error)


@check
async def a_discovery_that_is_not_let_in_says_why(lab: Lab) -> None:
    wrong = OpenClawDiscovery(lab.url, token="another", name="wrong")
    assert "the token is not the gateway's" in await why_it_fails(wrong)
    wrong = OpenClawDiscovery(lab.url, name="wrong")
    assert "the gateway asks for a token" in await why_it_fails(wrong)
    wrong = lab.discovery(options=GatewayOptions(protocol=3))
    assert "the gateway speaks another protocol (4, not 3)" in await why_it_fails(wrong)
    wrong = lab.discovery(scopes=())
    assert "missing scope: operator.read" in await why_it_fails(wrong)


async def why_it_fails(discovery: OpenClawDiscovery) -> str:
    async with open_registry() as registry:
        async with registry.subscribe(match=lambda event: isinstance(event, DiscoveryFailed)) as feed:
            await anext(feed)
            async with registry.discover(discovery):
                item = await anext(feed)
    assert isinstance(item, Numbered)
    assert isinstance(item.event, DiscoveryFailed)
    return item.event.error


@check
async def without_the_right_to_read_nothing_is_found(lab: Lab) -> None:
    async with open_gateway(lab.url, lab.options(scopes=())) as gateway:
        with pytest.raises(MissingScope) as missing:
            await gateway.request("sessions.list", {})
    assert missing.value.scope == READ
    async with lab.registry(scopes=()) as registry:
        await registry.wait_for(lambda _: any(each.error for each in registry.snapshot().discoveries.values()))
        error = registry.snapshot().discoveries["there"].error
        assert error is not None
        assert "missing scope: operator.read" in error


@check
async def without_the_right_to_write_nothing_is_prompted(lab: Lab) -> None:
    async with lab.session() as key, open_session(lab.url, key, options=lab.options(scopes=(READ,))) as client:
        assert not (await client.get_state()).is_streaming
        with pytest.raises(CommandFailed, match=f"missing scope: {WRITE}"):
            await client.send(COUNT)


@check
async def nobody_answers_where_there_is_no_session(lab: Lab) -> None:
    with pytest.raises(ClientError, match="there is no session 'agent:main:nobody'"):
        async with open_session(lab.url, "agent:main:nobody", options=lab.options()):
            pass
