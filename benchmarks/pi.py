"""The Pi that is measured, and a place for it to run in."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from pi_trio import Instance, InstanceSpec, open_runtime
from pi_trio.launch import find_pi

from .bare import BarePi
from .placement import placed

__all__ = ["open_both", "open_spec"]


@contextmanager
def open_spec() -> Iterator[InstanceSpec]:
    """What ours and the baseline launch alike: no network, no session file, nobody's configuration."""
    with tempfile.TemporaryDirectory(prefix="pi-trio-benchmark-") as folder:
        os.mkdir(agent_folder := os.path.join(folder, "agent"))
        env = {"PI_CODING_AGENT_DIR": agent_folder, "PI_OFFLINE": "1", "PI_TELEMETRY": "0"}
        yield InstanceSpec(cwd=folder, env=env, ephemeral=True)


@asynccontextmanager
async def open_both(spec: InstanceSpec, *, apart: bool = True) -> AsyncIterator[tuple[Instance, BarePi]]:
    """Two Pis side by side, both ready: one of ours and a bare one. See :func:`placed` for ``apart``."""
    install = await find_pi(spec.pi)
    bare = BarePi(install, spec)
    try:
        bare.get_state()
        async with open_runtime() as runtime:
            instance = await runtime.spawn(spec)
            assert instance.pid is not None
            with placed((instance.pid, bare.pid), apart=apart):
                yield instance, bare
    finally:
        bare.close()
