"""Pi's commands, under Pi's own names (its ``docs/rpc-commands.md``), and what is easily made of them.

By subject: :mod:`.prompting`, :mod:`.models`, :mod:`.sessions`. Each method sends one command, returns what came back
as a frozen value that keeps Pi's record in ``raw``, and raises as :meth:`~pi_trio.client.PiClient.request`.
"""

from __future__ import annotations

from .models import ModelCommands
from .prompting import PromptCommands
from .sessions import SessionCommands

__all__ = ["Commands"]


class Commands(PromptCommands, ModelCommands, SessionCommands):
    """All of them."""
