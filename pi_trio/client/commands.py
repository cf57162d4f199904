"""Pi's commands, under Pi's own names (its ``docs/rpc-commands.md``), and what is easily made of them.

By subject: :mod:`.prompting`, :mod:`.models`, :mod:`.sessions`. Each method sends one command, returns what came back
as a frozen value that keeps Pi's record in ``raw``, and raises as :meth:`~pi_trio.client.PiClient.request`.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from ..errors import ConnectionLost, ProcessExited
from .models import ModelCommands
from .prompting import PromptCommands
from .sessions import SessionCommands

__all__ = ["Commands"]


class Commands(PromptCommands, ModelCommands, SessionCommands):
    """All of them."""

    async def heartbeat(
        self, *, period: float = 30.0, timeout: float = 10.0, on_beat: Callable[[float], None] = lambda _: None
    ) -> None:
        """Ask Pi for a sign of life every ``period`` seconds, until cancelled; tell ``on_beat`` how long each took.

        It keeps a connection in use, and finds out that there is nobody at the other end any more: run it in a nursery,
        which its error then ends. Over a pipe the supervisor does that already (``InstanceSpec.health``). A Pi that is
        being started again is given ``timeout`` seconds for it.

        Raises:
            RequestTimeout: no answer within ``timeout`` seconds.
            ProcessExited, ConnectionClosed: Pi is gone, and will not come back.
        """
        while True:
            started = trio.current_time()
            try:
                await self.get_state(timeout=timeout)
            except (ProcessExited, ConnectionLost):  # gone in the middle of a beat: another may take its place
                await self.get_state(timeout=timeout)
            on_beat(trio.current_time() - started)
            await trio.sleep(period)
