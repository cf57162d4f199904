"""What the tests of the world share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs

from pi_trio.abc import ProcessCommand
from pi_trio.testing.trace import Misuse, Recorder, Trace
from pi_trio.testing.world import Program, SimTree, SimWorld, open_world
from tests.concurrency.virtual import run

__all__ = ["Stage", "play"]


@attrs.define(eq=False)
class Stage:
    """A world, and what happens in it."""

    world: SimWorld
    recorder: Recorder

    async def start(self, program: Program, **changes: Any) -> SimTree:
        """Run a program as an instance; whoever asks for it ends it."""
        self.world.kernel.programs["/program"] = program
        marker = {"PI_TRIO_INSTANCE": "a"}
        tree = await self.world.spawn(
            ProcessCommand(**{"argv": ("/program",), "cwd": "/", "env": {}, "marker": marker, **changes})
        )
        assert isinstance(tree, SimTree)
        return tree

    @asynccontextmanager
    async def running(self, program: Program, **changes: Any) -> AsyncIterator[SimTree]:
        """Run a program for the body, and end it as its owner has to."""
        tree = await self.start(program, **changes)
        try:
            yield tree
        finally:
            tree.kill_tree()
            await tree.wait_empty()
            tree.close()


def play(main: Callable[[Stage], Awaitable[None]], *, misuse: int = 0, **options: Any) -> Trace:
    """Run ``main`` in a world of its own; return what happened. There was exactly so much misuse."""
    recorder = Recorder()

    async def inside() -> None:
        async with open_world(record=recorder.record, **{"programs": {}, **options}) as world:
            await main(Stage(world, recorder))

    run(inside)
    trace = recorder.trace()
    found = list(trace.of(Misuse))
    assert len(found) == misuse, found
    return trace
