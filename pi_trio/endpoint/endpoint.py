"""An instance as ``ws://127.0.0.1:port``: another door to the same agent."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Sequence
from contextlib import suppress

import attrs
import trio
from trio_websocket import WebSocketConnection

from ..client import Reconnected
from ..client.greeting import POSITION
from ..concurrency import Lagged, Subscription
from ..errors import ConnectionClosed
from ..process import ListeningSocket
from ..protocol import DIALOG_METHODS, Item, Record
from ..supervisor import Instance
from .access import Access, FailureLimit, Tickets
from .config import EndpointConfig
from .conversation import Conversation, Undecided
from .dialect import Dialect
from .dialogs import Dialogs
from .door import BATCH, COUNTED, DIALECT, Admitted, Door, hosts_of
from .peer import CloseCode, Peer
from .reception import Reception
from .records import Records
from .said import Said
from .stream import PeerStream

__all__ = ["Endpoint", "EndpointStatistics"]

_log = logging.getLogger("pi_trio.endpoint")


@attrs.frozen
class EndpointStatistics:
    """What an endpoint has done so far."""

    peers: int
    """Connected now."""
    admitted: int
    """Peers so far, those that left included."""
    refused: int
    """Requests that were refused before they became peers."""
    dropped: int
    """Peers that did not read, and had to go."""
    waiting_bytes: int
    """What waits for peers to read it now, each peer's share counted in full."""


