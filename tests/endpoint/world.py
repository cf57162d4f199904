"""What the tests of endpoints share: an endpoint whose Pi a test speaks for, and plain WebSocket clients."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import attrs
import trio
from trio_websocket import ConnectionClosed as Closed
from trio_websocket import WebSocketConnection, open_websocket_url
from wsproto.utilities import LocalProtocolError

from pi_trio import ConnectionClosed, EndpointConfig, Instance, InstanceSpec, PiClient
from pi_trio.abc import ProcessCommand, ProcessHost
from pi_trio.endpoint import Endpoint, Endpoints, Scope
from pi_trio.protocol import Record
from pi_trio.supervisor.supervisor import Supervisor, Surroundings
from tests.client.memory import MemoryTransport
from tests.support import run

PATIENCE = 20.0


@asynccontextmanager
async def connect(
    url: str,
    token: str | None,
    *,
    subprotocols: tuple[str, ...] = ("pi-rpc.v1",),
    resource: str = "/",
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> AsyncIterator[Client]:
    """A client that is written without us, but for its socket."""
    shown = [] if token is None else [bearer(token)]
    closing = False
    try:
        async with open_websocket_url(
            url + resource, subprotocols=subprotocols, extra_headers=[*shown, *headers]
        ) as socket:
            try:
                yield Client(socket)
            finally:
                closing = True
                await socket.aclose()
                # A client of trio-websocket that was hung up on leaves its stream open.
                await trio.aclose_forcefully(socket._stream)
    except LocalProtocolError:  # trio-websocket stumbles over a ping that comes while it closes
        if not closing:
            raise


@attrs.define(eq=False)
class World:
    """One endpoint, on a real socket. Its Pi is whatever the test says it is."""

    client: PiClient
    pi: MemoryTransport
    endpoints: Endpoints
    endpoint: Endpoint

    @property
    def port(self) -> int:
        return self.endpoint.port

    @asynccontextmanager
    async def connect(
        self,
        *,
        scope: Scope | None = Scope.ADMIN,
        subprotocols: tuple[str, ...] = ("pi-rpc.v1",),
        resource: str = "/",
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> AsyncIterator[Client]:
        """A client that is written without us, but for its socket."""
        token = None if scope is None else self.endpoints.issue_token(scope)
        async with connect(
            self.endpoint.url, token, subprotocols=subprotocols, resource=resource, headers=headers
        ) as client:
            yield client

    def stop(self) -> None:
        """The instance was stopped."""
        self.client.close(lambda: ConnectionClosed("pi-1 was stopped"), quietly=True)

    async def asked(self, count: int) -> list[Record]:
        """What reached Pi, when that many commands have."""
        while len(self.pi.sent) < count:
            await trio.sleep(0.001)
        return self.pi.sent


@attrs.frozen
class Client:
    """Sends and receives JSON."""

    socket: WebSocketConnection

    async def send(self, *records: Any) -> None:
        for record in records:
            await self.socket.send_message(json.dumps(record))

    async def receive(self) -> Any:
        return json.loads(await self.socket.get_message())

    async def closed(self) -> tuple[int, str | None]:
        """Read to the end; return the code and the reason."""
        with suppress(Closed):
            while True:
                await self.socket.get_message()
        assert self.socket.closed is not None
        return self.socket.closed.code, self.socket.closed.reason


def bearer(token: str) -> tuple[bytes, bytes]:
    return b"Authorization", f"Bearer {token}".encode()


def served(test: Callable[[World], Awaitable[None]], config: EndpointConfig | None = None) -> None:
    """Run a test with an endpoint whose Pi is ready."""

    async def main() -> None:
        async with open_world(config) as world:
            await test(world)

    run(main, patience=PATIENCE)


def no_command(_: InstanceSpec) -> ProcessCommand:
    raise AssertionError("there is no process: a test speaks for Pi")


@asynccontextmanager
async def open_world(config: EndpointConfig | None = None, *, ready: bool = True) -> AsyncIterator[World]:
    supervisor = Supervisor(
        instance_id="pi-1",
        spec=InstanceSpec(request_timeout=5.0),
        env={},
        surroundings=Surroundings(
            host=cast("ProcessHost", None), command=no_command, publish=lambda _: None, starts=trio.CapacityLimiter(1)
        ),
    )
    client, transport = supervisor.client, MemoryTransport()
    endpoints = Endpoints(config or EndpointConfig(), "test")
    endpoint = endpoints.open(Instance(supervisor), endpoints._ports.listen(0))
    world = World(client, transport, endpoints, endpoint)
    client.attach(transport)
    if ready:
        client.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.serve, transport)
        client.serve_dialogs(nursery)
        nursery.start_soon(endpoint.serve)
        try:
            yield world
        finally:
            nursery.cancel_scope.cancel()
