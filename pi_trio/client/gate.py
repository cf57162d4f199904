"""Where requests wait for a Pi that is ready."""

from __future__ import annotations

import math

import trio

from ..errors import ConnectionLost, RequestTimeout

__all__ = ["Gate"]


class Gate:
    """Open while there is a Pi to talk to, and when there never will be one again; in between, requests wait here.

    At most ``places`` of them, and each at most ``patience`` seconds, whatever its own time-out is.
    """

    def __init__(self, *, places: float = math.inf, patience: float = math.inf) -> None:
        self._places = places
        self._patience = patience
        self._opened = trio.Event()
        self._waiting = 0

    @property
    def is_open(self) -> bool:
        """Whether nobody has to wait."""
        return self._opened.is_set()

    def open(self) -> None:
        """Let them through. Idempotent."""
        self._opened.set()

    def shut(self) -> None:
        """Let them wait. Idempotent."""
        if self._opened.is_set():
            self._opened = trio.Event()

    async def wait(self, command: str, timeout: float | None) -> None:
        """Wait until it is open, at most ``timeout`` seconds.

        Raises:
            RequestTimeout: it was not, in that time.
            ConnectionLost: nor within the gate's own patience, or too many wait already.
        """
        if self._waiting >= self._places:
            raise ConnectionLost(f"{self._waiting} requests wait for another already", uncertain=False)
        own = math.inf if timeout is None else timeout
        self._waiting += 1
        try:
            with trio.move_on_after(min(own, self._patience)) as scope:
                while not self._opened.is_set():  # one that was shut again has another event
                    await self._opened.wait()
        finally:
            self._waiting -= 1
        if scope.cancelled_caught:
            if own <= self._patience:
                raise RequestTimeout(command, own)
            raise ConnectionLost(f"there was no other within {self._patience:g} s", uncertain=False)
