"""What the tests on real processes share."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs
import trio

from pi_trio import Instance, InstanceSpec, PiClient, RemoteOptions, RestartType, Runtime, open_client, open_runtime
from pi_trio.launch import PiInstall
from pi_trio.process import marked
from pi_trio.testing import ModelServer, open_model_server
from pi_trio.testing.model_server import Script

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds after which a test on real processes has hung. Nothing is measured with it."""


def run(main: Callable[[], Awaitable[T]], *, patience: float = PATIENCE) -> T:
    """Run a test's async part, bounded."""

    async def bounded() -> T:
        with trio.fail_after(patience):
            return await main()

    return trio.run(bounded)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that only another process does, and that nothing announces."""
    while not condition():
        await trio.sleep(0.005)  # there is no event to wait for


def written(path: Path) -> bool:
    """Whether a file is there, with a whole line in it."""
    return path.exists() and path.read_text().endswith("\n")


def left_of(runtime: Runtime) -> list[int]:
    """The pids of the processes that a runtime left behind."""
    return [process.pid for process in marked({"PI_TRIO_RUN": runtime.run_id})]


@attrs.frozen
class Scripted:
    """A runtime, a scripted model, and specs for a Pi that uses it."""

    runtime: Runtime
    model: ModelServer
    folder: Path
    base: InstanceSpec
    clients: AsyncExitStack | None = None
    """Keeps the clients of those that are reached over their endpoints; ``None``: they are not."""

    def spec(self, **changes: Any) -> InstanceSpec:
        """A spec for this model, changed."""
        env: Mapping[str, str | None] = {**self.base.env, **changes.pop("env", {})}
        return attrs.evolve(self.base, env=env, **changes)

    async def spawn(self, **changes: Any) -> Instance:
        """An instance that uses this model."""
        if self.clients is None:
            return await self.runtime.spawn(self.spec(**changes))
        options = RemoteOptions(dialogs=changes.pop("dialogs", None))
        instance = await self.runtime.spawn(self.spec(**changes), endpoint=True)
        assert instance.endpoint is not None
        opened = open_client(instance.endpoint.url, token=self.runtime.endpoints.token, options=options)
        return ReachedInstance(instance, await self.clients.enter_async_context(opened))

    def extension(self, name: str, source: str) -> tuple[str, str]:
        """Pi's arguments that load an extension with this source."""
        path = self.folder / f"{name}.js"
        path.write_text(source)
        return ("-e", str(path))


@attrs.frozen
class ServedPi(PiInstall):
    """A Pi that serves WebSocket by itself."""


def served(pi: PiInstall) -> ServedPi:
    """The same, but serving."""
    return ServedPi(pi.path, pi.version, pi.origin, pi.node)


@attrs.frozen
class PiBehindEndpoint(PiInstall):
    """A Pi that is talked to over the endpoint of its instance, beside the host's own client."""


def behind_endpoint(pi: PiInstall) -> PiBehindEndpoint:
    """The same, but reached so."""
    return PiBehindEndpoint(pi.path, pi.version, pi.origin, pi.node)


class ReachedInstance(Instance):
    """An instance whose client is another program's."""

    def __init__(self, instance: Instance, client: PiClient) -> None:
        super().__init__(instance._supervisor)
        self.endpoint = instance.endpoint
        self._client = client

    @property
    def client(self) -> PiClient:
        """Talks to its Pi, over its endpoint."""
        return self._client


def standin(pi: PiInstall, folder: Path) -> tuple[Path, dict[str, str]]:
    """An executable that is a ``pi`` which serves WebSocket by itself, and the environment it wants."""
    path = folder / "pi-server"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).parent / "standin.py"} "$@"\n')
    path.chmod(0o755)
    return path, {"STANDIN_PI": json.dumps(pi.command)}


@asynccontextmanager
async def scripted(pi: PiInstall, folder: Path, script: Script) -> AsyncIterator[Scripted]:
    """A runtime for ``pi`` with a scripted model. Behind it, nothing may be left.

    A :class:`ServedPi` is spawned through the stand-in, and talked to over WebSocket; a :class:`PiBehindEndpoint` over
    the endpoint of its instance.
    """
    serves = isinstance(pi, ServedPi)
    work = folder / "work"
    work.mkdir(exist_ok=True)
    async with open_model_server(script) as model:
        executable, env = standin(pi, folder) if serves else (pi.path, {})
        base = InstanceSpec(
            pi=executable,
            launch="server" if serves else "stdio",
            provider="scripted",
            model="scripted-1",
            cwd=work,
            env={**model.configure(folder / "agent"), **env},
            ephemeral=True,
            grace_timeout=3.0,
            restart=RestartType.TEMPORARY,
        )
        runtime = None
        try:
            async with open_runtime() as runtime, AsyncExitStack() as clients:
                reached = clients if isinstance(pi, PiBehindEndpoint) else None
                yield Scripted(runtime, model, work, base, reached)
        finally:
            if runtime is not None:
                assert left_of(runtime) == []
