"""One program at the other end of one WebSocket."""

from __future__ import annotations

import logging
from typing import Final

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from ..errors import ProtocolError
from ..protocol import Record, encode_record
from .config import EndpointConfig
from .conversation import Conversation
from .frames import text_frame, well_formed
from .outbox import Outbox
from .said import Said
from .scope import Scope
from .stream import PeerStream

__all__ = ["CloseCode", "Peer"]

_log = logging.getLogger("pi_trio.endpoint")


class CloseCode:
    """Why a connection was closed (RFC 6455, section 7.4)."""

    NORMAL: Final = 1000
    GOING_AWAY: Final = 1001
    """The instance was stopped."""
    UNSUPPORTED: Final = 1003
    """A binary message."""
    TRY_AGAIN_LATER: Final = 1013
    """The peer did not read, and too much was waiting for it."""
    INSTANCE_FAILED: Final = 4000
    """The instance is over, though nobody stopped it; the reason says why."""


def _shallow(record: Record) -> Record:
    """Its fields that hold nothing else: what is too deep for an encoder is not among them."""
    return {name: value for name, value in record.items() if not isinstance(value, dict | list)}


class Peer:
    """Owns its connection while :meth:`run` runs: a task that always receives, one that sends, one that pings.

    So it is never waited for: what comes is dealt with at once, and what goes is queued. A queue that is full ends it.
    """

    def __init__(
        self,
        name: str,
        socket: WebSocketConnection,
        stream: PeerStream,
        config: EndpointConfig,
        *,
        scope: Scope,
        batching: bool,
        wants_events: bool,
    ) -> None:
        self.name = name
        """For people, such as ``"pi-1 peer 3"``."""
        self.scope = scope
        """What it may do."""
        self.batching = batching
        """Whether it takes several records in one message."""
        self.wants_events = wants_events
        """Whether it wants to see what Pi does."""
        self.conversation: Conversation | None = None
        """What it speaks: set by whoever made it, before :meth:`run`."""
        self.why_closed: tuple[int, str] | None = None
        """The code and the reason that it was closed with from this side."""
        self._socket = socket
        self._stream = stream
        self._config = config
        self._outbox = Outbox(config.outbox_bytes)
        self._scope = trio.CancelScope()

    def __repr__(self) -> str:
        state = "closing" if self.why_closed else "open"
        return f"<Peer {self.name} {self.scope} {state} {self._outbox.waiting_bytes} bytes waiting>"

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be sent to it."""
        return self._outbox.waiting_bytes

    @property
    def answers_dialogs(self) -> bool:
        """Whether dialogs may be put to it."""
        return self.conversation is not None and self.why_closed is None and self.conversation.answers_dialogs

    # --- from other tasks: none of these block -----------------------------------------------------------

    def show(self, said: Said) -> None:
        """Let it know what Pi said to all."""
        if self.conversation is not None:
            self.conversation.show(said)

    def send(self, record: Record) -> None:
        """Queue one record. What has no form in JSON becomes a failure: a peer that waits for an answer gets one."""
        try:
            line = encode_record(record)
        except ProtocolError as error:
            _log.warning("%s: %s", self.name, error)
            line = encode_record({**_shallow(record), "success": False, "error": str(error)})
        self.send_frames(text_frame(line) if self.batching else text_frame(line[:-1]))

    def send_line(self, line: bytes) -> None:
        """Queue one record that is a line already, but for its line end."""
        if not line.isascii():
            line = well_formed(line)
        self.send_frames(text_frame(line + b"\n") if self.batching else text_frame(line))

    def send_frames(self, frames: bytes) -> None:
        """Send whole frames, or queue them. A peer for whom too much is waiting is dropped."""
        if self._outbox.idle and self._socket.closed is None and self._stream.send_nowait(frames):
            if self._stream.unfinished:
                self._outbox.put(b"")  # wakes the task that finishes it
        elif not self._outbox.put(frames) and self.why_closed is None:
            _log.warning("%s: dropped, %d bytes are waiting for it", self.name, self._outbox.waiting_bytes)
            # What it has not begun to read is lost: it shall know that, rather than find a gap.
            self._outbox.close(drop=True)
            self._close(CloseCode.TRY_AGAIN_LATER, "too slow", self._config.ping_timeout)

    def ask(self, dialog: Record) -> None:
        """Put a dialog to it."""
        if self.conversation is not None:
            self.conversation.ask(dialog)

    def close(self, code: int, reason: str) -> None:
        """Say goodbye behind what is queued, within ``close_timeout``. The first call counts."""
        if self.why_closed is None:
            self._outbox.close()
            self._close(code, reason, self._config.close_timeout)

    def _close(self, code: int, reason: str, patience: float) -> None:
        self.why_closed = (code, reason)
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + patience)

    # --- its tasks ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Talk, until one side closes the connection. Cancelled, it is cut off."""
        conversation = self.conversation
        assert conversation is not None, "a peer speaks something"
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._ping)
                nursery.start_soon(conversation.run)
                async with trio.open_nursery() as talking:
                    talking.start_soon(self._send_all)
                    await self._receive_all(conversation)
                    if self.why_closed is None:  # else the goodbye is on its way
                        talking.cancel_scope.cancel()
                nursery.cancel_scope.cancel()

    async def _receive_all(self, conversation: Conversation) -> None:
        shortcut = self._stream.shortcut

        def take(text: bytes) -> bool:
            if not text.isascii():
                try:
                    text.decode()
                except UnicodeDecodeError:
                    return False  # whoever gets it knows what to say
            conversation.take(text)
            return True

        shortcut.on_text = take
        try:
            while True:
                message = await self._socket.get_message()
                if isinstance(message, str):
                    conversation.take(message.encode())
                    shortcut.taken()
                else:
                    self.close(CloseCode.UNSUPPORTED, "text messages are wanted")
        except ConnectionClosed as error:
            _log.debug("%s: closed: %s", self.name, error.reason)

    async def _send_all(self) -> None:
        try:
            while True:
                frames = await self._outbox.take()
                if self._socket.closed is not None:
                    return  # nothing may follow a closing frame
                await self._stream.send_all(frames)
        except trio.EndOfChannel:
            code, reason = self.why_closed or (CloseCode.NORMAL, "")
            await self._socket.aclose(code, reason)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # whoever reads finds that, too

    async def _ping(self) -> None:
        try:
            while True:
                await trio.sleep(self._config.ping_period)
                with trio.move_on_after(self._config.ping_timeout) as patience:
                    await self._socket.ping()
                if patience.cancelled_caught:
                    _log.info("%s: dropped, it does not answer pings", self.name)
                    self._scope.cancel()
        except ConnectionClosed:
            pass
