"""A registry on virtual time, with instances that are nothing but entries and clients in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from pi_trio import PiClient
from pi_trio.abc import Found, Mode, Profile
from pi_trio.concurrency import open_service_nursery
from pi_trio.errors import ConnectionClosed
from pi_trio.lifecycle import InstanceState, StateChanged
from pi_trio.registry import Entry, EventFeed, Numbered, Registry, Snapshot, fold
from tests.client.memory import STATE, MemoryTransport, answer

__all__ = ["Remote", "folded", "found", "moved", "open_registry"]


def found(name: str, *, room: int = 1, provider: str | None = None, **profile: Any) -> Found:
    return Found(name, provider, None, Profile(mode=Mode.REMOTE, max_concurrent=room, **profile))


def moved(name: str, state: InstanceState, reason: str = "") -> StateChanged:
    return StateChanged(name, trio.current_time(), state=state, incarnation=1, reason=reason)


async def folded(registry: Registry, feed: EventFeed) -> dict[str, Entry]:
    """What a subscriber makes of everything it is told until now."""
    table = dict[str, Entry]()
    async for item in feed:
        if isinstance(item, Snapshot):
            table = dict(item.instances)
        elif isinstance(item, Numbered):
            table = fold(table, item.event)
        if getattr(item, "seq", 0) == registry.snapshot().seq:
            break
    return table


@attrs.define
class Remote:
    """An instance somewhere else, as a test wants it: it answers, or it does not."""

    answers: bool = True
    delay: float = 0.0
    """Seconds before each answer."""
    refuses: bool = False
    """It refuses each prompt."""
    asked: int = 0
    refused: int = 0
    renewed: int = 0
    """How often it was given a new session."""
    prompts: list[str] = attrs.field(factory=list)
    state: dict[str, Any] = attrs.field(factory=lambda: dict(STATE))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[PiClient]:
        if not self.answers:
            await trio.lowlevel.checkpoint()
            raise ConnectionClosed("connection refused")
        client, transport = PiClient("remote"), MemoryTransport()
        client.attach(transport)
        client.open()
        serving = trio.CancelScope()

        async def stop(_: BaseException | None) -> None:
            serving.cancel()

        async def serve() -> None:
            with serving:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(client.serve, transport)
                    nursery.start_soon(self._answer, transport)

        async with open_service_nursery(stop) as service:
            service.start_soon(serve)
            yield client

    async def _answer(self, transport: MemoryTransport) -> None:
        done = 0
        while True:
            await trio.sleep(0.001)
            for record in transport.sent[done:]:
                done += 1
                await trio.sleep(self.delay)
                self._answer_one(transport, record)

    def _answer_one(self, transport: MemoryTransport, record: dict[str, Any]) -> None:
        kind = record["type"]
        if kind == "get_state":
            self.asked += 1
            transport.answers(kind, self.state)
        elif kind == "new_session":
            self.renewed += 1
            transport.answers(kind, {"cancelled": False})
        elif kind == "prompt" and self.refuses:
            self.refused += 1
            transport.says(
                {"type": "response", "command": kind, "id": record["id"], "success": False, "error": "no key"}
            )
        elif kind == "prompt":
            self.prompts.append(record["message"])
            transport.answers(kind, {"disposition": "started"})
            transport.says({"type": "agent_start"}, answer(f"re: {record['message']}"), {"type": "agent_settled"})


@asynccontextmanager
async def open_registry(*members: Found, **options: Any) -> AsyncIterator[Registry]:
    """A registry that is served, with these members, all of which answer."""
    registry = Registry(**options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.serve)
        for each in members:
            registry.register(each, open_client=Remote().open)
        yield registry
        registry.close()
