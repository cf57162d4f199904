"""The Pi that is measured, and a place for it to run in."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from pi_trio import Instance, InstanceSpec, Runtime, open_runtime
from pi_trio.launch import PiInstall, find_pi

from .bare import BarePi

__all__ = ["both", "open_spec"]


@contextmanager
def open_spec(pi: Path | None = None) -> Iterator[InstanceSpec]:
    """What ours and the baseline launch alike: no network, no session file, nobody's configuration.

    Named by ``pi``, or the Pi that ``PI_TRIO_PI`` names or that is installed.
    """
    with tempfile.TemporaryDirectory(prefix="pi-trio-benchmark-") as folder:
        os.mkdir(agent_folder := os.path.join(folder, "agent"))
        env = {"PI_CODING_AGENT_DIR": agent_folder, "PI_OFFLINE": "1", "PI_TELEMETRY": "0"}
        yield InstanceSpec(pi=pi, cwd=folder, env=env, ephemeral=True)


@asynccontextmanager
async def both(spec: InstanceSpec) -> AsyncIterator[tuple[Runtime, Instance, PiInstall, BarePi]]:
    """Two Pis side by side, both ready: one of ours and a bare one."""
    install = await find_pi(spec.pi)
    bare = BarePi(install, spec)
    try:
        bare.get_state()
        async with open_runtime() as runtime:
            yield runtime, await runtime.spawn(spec), install, bare
    finally:
        bare.close()
