"""Instances that somebody wrote down: in a program, or in a file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import trio

from ...abc import Discovery, Found, Mode, Profile, Sightings

__all__ = ["FileDiscovery", "StaticDiscovery", "read_found"]

# The keys of an [[instance]] table and the types of their values. A token is not among them: files are shown around.
_KEYS: dict[str, type] = {
    "id": str,
    "url": str,
    "token_file": str,
    "token_env": str,
    "mode": str,
    "provider": str,
    "model": str,
    "region": str,
    "capabilities": list,
    "tags": list,
    "max_concurrent": int,
}

_OF_PROFILE = ("url", "region", "capabilities", "tags", "max_concurrent")


class StaticDiscovery(Discovery):
    """These, for as long as it runs."""

    def __init__(self, found: Iterable[Found], *, name: str = "static") -> None:
        self._found = tuple(found)
        self._name = name

    @property
    def name(self) -> str:
        """As it was given."""
        return self._name

    async def run(self, sightings: Sightings) -> None:
        """Tell all of them, once."""
        await trio.lowlevel.checkpoint()
        sightings.snapshot(self._found)


class FileDiscovery(Discovery):
    """Those that a TOML file lists, and whatever it lists when it is changed.

    ::

        [[instance]]
        id = "build-1"
        url = "wss://build-1.example:7000"
        provider = "anthropic"
        capabilities = ["docker", "gpu"]
        max_concurrent = 2

    Further keys are ``model``, ``region``, ``tags``, ``mode`` (``"local"`` or ``"remote"``, where the URL does not say
    it), and where the token is: ``token_file``, relative to the folder of this file, or ``token_env``, a variable of the
    environment.
    """

    def __init__(self, path: str | os.PathLike[str], *, period: float = 1.0, name: str | None = None) -> None:
        if not period > 0:
            raise ValueError(f"period must be positive, not {period!r}")
        self._path = Path(path)
        self._period = period
        self._name = f"file:{self._path.name}" if name is None else name
        self._tried: object = None  # what it was when it was last looked into

    @property
    def name(self) -> str:
        """As it was given; by default, that of the file."""
        return self._name

    async def run(self, sightings: Sightings) -> None:
        """Read the file, and again whenever it is another: looked at every ``period`` seconds.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no TOML, or does not say what an instance is.
        """
        told: object = None
        while True:
            await trio.lowlevel.checkpoint()
            self._tried = _identity(self._path)  # before it is read: what is written meanwhile makes it another
            if self._tried is None or self._tried != told:
                sightings.snapshot(read_found(self._path.read_text("utf-8"), folder=self._path.parent))
                told = self._tried
            await trio.sleep(self._period)

    def news(self) -> Callable[[], Awaitable[None]]:
        """That the file is another than the one that was no good: whoever mends it need not wait for the breaker."""
        return self._wait_for_another

    async def _wait_for_another(self) -> None:
        while _identity(self._path) == self._tried:
            await trio.sleep(self._period)


def _identity(path: Path) -> object:
    """What changes when the file is written, may be read, or another takes its place; ``None`` when there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size


def read_found(text: str, *, folder: Path = Path()) -> tuple[Found, ...]:
    """What a TOML document lists; ``folder`` is where its ``token_file`` keys start from.

    Raises:
        ValueError: it is no TOML, or does not say what an instance is; the message names the place.
    """
    document = tomllib.loads(text)
    unknown = set(document) - {"instance"}
    tables = document.get("instance", [])
    if unknown or not isinstance(tables, list):
        raise ValueError(f"expected [[instance]] tables and nothing else, not {', '.join(sorted(unknown)) or tables!r}")
    found = tuple(_found(f"instance {number}", table, folder) for number, table in enumerate(tables, 1))
    ids = [each.instance_id for each in found]
    for each in ids:
        if ids.count(each) > 1:
            raise ValueError(f"two instances have the id {each!r}")
    return found


def _found(where: str, table: Any, folder: Path) -> Found:
    _check_types(where, table)
    if not table.get("id") or not table.get("url"):
        raise ValueError(f"{where} needs an id and a url")
    said = {key: table[key] for key in _OF_PROFILE if key in table}
    try:
        if "mode" in table:
            said["mode"] = Mode(table["mode"])
        token, token_file = _token(table, folder)
        return Found(
            table["id"],
            table.get("provider"),
            table.get("model"),
            Profile(**said),
            token=token,
            token_file=token_file,
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _check_types(where: str, table: Any) -> None:
    if not isinstance(table, dict):
        raise ValueError(f"{where} is not a table")
    if "token" in table:
        raise ValueError(f"{where}: a token does not belong here; say where it is with token_file or token_env")
    for key, value in table.items():
        if key not in _KEYS:
            raise ValueError(f"{where} has an unknown key {key!r}; there are: {', '.join(_KEYS)}")
        if type(value) is not _KEYS[key] or (type(value) is list and not all(type(each) is str for each in value)):
            wanted = "a list of strings" if _KEYS[key] is list else f"a {_KEYS[key].__name__}"
            raise ValueError(f"{where}: {key} must be {wanted}, not {value!r}")


def _token(table: dict[str, Any], folder: Path) -> tuple[str | None, str | None]:
    file, variable = table.get("token_file"), table.get("token_env")
    if file is not None:
        file = str(folder / Path(file).expanduser())
    if variable is None:
        return None, file
    if variable not in os.environ:
        raise ValueError(f"token_env names {variable}, which is not in the environment")
    return os.environ[variable], file
