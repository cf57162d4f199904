"""A prompt on whichever instance will do; somewhere else where nothing was started."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pi_trio import PiClient
from pi_trio.abc import ExitStatus
from pi_trio.errors import (
    CommandFailed,
    ConnectionClosed,
    ConnectionLost,
    LeaseLost,
    NoMatchingInstance,
    ProcessExited,
)
from pi_trio.lifecycle import HealthPolicy
from pi_trio.registry import Criteria, Registry, RoundRobin, StaticDiscovery, Sticky, Watch
from tests.client.memory import MemoryTransport
from tests.concurrency.virtual import run
from tests.registry.members import Remote, found, open_registry

RARELY = Watch(health=HealthPolicy(period=1000.0))


def test_it_runs_and_gives_the_instance_back() -> None:
    async def main() -> None:
        remote = Remote()
        async with open_registry() as registry:
            registry.register(found("a"), open_client=remote.open)
            assert (await registry.run("hello")).text == "re: hello"
            assert registry.get("a").in_use == 0
            assert registry.statistics().leases_taken == 1

    run(main)


def test_one_that_cannot_be_reached_or_refuses_is_passed_over() -> None:
    async def main() -> None:
        away, without_key, good = Remote(answers=False), Remote(refuses=True), Remote()
        async with open_registry() as registry:
            for name, remote in [("a", away), ("b", without_key), ("c", good)]:
                registry.register(found(name), open_client=remote.open)
            assert (await registry.run("hello")).text == "re: hello"
            assert good.prompts == ["hello"]
            assert registry.get("a").breaker.failures == 2, "the registry itself had asked it, too"
            assert [entry.in_use for entry in registry.all()] == [0, 0, 0]

    run(main)


def test_one_that_cannot_be_reached_is_left_alone_after_a_while() -> None:
    async def main() -> None:
        async with open_registry(watch=RARELY) as registry:
            opened = -1  # the first is the registry itself, which wants to know how it is

            def away() -> AbstractAsyncContextManager[PiClient]:
                nonlocal opened
                opened += 1
                return Remote(answers=False).open()

            registry.register(found("a"), open_client=away)
            registry.register(found("b"), open_client=Remote().open)
            await trio.sleep(1)
            registry.report_success("a")
            for _ in range(6):
                assert (await registry.run("hello", strategy=RoundRobin())).text == "re: hello"
            assert str(registry.get("a").breaker.state) == "open"
            assert opened == 3

    run(main)


def test_when_nobody_is_left_the_last_refusal_is_what_comes_out() -> None:
    async def main() -> None:
        async with open_registry() as registry:
            remotes = {name: Remote(refuses=True) for name in "ab"}
            for name, remote in remotes.items():
                registry.register(found(name), open_client=remote.open)
            with pytest.raises(CommandFailed, match="no key"):
                await registry.run("hello", strategy=Sticky("k"), attempts=5)
            assert [remote.refused for remote in remotes.values()] == [1, 1], "each is tried once"
            registry.unregister("b")
            with pytest.raises(CommandFailed, match="no key"):
                await registry.run("hello", attempts=1)
            with pytest.raises(NoMatchingInstance):
                await registry.run("hello", Criteria(provider="q"))
            with pytest.raises(ValueError, match="attempts"):
                await registry.run("hello", attempts=0)

    run(main)


def test_what_was_started_is_not_started_again() -> None:
    async def main() -> None:
        class Dies(Remote):
            def _answer_one(self, transport: object, record: dict[str, object]) -> None:
                if record["type"] == "prompt":
                    self.prompts.append(str(record["message"]))
                    raise ConnectionClosed("it died in the middle")

        dying, good = Dies(), Remote()
        async with open_registry() as registry:
            registry.register(found("a"), open_client=dying.open)
            registry.register(found("b"), open_client=good.open)
            with pytest.raises(ConnectionClosed, match="in the middle"):
                await registry.run("hello")
            assert (dying.prompts, good.prompts) == (["hello"], [])
            assert [entry.in_use for entry in registry.all()] == [0, 0]

    run(main)


def test_a_refusal_comes_out_though_a_discovery_might_bring_somebody_else() -> None:
    async def main() -> None:
        remote = Remote(answers=False)
        async with open_registry(watch=RARELY, open_client=lambda _: remote.open()) as registry:
            async with registry.discover(StaticDiscovery([found("a")])):
                await registry.wait_for(lambda table: "a" in table)
                with pytest.raises(ConnectionClosed, match="refused"):
                    await registry.run("hello")

    run(main)


def test_who_is_busy_is_waited_for_when_another_has_refused() -> None:
    async def main() -> None:
        good = Remote()
        async with open_registry(watch=RARELY) as registry, trio.open_nursery() as nursery:
            registry.register(found("away"), open_client=Remote(answers=False).open)
            registry.register(found("busy"), open_client=good.open)

            async def keep_busy(task_status: trio.TaskStatus[None]) -> None:
                async with registry.lease("busy"):
                    task_status.started()
                    await trio.sleep(30)

            await nursery.start(keep_busy)
            assert (await registry.run("hello")).text == "re: hello"

    run(main)


def test_a_prompt_that_was_never_sent_is_sent_to_somebody_else() -> None:
    def lost(uncertain: bool) -> ConnectionLost:
        return ConnectionLost("it is gone", uncertain=uncertain)

    async def main(uncertain: bool) -> None:
        class Gone(PiClient):
            def run(self, *_: object, **__: object) -> AbstractAsyncContextManager[Any]:  # type: ignore[override]
                raise lost(uncertain)

        @asynccontextmanager
        async def open_gone() -> AsyncIterator[PiClient]:
            client = Gone("gone")
            client.attach(MemoryTransport())
            client.open()
            yield client

        good = Remote()
        async with open_registry(watch=RARELY) as registry:
            registry.register(found("a"), open_client=open_gone)
            registry.register(found("b"), open_client=good.open)
            if uncertain:
                with pytest.raises(ConnectionLost):
                    await registry.run("hello")
                assert good.prompts == []
            else:
                assert (await registry.run("hello")).text == "re: hello"
            assert registry.get("a").breaker.failures == 1

    run(lambda: main(False))
    run(lambda: main(True))


def test_an_instance_that_is_lost_before_it_was_prompted_is_passed_over() -> None:
    async def main() -> None:
        good = Remote()
        async with open_registry() as registry:
            registry.quiesce()  # it asks nobody itself

            @asynccontextmanager
            async def open_slowly() -> AsyncIterator[PiClient]:
                registry.unregister("a", "told to go")
                await trio.sleep(10)
                yield PiClient("a")

            registry.register(found("a"), open_client=open_slowly)
            registry.register(found("b"), open_client=good.open)
            assert (await registry.run("hello")).text == "re: hello"
            registry.unregister("b")
            registry.register(found("a"), open_client=open_slowly)
            with pytest.raises(LeaseLost, match="unregistered"):
                await registry.run("hello")

    run(main)


def test_an_instance_that_is_over_when_it_is_to_be_reached_is_passed_over() -> None:
    async def main() -> None:
        async with open_registry() as registry:
            registry.quiesce()
            registry.enter_found(found("a"))  # a member whose supervisor is done, though that is not in the table yet
            registry.register(found("b"), open_client=Remote().open)
            assert (await registry.run("hello")).text == "re: hello"

    run(main)


@asynccontextmanager
async def serving(client: PiClient, transport: MemoryTransport) -> AsyncIterator[None]:
    """What a supervisor does for the client of its instance."""
    client.attach(transport)
    client.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.serve, transport)
        yield
        nursery.cancel_scope.cancel()


def exited() -> ProcessExited:
    return ProcessExited(instance_id="a", status=ExitStatus(signal="SIGKILL"))


@pytest.mark.parametrize("dead_already", [True, False])
def test_a_prompt_that_a_dying_process_did_not_take_is_sent_to_somebody_else(dead_already: bool) -> None:
    async def main() -> None:
        client, transport, good = PiClient("a"), MemoryTransport(), Remote()
        transport.broken = dead_already  # nobody has noticed yet
        async with open_registry(watch=RARELY) as registry, serving(client, transport):
            registry.quiesce()
            registry.register(found("a"), open_client=lambda: nullcontext(client))
            registry.register(found("b"), open_client=good.open)
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    if dead_already:
                        assert (await registry.run("hello")).text == "re: hello"
                    else:
                        with pytest.raises(ProcessExited):
                            await registry.run("hello")

                nursery.start_soon(ask)
                await wait_all_tasks_blocked()
                client.detach(exited)
            assert good.prompts == (["hello"] if dead_already else [])
            assert registry.get("a").breaker.failures == 1

    run(main)


@pytest.mark.parametrize("for_good", [True, False])
def test_a_process_that_dies_behind_a_prompt_that_it_took_is_told_and_nobody_else_is_asked(for_good: bool) -> None:
    async def main() -> None:
        client, transport, good = PiClient("a"), MemoryTransport(), Remote()
        async with open_registry(watch=RARELY) as registry, serving(client, transport):
            registry.quiesce()
            registry.register(found("a"), open_client=lambda: nullcontext(client))
            registry.register(found("b"), open_client=good.open)
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    with pytest.raises(ProcessExited):
                        await registry.run("hello")

                nursery.start_soon(ask)
                await wait_all_tasks_blocked()
                transport.broken = True
                transport.answers(
                    "prompt"
                )  # as Pi 0.87 does: then it is asked whether a run began, and that it does not take
                await wait_all_tasks_blocked()
                if for_good:
                    client.close(exited, quietly=False)
                else:
                    client.detach(exited)
            assert good.prompts == []

    run(main)


@pytest.mark.parametrize("how", ["it is told that its lease is lost", "its client is closed"])
def test_a_prompt_that_waits_for_its_turn_when_the_instance_goes_is_sent_to_somebody_else(how: str) -> None:
    async def main() -> None:
        client, transport, good = PiClient("a"), MemoryTransport(), Remote()
        outcomes: dict[str, str] = {}

        async def ask(registry: Registry, prompt: str) -> None:
            try:
                outcomes[prompt] = (await registry.run(prompt)).text
            except (LeaseLost, ConnectionClosed) as error:
                outcomes[prompt] = type(error).__name__

        async with open_registry(watch=RARELY) as registry, serving(client, transport):
            registry.quiesce()
            registry.register(found("a", room=2), open_client=lambda: nullcontext(client))
            async with trio.open_nursery() as nursery:
                for prompt in ("first", "second"):
                    nursery.start_soon(ask, registry, prompt)
                    await wait_all_tasks_blocked()
                registry.register(found("b", room=2), open_client=good.open)
                if how == "its client is closed":
                    client.close(exited, quietly=False)
                else:
                    registry.unregister("a", "told to go")
            assert [record["message"] for record in transport.sent if record["type"] == "prompt"] == ["first"]
            assert outcomes["second"] == "re: second"
            assert outcomes["first"] in ("LeaseLost", "ProcessExited")
            assert good.prompts == ["second"]

    run(main)
