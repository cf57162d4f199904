"""The runtime's end of a control socket: what a keeper has said so far, and waiting for more."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable
from typing import Any

import attrs
import trio

from .helper.messages import Lines, encode, say

__all__ = ["Control", "Identity"]

_log = logging.getLogger("pi_trio.process")

_RECEIVE_BYTES = 65536


@attrs.frozen
class Identity:
    """Names one process for ever: pids are reused."""

    pid: int
    started: int
    """In clock ticks since boot."""


class Control:
    """Owns ``sock``. Any number of tasks may wait; one of them reads for all."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._lines = Lines()
        self._reading = False
        self._news = trio.lowlevel.ParkingLot()
        self._ended = False
        self.agent: Identity | None = None
        """The agent, once its program runs."""
        self.keeper: Identity | None = None
        self.refusal: tuple[int, str] | None = None
        """An ``errno`` and what the system did not take (``"program"``, ``"cwd"``), if the agent was not started."""
        self.exit: int | None = None
        """How the agent ended; negative for a signal."""
        self.empty = False
        """Whether nothing of the tree is left."""

    @property
    def lost(self) -> bool:
        """Whether there was no last word: neither the keeper nor the helper is there to say it."""
        return self._ended and not self.empty and self.refusal is None

    async def wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait until ``reached()``, or until nothing more can come. A cancelled call loses nothing.

        Raises:
            trio.ClosedResourceError: this end was closed.
        """
        await trio.lowlevel.checkpoint()
        while not reached() and not self._ended:
            if self._reading:
                await self._news.park()
                continue
            self._reading = True
            try:
                await trio.lowlevel.wait_readable(self._open_socket())
                self._receive(self._open_socket())
            finally:
                self._reading = False
                self._news.unpark_all()  # it is their turn to read, or to see what was read

    def _open_socket(self) -> socket.socket:
        if self._sock.fileno() < 0:
            raise trio.ClosedResourceError("this tree was closed")
        return self._sock

    def _receive(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:  # the other end was closed with something of ours unread
            data = b""
        if not data:
            self._ended = True
        for message in self._lines.feed(data):
            self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if "started" in message:
            self.agent, self.keeper = Identity(*message["started"]), Identity(*message["keeper"])
        elif "refused" in message:
            self.refusal = (message["refused"], message["of"])
        elif "exit" in message:
            self.exit = message["exit"]
        elif "exits" in message and self.exit is None and self.agent is not None:
            self.exit = message["exits"].get(str(self.agent.pid))
        elif "empty" in message:
            self.empty = True
        elif "crashed" in message:
            _log.error("a keeper had an error, and is gone:\n%s", message["crashed"])

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message of any size. Cancelled, it may have been cut off: :meth:`hang_up` is all that is left.

        That nobody is there to take it is not an error here: :meth:`wait_until` tells.
        """
        data = memoryview(encode(message))
        while data:
            await trio.lowlevel.wait_writable(self._sock)
            try:
                data = data[self._sock.send(data, socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                continue
            except OSError:
                return

    def send_kill(self) -> None:
        """Ask for the end of the tree, now."""
        if self._sock.fileno() >= 0:
            say(self._sock, {"kill": True})

    def hang_up(self) -> None:
        """Say that nothing more will come. What is said by the other side can still be read."""
        self._shut_down(socket.SHUT_WR)

    def close(self) -> None:
        """Close this end. Whatever is left of the tree, its keeper ends. Idempotent."""
        if self._sock.fileno() >= 0:
            # Closing alone would not do: a fork()ed child of this program may hold it open.
            self._shut_down(socket.SHUT_RDWR)
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
            self._news.unpark_all()

    def _shut_down(self, how: int) -> None:
        try:
            self._sock.shutdown(how)
        except OSError:
            pass  # the other end is closed already

    def refused(self, program: str, cwd: str) -> OSError | None:
        """The error to raise for the refusal, the same that starting it directly would have raised."""
        if self.refusal is None:
            return None
        number, of = self.refusal
        return OSError(number or errno.EIO, os.strerror(number or errno.EIO), cwd if of == "cwd" else program)
