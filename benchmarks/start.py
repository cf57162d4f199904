"""From the spawn to the first response."""

from __future__ import annotations

from time import perf_counter

from pi_trio import open_runtime
from pi_trio.launch import find_pi

from .bare import BarePi
from .comparison import Bar, Comparison, Measure, compare, in_turn
from .pi import open_spec

__all__ = ["START"]

_BAR = Bar(1.05)


async def _measure(quick: bool) -> list[Comparison]:
    with open_spec() as spec:
        install = await find_pi()
        async with open_runtime() as runtime:

            async def ours() -> float:
                began = perf_counter()
                instance = await runtime.spawn(spec)
                took = perf_counter() - began
                await instance.stop()
                return took * 1e3

            def baseline() -> float:
                began = perf_counter()
                bare = BarePi(install, spec)
                try:
                    bare.get_state()
                    return (perf_counter() - began) * 1e3
                finally:
                    bare.close()

            mine, theirs = await in_turn(5 if quick else 25, ours, baseline)
    return [compare("spawn to first response", "ms", mine, theirs, _BAR)]


START = Measure("start", _measure)
