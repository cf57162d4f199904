"""Clients that are connected to the instances of a plan over links that drop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import orjson
import trio

from ..abc import Closing
from ..client import PiClient
from ..client.connection import Connection
from ..client.gate import Gate
from ..client.remote import hold_connection
from ..concurrency import open_service_nursery
from ..errors import ClientError, ConnectFailed, ConnectionLost
from ..lifecycle import TERMINAL, Backoff, ReconnectPolicy
from ..protocol import decode_line
from ..supervisor import Instance
from .far_end import FarEnd
from .link import SimLink
from .plans import Ask, Connect, CutOff, Drop
from .trace import (
    AskEnded,
    AskStarted,
    Connected,
    ConnectionHeard,
    FarCut,
    FaultActed,
    LinkOpened,
    LinkRefused,
    Record,
)
from .world import Cut, FaultsFor, Way

__all__ = ["RECONNECTION", "Remotes"]

RECONNECTION = Backoff(base=0.1, cap=0.8, jitter=0.2)
"""How long a client waits before each attempt to connect again."""
_GREETING_TIMEOUT = 5.0
_NEVER_BEHIND = 1 << 40
# The links of members are numbered from here, beside those of a plan's connections.
_FIRST_OF_MEMBERS = 1000


@attrs.define(eq=False)
class _Remote:
    """One client, and its link of the moment."""

    number: int
    far_end: FarEnd
    client: PiClient
    connection: Connection | None = None
    link: SimLink | None = None
    links: int = 0
    unreachable_until: float = 0.0


class Remotes:
    """Connects, drops and asks, and takes down what comes of it."""

    def __init__(
        self, seed: int, record: Record, start_soon: Callable[..., object], faults: Callable[[], FaultsFor]
    ) -> None:
        self._seed = seed
        self._faults = faults  # those of the moment
        self._record = record
        self._start_soon = start_soon
        self._remotes: list[_Remote] = []
        self._far_ends: dict[str, FarEnd] = {}
        self._asked = 0
        self._opened = 0

    def connect(self, step: Connect, instance: Instance) -> None:
        """Connect another client to an instance."""
        client = PiClient(f"remote {len(self._remotes) + 1}", gate=Gate(places=step.places, patience=step.patience))
        remote = _Remote(len(self._remotes) + 1, self._far_end(instance), client)
        self._remotes.append(remote)
        remote.connection = Connection(
            client,
            lambda: self._open_link(remote),
            policy=ReconnectPolicy(attempts=step.attempts, backoff=RECONNECTION),
            greeting_timeout=_GREETING_TIMEOUT,
        )
        now = trio.current_time()
        self._record(Connected(now, remote.number, instance.id, step.attempts, step.places, step.patience))
        self._start_soon(self._read, remote)
        self._start_soon(remote.connection.run)

    def _far_end(self, instance: Instance) -> FarEnd:
        if instance.id not in self._far_ends:
            self._far_ends[instance.id] = FarEnd(instance)
            self._start_soon(self._far_ends[instance.id].serve)
        return self._far_ends[instance.id]

    def drop(self, step: Drop) -> None:
        """Let a connection drop."""
        if self._remotes:
            remote = self._remotes[step.connection % len(self._remotes)]
            remote.unreachable_until = trio.current_time() + step.seconds
            if remote.link is not None:
                remote.link.end(Closing(1006, "dropped"))

    def cut_off(self, step: CutOff, instance: Instance) -> None:
        """Let nobody get to an instance for a while."""
        far_end = self._far_end(instance)
        far_end.unreachable_until = trio.current_time() + step.seconds
        self._record(FarCut(trio.current_time(), instance.id, far_end.unreachable_until))
        far_end.drop_all()

    @asynccontextmanager
    async def open_member(self, instance: Instance) -> AsyncIterator[PiClient]:
        """A client to an instance that was found, for the body."""
        self._opened += 1
        number = _FIRST_OF_MEMBERS + self._opened
        client = PiClient(f"member {self._opened}")
        remote = _Remote(number, self._far_end(instance), client)
        connection = Connection(
            client,
            lambda: self._open_link(remote),
            policy=ReconnectPolicy(attempts=2, backoff=RECONNECTION),
            greeting_timeout=_GREETING_TIMEOUT,
        )
        async with hold_connection(client, connection):
            yield client

    def close(self) -> None:
        """The plan is over."""
        for remote in self._remotes:
            if remote.connection is not None:
                remote.connection.cancel()

    def client(self, connection: int) -> tuple[int, str, PiClient] | None:
        """The number of this connection, which instance it is to, and the client that has it."""
        if not self._remotes:
            return None
        remote = self._remotes[connection % len(self._remotes)]
        return remote.number, remote.far_end.instance.id, remote.client

    async def ask(self, step: Ask) -> None:
        """Send one request over a connection."""
        if not self._remotes:
            return
        remote = self._remotes[step.connection % len(self._remotes)]
        self._asked += 1
        number, mark = self._asked, f"<a{self._asked}>"
        self._record(AskStarted(trio.current_time(), number, remote.number, mark, step.timeout))
        outcome, uncertain = "ok", None
        try:
            await remote.client.request("get_state", {"mark": mark}, timeout=step.timeout)
        except trio.Cancelled:
            outcome = "cancelled"
            raise
        except Exception as error:
            outcome, uncertain = type(error).__name__, error.uncertain if isinstance(error, ConnectionLost) else None
        finally:
            self._record(AskEnded(trio.current_time(), number, outcome, uncertain))

    async def _read(self, remote: _Remote) -> None:
        with suppress(trio.EndOfChannel, ClientError):
            subscription: Any = remote.client.subscribe(capacity=_NEVER_BEHIND)._subscription
            while True:
                for item in await subscription.receive_batch():
                    text = None if not isinstance(item, bytes | dict) else _text(item)
                    away = getattr(item, "away", None)
                    self._record(ConnectionHeard(trio.current_time(), remote.number, text, away))

    # --- the far end ------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _open_link(self, remote: _Remote) -> AsyncIterator[SimLink]:
        await trio.lowlevel.checkpoint()
        final = remote.far_end.instance.state in TERMINAL
        if final or trio.current_time() < max(remote.unreachable_until, remote.far_end.unreachable_until):
            self._record(LinkRefused(trio.current_time(), remote.number, final))
            raise ConnectFailed("ws://far", "nobody is there", final=final)
        remote.links += 1
        seed = self._seed * 1_000_003 + remote.number * 1009 + remote.links
        link = SimLink(
            remote.number,
            self._record,
            seed,
            lambda record: remote.far_end.arrived(link, record),
            self._cutter(remote.far_end.instance.id, remote.links),
        )
        self._record(LinkOpened(trio.current_time(), remote.number))
        travelling = trio.CancelScope()

        async def travel() -> None:
            with travelling:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(link.carry)

        async def stop(_: BaseException | None) -> None:
            remote.link = None
            remote.far_end.dismiss(link)
            link.end(Closing(1006, "closed from here"))
            travelling.cancel()

        async with open_service_nursery(stop) as service:
            service.start_soon(travel)
            remote.link = link
            remote.far_end.admit(link)
            yield link

    def _cutter(self, instance: str, number: int) -> Callable[[Way, int, int], Cut | None]:
        faults = self._faults()(instance, number)

        def cut(way: Way, record: int, end: int) -> Cut | None:
            for fault in faults:
                if (where := fault.cut(way, record, end)) is not None:
                    self._record(FaultActed(trio.current_time(), instance, number, repr(fault)))
                    return where
            return None

        return cut


def _text(item: bytes | dict[str, Any]) -> str:
    record = decode_line(item) if isinstance(item, bytes) else item
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS).decode()
