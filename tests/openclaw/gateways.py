"""Real OpenClaw gateways: installed from npm into the cache, and run on loopback with a scripted model."""

from __future__ import annotations

import copy
import fcntl
import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import outcome
import trio

from pi_trio.abc import ProcessCommand, ProcessHost, ProcessTree
from pi_trio.errors import ConnectFailed
from pi_trio.launch import NodeInstall, find_node
from pi_trio.launch.install import npm_command
from pi_trio.openclaw import GatewayOptions, open_gateway
from pi_trio.process import free_port, new_run_id, open_default_host

__all__ = [
    "SESSIONS",
    "TOKEN",
    "VERSIONS",
    "GatewayInstall",
    "RealGateway",
    "installed",
    "open_real_gateway",
    "set_thread",
]

CACHE = Path(__file__).parents[2] / ".cache" / "openclaw"

SESSIONS = "pi-sessions"
"""The folder, beside a gateway's state, whose Pi sessions are in its catalog."""

PLUGIN = Path(__file__).parent / "plugin"

VERSIONS = ("2026.9.6", "2026.5.22")
"""The newest gateway, and one whose rows and filters are those of before the summer."""

TOKEN = "the-gateway's-token"

# What runs a session of ours. All other plugins stay out: a gateway loads each provider's on its one thread, a minute
# long on a busy machine, in which it answers nobody.
_PLUGINS = frozenset(
    {"image-generation-core", "media-understanding-core", "memory-core", "speech-core", "video-generation-core"}
)

# Hundreds of packages, from a registry that may be slow today.
_NPM_TIMEOUT = 540.0

# On two busy cores.
_START_TIMEOUT = 120.0


@functools.cache
def _install(version: str) -> outcome.Outcome[Path]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{version}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other processes of this test run want it, too
        return outcome.capture(trio.run, _npm_install, version)


@attrs.frozen
class GatewayInstall:
    """A gateway's package."""

    version: str
    package: Path


def installed(version: str) -> GatewayInstall:
    """That gateway, installed into the cache the first time. A test that cannot have it fails."""
    return GatewayInstall(version, copy.copy(_install(version)).unwrap())


async def _npm_install(version: str) -> Path:
    """Install it beside the place where it belongs, and put it there when it is whole."""
    target = CACHE / version
    package = target / "node_modules" / "openclaw"
    if not (package / "openclaw.mjs").is_file():
        node = await find_node()
        with tempfile.TemporaryDirectory(prefix=".installing-", dir=CACHE) as temporary:
            made = Path(temporary, "made")
            made.mkdir()
            (made / "package.json").write_text('{"private": true}\n')
            await _npm(node, made, "install", "--ignore-scripts", f"openclaw@{version}")
            shutil.rmtree(target, ignore_errors=True)
            made.rename(target)
    for plugin in (package / "dist" / "extensions").iterdir():
        if plugin.name not in _PLUGINS:
            shutil.rmtree(plugin)
    return package


