"""What the commands need of the client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from ..protocol import Record

__all__ = ["UNSET", "Requester", "Unset"]


class Unset:
    """The type of a time-out that was not given: the client's default applies."""


UNSET = Unset()


class Requester(ABC):
    """Sends a command, and gives back what Pi answers."""

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether there is a Pi that is ready for requests; if not, they wait."""

    @abstractmethod
    async def request(
        self,
        command: str,
        params: Record | None = None,
        *,
        timeout: float | Unset | None = UNSET,
        on_response: Callable[[Record], None] | None = None,
    ) -> Any:
        """See :meth:`pi_trio.client.PiClient.request`."""

    @abstractmethod
    async def _let_prompt_arrive(self) -> None:
        """Before Pi leaves its session: what it has not taken by then is lost."""

    @abstractmethod
    async def _refresh(self) -> None:
        """Learn what Pi is like now: one that takes over for it has to be like that."""