class Endpoint:
    """Serves one instance to peers, for as long as its client lives. Made by its runtime, which runs :meth:`serve`."""

    def __init__(
        self,
        instance: Instance,
        listening: ListeningSocket,
        config: EndpointConfig,
        *,
        access: Access,
        tickets: Tickets,
        limit: FailureLimit,
    ) -> None:
        self._instance = instance
        self._name = instance.id
        self._client = client = instance.client
        self._listening = listening
        self._config = config
        self._peers: dict[Peer, None] = {}
        hosts = None if listening.path is not None else hosts_of(config, listening.port)
        door = Door(config, hosts, access, tickets, limit)
        self._reception = Reception(
            self._name, door, tickets, config, full=lambda: len(self._peers) >= config.max_connections
        )
        self._accepting = trio.CancelScope()
        self._end: tuple[int, str] | None = None
        self._dialogs = Dialogs(self._who_answers_dialogs, catch_up=self._catch_up)
        self._admitted = self._dropped = 0
        self._subscription: Subscription[Item | Reconnected] = client.listen()
        client.dialog_fallback = self._dialogs.ask
        client.add_dialog_interceptor(self._dialogs.show_report, first=True)
        client.on_detached = self._pi_left
        self._run_goes_on = False
        self._count_id = secrets.token_hex(8)
        self._shown = 0

    def __repr__(self) -> str:
        return f"<Endpoint {self.url} {len(self._peers)} peers>"

    @property
    def url(self) -> str:
        """Where peers connect: ``ws://127.0.0.1:8123``; for a UNIX socket ``ws+unix://`` and its path."""
        if self._listening.path is not None:
            return f"ws+unix://{self._listening.path}"
        return f"{'ws' if self._config.ssl_context is None else 'wss'}://{self._listening}"

    @property
    def port(self) -> int:
        """Its TCP port; 0 for a UNIX socket."""
        return self._listening.port

    def statistics(self) -> EndpointStatistics:
        """What it has done so far, in one frozen value."""
        return EndpointStatistics(
            peers=len(self._peers),
            admitted=self._admitted,
            refused=self._reception.refused,
            dropped=self._dropped,
            waiting_bytes=sum(peer.waiting_bytes for peer in self._peers),
        )

    # --- its life ----------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Take peers in when Pi is ready for the first time; end with the client, and tell the peers why."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._accept_when_ready)
                self._end = await self._pass_on()
                self.release()
                self._reception.cut_off()
                for peer in self._peers:
                    peer.close(*self._end)
            # Behind here every connection is gone: each has a deadline.
        finally:
            self._subscription.close()  # one that nobody reads would hold Pi up
            self.release()

    def release(self) -> None:
        """Take no more connections, and give the address back. Idempotent; never blocks. Peers stay."""
        self._accepting.cancel()
        self._listening.close()

    async def _pass_on(self) -> tuple[int, str]:
        """Show peers what Pi says, until the client is closed; return how to tell them."""
        try:
            while True:
                self._show(await self._subscription.receive_batch())
        except trio.EndOfChannel:
            return CloseCode.GOING_AWAY, f"{self._name} was stopped"
        except ConnectionClosed as error:
            return CloseCode.INSTANCE_FAILED, str(error).partition("\n")[0]

    def _pi_left(self, why: ConnectionClosed) -> None:
        """Whoever follows a run waits for its end, which Pi cannot tell any more. So they are told here."""
        self._catch_up()
        over: Record = {"type": "agent_settled", "aborted": True, "error": str(why)}
        if self._run_goes_on or self._dialogs.somebody_has_the_run:
            self._show([over])
        elif (peer := self._dialogs.may_have_the_run) is not None:
            peer.show(Said([over]))  # not counted: the others are not shown it
        self._dialogs.settled()

    def _catch_up(self) -> None:
        if items := self._subscription.receive_batch_nowait():
            self._show(items)

    def _show(self, items: Sequence[Item | Reconnected | Lagged]) -> None:
        said = Said([item for item in items if not isinstance(item, Lagged | Reconnected) and self._is_for_all(item)])
        self._shown += len(said.items)
        if said:
            for peer in self._peers:
                peer.show(said)

    def _is_for_all(self, item: Item) -> bool:
        """Whether every peer gets to see it. A dialog is put to whom it concerns, if the host has nothing to say."""
        if isinstance(item, dict):
            kind = item.get("type")
            if kind == "agent_start":
                self._run_goes_on = True
                self._dialogs.began()
            elif kind == "agent_settled":
                self._run_goes_on = False
                self._dialogs.settled()
            elif kind == "extension_ui_request":
                return item.get("method") not in DIALOG_METHODS
        return True

    def _who_answers_dialogs(self) -> Collection[Peer]:
        return [peer for peer in self._peers if peer.answers_dialogs]

    # --- peers -------------------------------------------------------------------------------------------

    async def _accept_when_ready(self) -> None:
        try:
            await self._client.wait_ready()
        except ConnectionClosed:
            return
        async with trio.open_nursery() as nursery:
            with self._accepting, suppress(trio.ClosedResourceError):
                # Connections run in a nursery of ours, for they outlive the accepting.
                await trio.serve_listeners(self._receive, [self._listening.listener], handler_nursery=nursery)

    async def _receive(self, stream: trio.SocketStream) -> None:
        await self._reception.receive(stream, self._welcome)

    async def _welcome(self, socket: WebSocketConnection, stream: PeerStream, admitted: Admitted) -> None:
        self._admitted += 1
        peer = Peer(
            f"{self._name} peer {self._admitted}",
            socket,
            stream,
            self._config,
            scope=admitted.scope,
            batching=admitted.subprotocol in (BATCH, COUNTED),
            wants_events=admitted.events,
        )
        peer.conversation = self._conversation_with(peer, admitted.subprotocol)
        if self._end is not None:
            peer.close(*self._end)
        if admitted.subprotocol == COUNTED:
            self._catch_up()  # what comes from here on, it is shown
            peer.send({"type": POSITION, "of": self._count_id, "shown": self._shown})
        self._peers[peer] = None
        _log.info("%s: connected, may %s", peer.name, peer.scope)
        try:
            await peer.run()
        finally:
            del self._peers[peer]
            self._dialogs.left(peer)
            if peer.why_closed is not None and peer.why_closed[0] == CloseCode.TRY_AGAIN_LATER:
                self._dropped += 1
            _log.info("%s: disconnected", peer.name)

    def _conversation_with(self, peer: Peer, subprotocol: str | None) -> Conversation:
        def records() -> Conversation:
            return Records(
                peer,
                self._client,
                self._dialogs,
                catch_up=self._catch_up,
                max_in_flight=self._config.max_in_flight,
                request_timeout=self._instance.spec.request_timeout,
            )

        def dialect() -> Conversation:
            return Dialect(peer, self._instance, max_in_flight=self._config.max_in_flight)

        if subprotocol is None:
            return Undecided(records, dialect, turned=lambda: self._dialogs.left(peer))
        return dialect() if subprotocol == DIALECT else records()