async def _npm(node: NodeInstall, folder: Path, *args: str) -> None:
    env = {**os.environ, "PATH": f"{node.path.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [*npm_command(node), *args, "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    with trio.fail_after(_NPM_TIMEOUT):
        await trio.run_process(command, cwd=folder, env=env, capture_stdout=True, capture_stderr=True)


@attrs.frozen
class RealGateway:
    """A gateway that is running."""

    version: str
    port: int
    tree: ProcessTree

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


def set_thread(folder: Path, thread_id: str, usable: bool | None) -> None:
    """Put a session of a Pi where a gateway has its catalog from, or take it out (``None``)."""
    for file in folder.glob(f"*_{thread_id}.jsonl"):
        file.unlink()
    if usable is not None:
        folder.mkdir(exist_ok=True)
        file = folder / f"{'free' if usable else 'seen'}_{thread_id}.jsonl"
        file.write_text("".join(json.dumps(entry) + "\n" for entry in _entries(thread_id)))


def _entries(thread_id: str) -> list[dict[str, Any]]:
    text = [{"type": "text", "text": "what was said"}]
    return [
        {
            "type": "session",
            "version": 3,
            "id": thread_id,
            "timestamp": "2026-09-01T00:00:00.000Z",
            "cwd": "/home/user",
        },
        {"type": "message", "id": "1", "parentId": None, "message": {"role": "user", "content": "what was asked"}},
        {"type": "message", "id": "2", "parentId": "1", "message": {"role": "assistant", "content": text}},
    ]


def _config(version: str, folder: Path, model_url: str) -> dict[str, Any]:
    model = {
        "id": "scripted-1",
        "name": "scripted",
        "reasoning": False,
        "input": ["text"],
        "cost": {"input": 1, "output": 2, "cacheRead": 0, "cacheWrite": 0},
        "contextWindow": 128_000,
        "maxTokens": 16_384,
    }
    models = [model, {**model, "id": "scripted-2", "name": "another"}]
    provider = {"baseUrl": model_url, "apiKey": "none-needed", "api": "openai-completions", "models": models}
    workspace = str(folder / "workspace")
    # The later ones ask the maker's server for more models; the earlier ones refuse what they do not know.
    catalog = {} if version == VERSIONS[-1] else {"catalogRefresh": {"enabled": False}}
    # It brings the catalog of Pi's sessions, of which the earlier ones know nothing.
    entries = {"pi-sessions": {"enabled": True}}
    plugins = {} if version == VERSIONS[-1] else {"plugins": {"load": {"paths": [str(PLUGIN)]}, "entries": entries}}
    return {
        **plugins,
        "gateway": {"mode": "local", "controlUi": {"enabled": False}},
        "logging": {"file": str(folder / "log")},
        "discovery": {"mdns": {"mode": "off"}},
        "update": {"checkOnStart": False},
        "models": {"providers": {"local": provider}, "pricing": {"enabled": False}, **catalog},
        "agents": {
            "defaults": {"model": {"primary": "local/scripted-1"}, "workspace": workspace, "skipBootstrap": True}
        },
    }


def _environment(version: str, folder: Path, node: NodeInstall) -> dict[str, str]:
    return {
        "PATH": f"{node.path.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "PI_TRIO_SESSIONS": str(folder / SESSIONS),
        "NODE_COMPILE_CACHE": str(CACHE / f"{version}.compiled"),
        "OPENCLAW_STATE_DIR": str(folder / "state"),
        "OPENCLAW_CONFIG_PATH": str(folder / "openclaw.json"),
        "OPENCLAW_BUNDLED_SKILLS_DIR": str(folder / "no-skills"),
        "OPENCLAW_DISABLE_BONJOUR": "1",
        "OPENCLAW_NO_AUTO_UPDATE": "1",
        "OPENCLAW_NO_RESPAWN": "1",
        "OPENCLAW_SKIP_CHANNELS": "1",
        "OPENCLAW_SKIP_CRON": "1",
    }


@asynccontextmanager
async def open_real_gateway(
    install: GatewayInstall, folder: Path, model_url: str, *, port: int | None = None
) -> AsyncIterator[RealGateway]:
    """That gateway, ready, for the body, with its state in ``folder``. Behind it nothing of it is left."""
    node = await find_node()
    for name in ("tmp", "no-skills"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "openclaw.json").write_text(json.dumps(_config(install.version, folder, model_url)))
    port = free_port() if port is None else port
    arguments = ("gateway", "run", "--port", str(port), "--bind", "loopback", "--auth", "token", "--token", TOKEN)
    command = ProcessCommand(
        argv=(str(node.path), str(install.package / "openclaw.mjs"), *arguments),
        cwd=str(folder),
        env=_environment(install.version, folder, node),
        marker={"PI_TRIO_RUN": new_run_id()},
    )
    try:
        async with open_default_host() as host, _running(host, command) as (tree, said):
            gateway = RealGateway(install.version, port, tree)
            await _wait_ready(gateway, said)
            yield gateway
    finally:
        _forget_locks(folder)


def _forget_locks(folder: Path) -> None:
    """A gateway puts locks into /tmp, whatever it is told, named after its databases, and leaves them there."""
    databases = {hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8] for path in folder.rglob("*.sqlite")}
    for lock in Path(f"/tmp/openclaw-state-locks-{os.getuid()}").glob("*.lock.sqlite*"):
        if lock.name.split(".")[1] in databases:
            lock.unlink(missing_ok=True)


@asynccontextmanager
async def _running(host: ProcessHost, command: ProcessCommand) -> AsyncIterator[tuple[ProcessTree, bytearray]]:
    said = bytearray()

    async def listen(pipe: Any) -> None:
        while data := await pipe.receive_some():
            said.extend(data)

    tree = await host.spawn(command)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, tree.stdout)
            nursery.start_soon(listen, tree.stderr)
            yield tree, said
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(20):
            tree.kill_tree()
            await tree.wait_empty()
        tree.close()


async def _wait_ready(gateway: RealGateway, said: bytearray) -> None:
    """Until it lets somebody in; that it is still starting, it says itself."""
    options = GatewayOptions(token=TOKEN, connect_timeout=_START_TIMEOUT)
    with trio.move_on_after(_START_TIMEOUT):
        while True:
            try:
                async with open_gateway(gateway.url, options):
                    return
            except ConnectFailed as error:
                last = error
            await trio.sleep(0.1)
    raise AssertionError(f"the gateway is not ready: {last}; it said:\n{said.decode('utf-8', 'replace')[-4000:]}")
