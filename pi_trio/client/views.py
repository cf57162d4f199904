"""Ways to look at a stream of records: objects, not async generators, so that a reader may just walk away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["View"]

T = TypeVar("T")


class View(Generic[T]):
    """Iterates what ``take`` gives, until it gives ``None``. Made anew, it goes on where the last one stopped."""

    def __init__(self, take: Callable[[], Awaitable[T | None]]) -> None:
        self._take = take

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        item = await self._take()
        if item is None:
            raise StopAsyncIteration
        return item
