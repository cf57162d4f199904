"""A value that can be waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

import trio

__all__ = ["Changes", "Watched"]

T = TypeVar("T")


class Watched(Generic[T]):
    """Holds one value; whoever waits sees its changes.

    A watcher sees the newest value, not each one: what was there only while it did something else, it does not see.
    """

    def __init__(self, value: T) -> None:
        self._value = value
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"<Watched {self._value!r}>"

    @property
    def value(self) -> T:
        """The value of now."""
        return self._value

    def set(self, value: T) -> None:
        """Change it. Nothing happens when it is the same."""
        if value != self._value:
            self._value = value
            changed, self._changed = self._changed, trio.Event()
            changed.set()

    async def wait_for(self, condition: Callable[[T], bool]) -> T:
        """Wait until the value meets the condition; return it."""
        await trio.lowlevel.checkpoint()
        while not condition(self._value):
            await self._changed.wait()
        return self._value

    def changes(self) -> Changes[T]:
        """The value of now, then each that it changes to, for ever."""
        return Changes(self)


class Changes(Generic[T]):
    """Iterates the values of a :class:`Watched`. An object, not a generator: a reader may just walk away."""

    def __init__(self, watched: Watched[T]) -> None:
        self._watched = watched
        self._seen: list[T] = []  # the last one, if any

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        value = await self._watched.wait_for(lambda value: [value] != self._seen)
        self._seen = [value]
        return value
