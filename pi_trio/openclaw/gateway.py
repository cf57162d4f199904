"""A connection to an OpenClaw gateway."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from ..abc import Closing, Link
from ..client.requests import RequestTable
from ..concurrency import open_service_nursery
from ..errors import ConnectFailed, ConnectionLost, InvalidResponse
from ..protocol import Record, ShapeError, structure
from ..transport import open_websocket
from .frames import Fault, GatewayEvent, GatewayResponse, decode_frame, encode_request, gateway_error
from .handshake import Hello, connect_params, is_starting, refused
from .options import GatewayOptions

__all__ = ["Gateway", "Listener", "open_gateway"]

_log = logging.getLogger("pi_trio.openclaw")

T = TypeVar("T")

# Between two attempts at a gateway that is still starting and does not say when it wants to be asked again.
_RETRY_PERIOD = 0.5

# No request that is made later has this id.
_CONNECT = "connect"


class Listener:
    """Whoever is told what concerns it: the answers to its own requests, and events. Nothing here may block."""

    prefix: str
    """How the ids of its requests begin."""
    session_key: str | None = None
    """The session whose events it wants."""

    def take(self, frame: GatewayResponse | GatewayEvent) -> None:
        """Take one frame."""

    def end(self, closing: Closing) -> None:
        """The connection is over."""


class Gateway:
    """A gateway that has let us in; made by :func:`open_gateway`. Any number of tasks may ask it something."""

    def __init__(self, url: str, hello: Hello, link: Link, options: GatewayOptions) -> None:
        self.url = url
        self.hello = hello
        """What it said of itself."""
        self._link = link
        self._options = options
        self._requests = RequestTable()
        self._on_event: Callable[[GatewayEvent], None] = lambda _: None
        self._listeners: dict[str, Listener] = {}
        self._made = 0
        self._over = trio.Event()
        self._shutting_down = ""

    def __repr__(self) -> str:
        state = "closed" if self._over.is_set() else "open"
        return f"<Gateway {self.url} {self.hello.server.version} {state} {len(self._listeners)} listeners>"

    # --- asking --------------------------------------------------------------------------------------

    async def request(self, method: str, params: Record | None = None, *, timeout: float | None = None) -> Any:
        """Call one method; return its payload. ``timeout`` is in seconds, by default that of the options.

        A cancelled call is given up; the gateway may still carry it out.

        Raises:
            MissingScope: the connection has no right to that.
            GatewayError: the gateway refused.
            RequestTimeout: no answer in time.
            ConnectionLost: the gateway went before it had answered.
        """
        if self._over.is_set():
            raise self._lost(uncertain=False)
        pending = self._requests.open(method, timeout=self._options.request_timeout if timeout is None else timeout)
        try:
            self.send(encode_request(pending.id, method, params or {}))
        except BaseException:
            self._requests.forget(pending)
            raise
        response = structure(await pending.wait(), GatewayResponse)
        if not response.ok:
            raise gateway_error(method, response.error)
        return response.payload

    async def ask(self, method: str, params: Record, cls: type[T], *, timeout: float | None = None) -> T:
        """As :meth:`request`, with the payload as a ``cls``.

        Raises:
            InvalidResponse: the payload is none.
        """
        payload = await self.request(method, params, timeout=timeout)
        try:
            return structure(payload, cls)
        except ShapeError as error:
            raise InvalidResponse(method, str(error), data=payload) from error

    def send(self, frame: bytes) -> None:
        """Send one encoded request. Never blocks.

        Raises:
            ConnectionLost: the gateway is gone, or does not read.
        """
        try:
            self._link.send_nowait(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.WouldBlock) as error:
            raise ConnectionLost(str(error) or "the gateway does not read", uncertain=False) from error

    # --- listening -----------------------------------------------------------------------------------

    def on_event(self, tell: Callable[[GatewayEvent], None]) -> None:
        """Call ``tell`` with every event from now on. It must neither block nor raise."""
        self._on_event = tell

    def new_prefix(self) -> str:
        """What the requests of one more listener may begin with."""
        self._made += 1
        return f"s{self._made}-"

    def add(self, listener: Listener) -> None:
        """From now on tell it what concerns it."""
        self._listeners[listener.prefix] = listener

    def remove(self, listener: Listener) -> None:
        """Tell it nothing more. Idempotent."""
        self._listeners.pop(listener.prefix, None)

    # --- the connection ------------------------------------------------------------------------------

    async def wait_closed(self) -> ConnectionLost:
        """Wait until the connection is over; return the error that says why."""
        await self._over.wait()
        return self._lost(uncertain=False)

    def _lost(self, *, uncertain: bool) -> ConnectionLost:
        why = str(self._closing())
        said = f"the gateway shuts down ({self._shutting_down}): {why}" if self._shutting_down else why
        return ConnectionLost(said, uncertain=uncertain)

    def _closing(self) -> Closing:
        return self._link.closing or Closing(1006)

    async def serve(self, early: Sequence[bytes]) -> None:
        """Take in what the gateway says until it is gone. ``early`` is what came behind its hello. For one task."""
        try:
            self._take_in(early)
            await self._requests.keep_time_while(self._receive)
        finally:
            self._over.set()
            self._requests.fail_all(lambda: self._lost(uncertain=True))
            for listener in tuple(self._listeners.values()):
                listener.end(self._closing())

    async def _receive(self) -> None:
        try:
            while True:
                self._take_in(await self._link.receive())
        except trio.EndOfChannel:
            pass

    def _take_in(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            frame = decode_frame(line)
            if isinstance(frame, GatewayResponse):
                self._answer(frame)
            elif isinstance(frame, GatewayEvent):
                self._tell(frame)
            else:
                _log.debug("%s: a frame that is not understood: %s", self.url, frame.reason)

    def _answer(self, response: GatewayResponse) -> None:
        prefix, dash, _ = response.id.partition("-")
        listener = self._listeners.get(prefix + dash)
        if listener is not None:
            listener.take(response)
        elif not self._requests.resolve(response.raw):
            _log.debug("%s: an answer nobody waits for: %s", self.url, response.id)

    def _tell(self, event: GatewayEvent) -> None:
        if event.event == "shutdown":
            reason = event.payload.get("reason") if isinstance(event.payload, dict) else None
            self._shutting_down = str(reason or "it does not say why")
        key = event.session_key
        if key is not None:
            for listener in tuple(self._listeners.values()):
                if listener.session_key == key:
                    listener.take(event)
        self._on_event(event)


@asynccontextmanager
async def open_gateway(url: str, options: GatewayOptions) -> AsyncIterator[Gateway]:
    """A connection to the gateway at ``ws://host:port``, for the body. It is not made again when it is lost.

    One that is still starting is asked again until ``options.connect_timeout`` is over.

    Raises:
        ConnectFailed: nobody answered, or the gateway did not let us in; ``code`` is its own word for why.
        ValueError: that is no such URL, or it would send the token to another machine in the clear.
    """
    deadline = trio.current_time() + options.connect_timeout
    opened = False
    starting: _StillStarting | None = None
    while True:
        try:
            async with _connected(url, options, deadline) as gateway:
                opened = True
                yield gateway
                return
        except _StillStarting as error:
            starting = error
        except ConnectFailed as error:
            if opened or starting is None or error.final:
                raise
            raise refused(url, starting.fault) from error  # it said so, before the time was up
        if trio.current_time() + starting.seconds >= deadline:
            raise refused(url, starting.fault)
        await trio.sleep(starting.seconds)


class _StillStarting(Exception):
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seconds = fault.retry_after or _RETRY_PERIOD


@asynccontextmanager
async def _connected(url: str, options: GatewayOptions, deadline: float) -> AsyncIterator[Gateway]:
    seconds = max(0.0, deadline - trio.current_time())
    async with open_websocket(
        url,
        connect_timeout=seconds,
        heartbeat=options.heartbeat,
        max_record_bytes=options.max_message_bytes,
        ssl_context=options.ssl_context,
        subprotocols=(),
    ) as link:
        sending, serving = trio.CancelScope(), trio.CancelScope()

        async def stop(_: BaseException | None) -> None:
            sending.cancel()
            serving.cancel()

        async def send() -> None:
            with sending:
                await link.run_sender()

        async with open_service_nursery(stop) as service:
            service.start_soon(send, name=f"sender to {url}")
            hello, early = await _shake_hands(url, link, options, deadline)
            gateway = Gateway(url, hello, link, options)

            async def serve() -> None:
                with serving:
                    await gateway.serve(early)

            service.start_soon(serve, name=f"gateway {url}")
            yield gateway


async def _shake_hands(url: str, link: Link, options: GatewayOptions, deadline: float) -> tuple[Hello, Sequence[bytes]]:
    """Wait for the challenge, introduce ourselves, and return what the gateway answers, and what came behind that."""
    with trio.CancelScope(deadline=deadline):
        try:
            return await _introduce(url, link, options)
        except (trio.EndOfChannel, trio.BrokenResourceError):
            raise ConnectFailed(url, f"it was closed before the gateway had let us in: {link.closing}") from None
    raise ConnectFailed(url, f"the gateway did not answer within {options.connect_timeout:g} s")


async def _introduce(url: str, link: Link, options: GatewayOptions) -> tuple[Hello, Sequence[bytes]]:
    while True:
        lines = await link.receive()
        for at, line in enumerate(lines):
            frame = decode_frame(line)
            if isinstance(frame, GatewayEvent) and frame.event == "connect.challenge":
                params = connect_params(options.token, options.scopes, options.protocol)
                link.send_nowait(encode_request(_CONNECT, "connect", params))
            elif isinstance(frame, GatewayResponse) and frame.id == _CONNECT:
                return _hello(url, frame), lines[at + 1 :]


def _hello(url: str, answer: GatewayResponse) -> Hello:
    if not answer.ok:
        fault = answer.error or Fault("UNKNOWN")
        raise _StillStarting(fault) if is_starting(fault) else refused(url, fault)
    try:
        return structure(answer.payload, Hello)
    except ShapeError as error:
        raise ConnectFailed(url, f"the gateway's hello is not what it documents: {error}") from error
