"""The simulated Pi and the real one do the same, in both versions."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from pi_trio import Instance, InstanceSpec, RestartType, Runtime, open_runtime
from pi_trio.launch import PiInstall
from pi_trio.testing.sim_pi import PI_0_87, PI_1_5, Dialect, SimPi, SimUI
from pi_trio.testing.trace import Misuse, Recorder
from pi_trio.testing.world import SimWorld, open_world
from tests.concurrency import virtual
from tests.support import Scripted, run, scripted, until
from tests.testing.sim_pi.conformance import CHECKS, Check, Lab

DIALECTS = {dialect.version: dialect for dialect in (PI_0_87, PI_1_5)}

ASK = Path(__file__).with_name("ask.js")


@attrs.frozen
class RealLab(Lab):
    """Real processes, on the real clock."""

    version: str
    scripted: Scripted

    async def spawn(self, **changes: Any) -> Instance:
        return await self.scripted.spawn(extra_args=("-e", str(ASK)), **changes)

    def signal(self, instance: Instance, name: str) -> None:
        assert instance.pid is not None
        os.kill(instance.pid, signal.Signals[name])

    async def until(self, condition: Callable[[], object]) -> None:
        await until(condition)


@attrs.frozen
class SimLab(Lab):
    """A world, on virtual time."""

    version: str
    world: SimWorld
    runtime: Runtime
    base: InstanceSpec

    async def spawn(self, **changes: Any) -> Instance:
        return await self.runtime.spawn(attrs.evolve(self.base, **changes))

    def signal(self, instance: Instance, name: str) -> None:
        self.world.signal_root(instance.id, name)

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await trio.sleep(0.005)


async def ask(ui: SimUI, arguments: str) -> None:
    """What ``ask.js`` does."""
    answers = [
        (await ui.ask("select", title="Which?", options=["one", "two"])).get("value"),
        (await ui.ask("confirm", title="Sure?", message="There is no way back.")).get("confirmed", False),
        (await ui.ask("input", title="Your name", placeholder="as you like it")).get("value"),
    ]
    ui.show("notify", message=f"{arguments}: {', '.join(map(json.dumps, answers))}", notifyType="info")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_simulated(dialect: Dialect, seed: int, check: Check) -> None:
    recorder = Recorder()

    async def main() -> None:
        pi = SimPi(dialect=dialect, script=check.script, extensions={"ask": ask})
        async with open_world(seed=seed, record=recorder.record, programs={"/pi": pi}) as world:
            base = InstanceSpec(
                pi=PiInstall(Path("/pi"), dialect.version, "named", None),
                cwd="/",
                inherit_env=False,
                ephemeral=True,
                grace_timeout=3.0,
                restart=RestartType.TEMPORARY,
            )
            async with open_runtime(host=world, max_starting=2) as runtime:
                await check.function(SimLab(dialect.version, world, runtime, base))

    virtual.run(main)
    assert list(recorder.trace().of(Misuse)) == []


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_real(pi: PiInstall, check: Check, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, check.script) as lab:
            lab.model.configure(tmp_path / "agent", models=("scripted-1", "scripted-2"))
            await check.function(RealLab(str(pi.version), lab))

    run(main)
