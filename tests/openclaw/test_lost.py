"""A gateway that goes, and comes back: the sessions are found again, and what was under way says what happened."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from pi_trio.abc import Signal
from pi_trio.errors import ClientError, ConnectionClosed, LeaseLost
from pi_trio.lifecycle import BreakerPolicy, BreakerState, DiscoveryFailed, RegistryEvent
from pi_trio.openclaw import READ, WRITE, GatewayOptions, open_gateway
from pi_trio.process import free_port
from pi_trio.protocol import UserMessage
from pi_trio.registry import EventFeed, Numbered, OpenClawDiscovery
from pi_trio.testing import open_model_server
from tests.support import run

from .conformance import ADMIN, looked, open_registry
from .gateways import TOKEN, VERSIONS, installed, open_real_gateway
from .scenario import COUNT, LEFT, SLOWLY, answer
from .standin import Session, open_standin

KEY = "agent:main:lost"

# It is tried again this often while it is away; by default the breaker would wait for minutes in the end.
SOON = BreakerPolicy(failures=3, reset_timeout=0.5, max_reset_timeout=1.0)


def is_failure(event: RegistryEvent) -> bool:
    return isinstance(event, DiscoveryFailed)


async def why_it_failed(failures: EventFeed) -> str:
    """Until the discovery has noticed that the gateway is gone; why, in its first words: behind them it tries again."""
    async for item in failures:
        if isinstance(item, Numbered) and isinstance(item.event, DiscoveryFailed):
            return item.event.error
    raise AssertionError("the registry is closed")


async def make_session(url: str, key: str = KEY) -> None:
    options = GatewayOptions(token=TOKEN, scopes=(READ, WRITE, ADMIN))
    async with open_gateway(url, options) as admin:
        await admin.request("sessions.create", {"key": key})


def discovery(port: int) -> OpenClawDiscovery:
    return OpenClawDiscovery(f"ws://127.0.0.1:{port}", token=TOKEN, name="there")


@attrs.define(eq=False)
class Going:
    """A gateway that is there, and how to have it gone without a word."""

    url: str
    kill: Callable[[], None]


Start = Callable[[], AbstractAsyncContextManager[Going]]
"""Starts a gateway, the same one again the second time: at the same port, with the sessions that it had."""


async def is_lost_and_found_again(port: int, start: Start) -> None:
    async with open_registry() as registry, registry.discover(discovery(port), breaker=SOON):
        async with start() as gateway:
            await registry.wait_for(lambda _: looked(registry) > 0)
            assert f"there/{KEY}" not in registry.instances
            await make_session(gateway.url)
            await registry.wait_for(lambda table: f"there/{KEY}" in table)
            failures = registry.subscribe(match=is_failure)
            async with failures, registry.open_client(f"there/{KEY}") as client:
                assert (await client.send(COUNT)).text == "one two three"
                with pytest.raises(ConnectionClosed):
                    async with client.run(SLOWLY) as going_on:
                        await anext(going_on.text())
                        gateway.kill()
                        await going_on.result()
                assert "the connection was lost" in await why_it_failed(failures)
            assert f"there/{KEY}" in registry.instances, "what was told stays until it is told otherwise"
        await registry.wait_for(lambda _: registry.snapshot().discoveries["there"].breaker.state is BreakerState.OPEN)
        times = looked(registry)
        async with start() as gateway:
            await registry.wait_for(lambda _: looked(registry) > times)
            report = registry.snapshot().discoveries["there"]
            assert (report.error, report.breaker.state) == (None, BreakerState.CLOSED)
            # A gateway may go on by itself with what it was at. The answer to what comes meanwhile is found all the same.
            async with registry.open_client(f"there/{KEY}") as client:
                reply = await client.send(LEFT)
                assert reply.ok
                assert reply.text, "be it an answer to both: a 2026.5 gateway may put them together"
                assert isinstance(reply.messages[0], UserMessage)
                assert reply.messages[0].text == LEFT
            await make_session(gateway.url, f"{KEY}-anew")
            await registry.wait_for(lambda table: f"there/{KEY}-anew" in table)
            async with registry.open_client(f"there/{KEY}-anew") as client:
                assert (await client.send(COUNT)).text == "one two three"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_gateway_is_killed_and_found_again(tmp_path: Path, version: str) -> None:
    install, port = installed(version), free_port()

    async def main() -> None:
        async with open_model_server(answer) as model:

            @asynccontextmanager
            async def start() -> AsyncIterator[Going]:
                async with open_real_gateway(install, tmp_path, model.base_url, port=port) as gateway:

                    def kill() -> None:
                        gateway.tree.send_signal(Signal.KILL)
                        gateway.tree.kill_tree()

                    yield Going(gateway.url, kill)

            await is_lost_and_found_again(port, start)

    run(main, patience=300)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_standin_is_killed_and_found_again(version: str) -> None:
    port = free_port()
    sessions: dict[str, Session] = {}

    @asynccontextmanager
    async def start() -> AsyncIterator[Going]:
        async with open_standin(version, TOKEN, port=port, sessions=sessions) as standin:
            yield Going(standin.url, standin.kill)

    run(lambda: is_lost_and_found_again(port, start))


def test_a_gateway_that_shuts_down_says_so() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, open_registry() as registry:
            await make_session(standin.url)
            async with registry.discover(discovery(standin.port)):
                await registry.wait_for(lambda table: f"there/{KEY}" in table)
                with registry.subscribe(match=is_failure) as failures:
                    await standin.shut_down()
                    error = await why_it_failed(failures)
        assert "the gateway shuts down (gateway stopping)" in error
        assert "1012" in error

    run(main)


def test_who_waits_for_an_answer_when_it_goes_is_told() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, open_registry() as registry:
            await make_session(standin.url)
            async with registry.discover(discovery(standin.port)):
                await registry.wait_for(lambda table: f"there/{KEY}" in table)
                with pytest.raises((ConnectionClosed, LeaseLost)):
                    async with registry.lease(f"there/{KEY}") as lease, lease.open_client() as client:
                        async with client.run(SLOWLY) as going_on:
                            await anext(going_on.text())
                            await standin.shut_down()
                            await going_on.result()

    run(main)


def test_a_gateway_that_is_still_starting_is_asked_again() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin:
            standin.starting = 2
            async with open_gateway(standin.url, GatewayOptions(token=TOKEN)) as gateway:
                assert gateway.hello.protocol == 4
            assert standin.starting == 0

    run(main)


def test_but_not_for_ever() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin:
            standin.starting = 1_000_000
            with pytest.raises(ClientError, match="the gateway is still starting: ") as failed:
                async with open_gateway(standin.url, GatewayOptions(token=TOKEN, connect_timeout=0.3)):
                    pass
            assert getattr(failed.value, "code", None) == "UNAVAILABLE"
            assert not getattr(failed.value, "final", True)

    run(main)


def test_nobody_there() -> None:
    async def main() -> None:
        with pytest.raises(ConnectionClosed, match="no connection to ws://127.0.0.1:"):
            async with open_gateway(f"ws://127.0.0.1:{free_port()}", GatewayOptions(connect_timeout=5)):
                pass
        await trio.lowlevel.checkpoint()

    run(main)
