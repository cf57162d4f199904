"""What one more instance takes: private memory of everything that was started, and growth of this process."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import attrs

from pi_trio import open_runtime
from pi_trio.launch import find_pi
from pi_trio.process.procfs import descendants, list_processes

from .bare import BarePi
from .comparison import Comparison, Measure
from .pi import open_spec

__all__ = ["MEMORY"]


@attrs.frozen
class _Footprint:
    """Bytes, from ``/proc/<pid>/smaps_rollup``."""

    private: int = 0
    """Not shared with any other process."""
    pss: int = 0
    """The same, and of what is shared the process's part."""

    def __add__(self, other: _Footprint) -> _Footprint:
        return _Footprint(self.private + other.private, self.pss + other.pss)

    def __sub__(self, other: _Footprint) -> _Footprint:
        return _Footprint(self.private - other.private, self.pss - other.pss)


def _footprint(pid: int) -> _Footprint:
    sizes: dict[str, int] = {}
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file.readlines()[1:]:
                name, size, _ = line.split()
                sizes[name] = int(size) * 1024
    except OSError:
        return _Footprint()  # a process that ended meanwhile
    return _Footprint(sizes["Private_Clean:"] + sizes["Private_Dirty:"], sizes["Pss:"])


def _taken() -> tuple[_Footprint, _Footprint]:
    """By this process, and by everything that descends from it."""
    ours = os.getpid()
    theirs = (_footprint(pid) for pid in descendants(ours, list_processes()))
    return _footprint(ours), sum(theirs, _Footprint())


async def _growth(count: int, start: Callable[[], Awaitable[object]]) -> tuple[_Footprint, _Footprint]:
    """What ``count`` starts add to this process and to its descendants, in all."""
    own_before, children_before = _taken()
    for _ in range(count):
        await start()
    own, children = _taken()
    return own - own_before, children - children_before


async def _measure(quick: bool) -> list[Comparison]:
    count = 2 if quick else 8
    bares: list[BarePi] = []
    with open_spec() as spec:
        install = await find_pi()

        async def start_bare() -> None:
            bares.append(BarePi(install, spec))
            bares[-1].get_state()

        try:
            # One of each first: what is imported and cached once is nobody's share.
            await start_bare()
            bare_own, bare_children = await _growth(count, start_bare)
        finally:
            for bare in bares:
                bare.close()
        async with open_runtime() as runtime:
            await runtime.spawn(spec)
            own, children = await _growth(count, lambda: runtime.spawn(spec))

    def line(measure: str, unit: str, ours: float, baseline: float) -> Comparison:
        ratio = ours / baseline if baseline > 0 else None
        return Comparison(measure, unit, ours / count, baseline / count, ratio)

    mib, kib = 2.0**20, 2.0**10
    return [
        line("memory of an instance, private", "MiB", children.private / mib, bare_children.private / mib),
        line("memory of an instance, PSS", "MiB", children.pss / mib, bare_children.pss / mib),
        line("growth of this process an instance", "KiB", own.private / kib, bare_own.private / kib),
    ]


MEMORY = Measure("memory", _measure)
