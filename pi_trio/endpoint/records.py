"""Pi's own records, spoken with one peer: what it sends goes to Pi, answers and events come back."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial

import attrs
import trio

from ..client import PiClient
from ..client.forwarding import failure_of
from ..client.requests import ForwardedRequest
from ..errors import ClientError, ProtocolError, RequestTimeout
from ..protocol import MalformedRecord, Record, decode_line
from .conversation import Conversation
from .dialogs import Dialogs
from .peer import Peer
from .said import Said
from .scope import Scope, scope_of

__all__ = ["Records"]


@attrs.define(eq=False)
class _Request:
    """A command of the peer's, until it is answered."""

    command: Record
    deadline: float = math.inf
    """Until when it waits for a Pi that takes it, if it has to."""
    forwarded: ForwardedRequest | None = None


class Records(Conversation):
    """Every peer has ids of its own: Pi never sees them, so they cannot collide.

    Commands reach Pi in the order in which they came, also those that had to wait for a Pi to be there.
    """

    def __init__(
        self,
        peer: Peer,
        client: PiClient,
        dialogs: Dialogs,
        *,
        catch_up: Callable[[], None],
        max_in_flight: int,
        request_timeout: float,
    ) -> None:
        """``catch_up`` shows every peer what Pi has said so far; ``request_timeout``: how long a command waits while
        there is no Pi.
        """
        self._peer = peer
        self._client = client
        self._dialogs = dialogs
        self._catch_up = catch_up
        self._max_in_flight = max_in_flight
        self._request_timeout = request_timeout
        self._requests: set[_Request] = set()
        self._waiting: deque[_Request] = deque()
        self._somebody_waits = trio.Event()

    # --- to the peer -----------------------------------------------------------------------------------

    @property
    def answers_dialogs(self) -> bool:
        """Whether it may, and listens."""
        return self._peer.scope >= Scope.PROMPT and self._peer.wants_events

    def show(self, said: Said) -> None:
        """See :class:`Conversation`."""
        if self._peer.wants_events:
            self._peer.send_frames(said.frames(batching=self._peer.batching))

    def ask(self, dialog: Record) -> None:
        """See :class:`Conversation`."""
        self._peer.send(dialog)

    # --- from the peer ---------------------------------------------------------------------------------

    def take(self, message: bytes) -> None:
        """One record, or several, each on a line."""
        if self._peer.batching:
            for line in message.split(b"\n"):
                self._take_line(line)
        else:
            self._take_line(message)

    def _take_line(self, line: bytes) -> None:
        command = decode_line(line)
        if isinstance(command, MalformedRecord):
            if not line.strip():
                return  # a blank line is no record
            reason = f"Failed to parse command: {command.reason}"
            self._peer.send({"type": "response", "command": "parse", "success": False, "error": reason})
            return
        kind = command.get("type")
        needed = scope_of(kind) if isinstance(kind, str) else Scope.ADMIN
        if self._peer.scope < needed:
            if kind != "extension_ui_response":
                self._refuse(command, f"{kind} needs the scope {needed}; this connection has {self._peer.scope}")
        elif kind == "extension_ui_response":
            self._dialogs.answer(self._peer, command)
        elif len(self._requests) >= self._max_in_flight:
            self._refuse(command, f"{self._max_in_flight} requests are waiting for an answer already")
        else:
            self._submit(_Request(command))

    def _refuse(self, command: Record, reason: str) -> None:
        self._peer.send(failure_of(command, reason))

    def _submit(self, request: _Request) -> None:
        self._requests.add(request)
        if self._waiting or not self._forward(request):
            request.deadline = trio.current_time() + self._request_timeout
            self._waiting.append(request)
            self._somebody_waits.set()

    def _forward(self, request: _Request) -> bool:
        """Hand a command to Pi, or answer it. Not when there is no Pi that is ready."""
        is_prompt = request.command.get("type") == "prompt"
        try:
            request.forwarded = self._client.forward(
                request.command,
                partial(self._answered, request),
                deliver_line=None if is_prompt else partial(self._answered_with, request),
            )
        except trio.WouldBlock:
            return False
        except (ClientError, ProtocolError) as error:
            self._answered(request, failure_of(request.command, str(error)))
            return True
        if is_prompt:
            self._dialogs.prompting(self._peer)
        return True

    def _answered(self, request: _Request, response: Record) -> None:
        self._settle(request)
        if request.command.get("type") == "prompt":
            data = response.get("data")
            disposition = data.get("disposition") if isinstance(data, dict) else None
            # Pi takes a prompt without a streamingBehavior only when no run goes on.
            taken = response.get("success") is True and "streamingBehavior" not in request.command
            started = None if taken and disposition is None else taken and disposition == "started"
            self._dialogs.prompted(self._peer, started=started)
        self._peer.send(response)

    def _answered_with(self, request: _Request, line: bytes) -> None:
        self._settle(request)
        self._peer.send_line(line)

    def _settle(self, request: _Request) -> None:
        self._catch_up()  # events that came before the response go before it
        self._requests.discard(request)
        request.forwarded = None  # or they would keep each other alive until the garbage collector comes

    async def run(self) -> None:
        """Hand over what has to wait for a Pi; given up when the peer leaves, and what is under way, too."""
        try:
            while True:
                await self._somebody_waits.wait()
                while self._waiting:
                    await self._hand_over(self._waiting[0])
                    self._waiting.popleft()
                self._somebody_waits = trio.Event()
        finally:
            for request in self._requests:
                if request.forwarded is not None:
                    request.forwarded.give_up()

    async def _hand_over(self, request: _Request) -> None:
        while True:
            try:
                await self._client.wait_ready(timeout=max(0.0, request.deadline - trio.current_time()))
            except RequestTimeout:
                reason = f"no Pi was ready for it within {self._request_timeout:g} s"
                self._answered(request, failure_of(request.command, reason))
                return
            except ClientError as error:
                self._answered(request, failure_of(request.command, str(error)))
                return
            if self._forward(request):
                return
