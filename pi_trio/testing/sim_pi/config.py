"""What a simulated Pi is like: its version, its model, what it keeps on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from ..model_server import ModelRequest, Script, Turn
from ..world import Program, System, shell
from .dialect import PI_0_87, Dialect
from .extension import ExtensionCommand, SimTool
from .messages import Json
from .program import PiProcess
from .session import SessionStore

__all__ = ["SimPi", "echo"]

# Pi's own `compaction.keepRecentTokens`; it takes four characters for a token.
_KEPT_TOKENS = 20_000


def echo(request: ModelRequest) -> Turn:
    """A model that repeats what it is asked."""
    return Turn(f"You said: {request.prompt}")


@attrs.define(eq=False, kw_only=True)
class SimPi:
    """A Pi to be installed in a world: ``open_world(programs={"/pi": SimPi(), ...})``. Called, it runs."""

    dialect: Dialect = PI_0_87
    script: Script = echo
    """What the model says: as for :func:`pi_trio.testing.open_model_server`, but nothing real may be awaited."""
    sessions: SessionStore = attrs.field(factory=SessionStore)
    """The session files, which outlive each process."""
    models: tuple[tuple[str, str], ...] = (("scripted", "scripted-1"), ("scripted", "scripted-2"))
    """The models it knows, by provider and id; the first is the one it uses unless it is told another."""
    extensions: Mapping[str, ExtensionCommand] = attrs.field(factory=dict)
    """Commands, by name."""
    tools: Mapping[str, SimTool] = attrs.field(factory=dict)
    """Tools beside ``bash``, by name."""
    shell: Program = shell
    """What runs shell commands."""
    max_retries: int = 2
    retry_delay: float = 0.01
    """Seconds before the first retry; twice as long before the second, and so on."""
    kept_tokens: int = _KEPT_TOKENS
    """How much of a conversation a compaction leaves as it is."""
    asked: int = attrs.field(default=0, init=False)
    """How many requests the model has had, from all processes."""

    async def __call__(self, system: System) -> int:
        """Run it as a process."""
        return await PiProcess(self, system).run()

    async def answer(self, model: str, conversation: Iterable[Json]) -> Turn:
        """What the scripted model says next."""
        request = ModelRequest(number=self.asked, model=model, messages=tuple(conversation), headers={}, body={})
        self.asked += 1
        if callable(self.script):
            turn = self.script(request)
            return turn if isinstance(turn, Turn) else await turn
        if request.number < len(self.script):
            return self.script[request.number]
        return Turn(f"The script has {len(self.script)} turns, and this is request {self.asked}.", status=400)
