"""A headless Chromium, for what only a real browser can show. It comes from npm as Pi does, into the same cache: nothing
of it has to be on the machine.
"""

from __future__ import annotations

import fcntl
import functools
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from pi_trio.launch import find_node, npm_command
from tests.conftest import CACHE

_VERSION = "153.0.0"
_PACKAGE = f"@sparticuz/chromium@{_VERSION}"  # 70 MB: Chromium's headless shell, and the libraries it wants

# It is compressed with Brotli, which Node.js knows and Python does not.
_DECOMPRESS = """
const fs = require("node:fs"), zlib = require("node:zlib");
const [from, to] = process.argv.slice(1);
fs.createReadStream(from).pipe(zlib.createBrotliDecompress()).pipe(fs.createWriteStream(to));
"""

# It may be root who tests, and there may be no GPU. The page's own protections stay as they are.
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-port=0",  # or it would end when the page has loaded
)


@attrs.frozen
class Chromium:
    """A browser that can be started."""

    path: Path
    libraries: Path | None = None
    """Where those are that it finds nowhere else."""

    @asynccontextmanager
    async def browsing(self, url: str, profile: Path) -> AsyncIterator[None]:
        """Have this page open, for the body."""
        env = dict(os.environ)
        if self.libraries is not None:
            env["LD_LIBRARY_PATH"] = str(self.libraries)
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                lambda task_status: trio.run_process(
                    [str(self.path), *_OPTIONS, f"--user-data-dir={profile}", url],
                    env=env,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    check=False,
                    task_status=task_status,
                )
            )
            try:
                yield
            finally:
                process.kill()  # its other processes end with it


@functools.cache
def installed_chromium() -> Chromium:
    """Into the cache, the first time. A test that cannot have it fails."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):  # what the package is made for
        path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        assert path is not None, "a browser is wanted for this test: install Chromium"
        return Chromium(Path(path))
    home = CACHE / f"chromium-{_VERSION}"
    CACHE.mkdir(exist_ok=True)
    with open(CACHE / f"{home.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other processes of this test run want it, too
        if not home.is_dir():
            with tempfile.TemporaryDirectory(prefix=".installing-", dir=CACHE) as temporary:
                _install(Path(temporary))
                Path(temporary, "made").rename(home)
    return Chromium(home / "chromium", home / "lib")


def _install(folder: Path) -> None:
    node = trio.run(find_node)
    packed = [*npm_command(node), "pack", "--silent", _PACKAGE]
    name = subprocess.run(packed, cwd=folder, check=True, capture_output=True, text=True).stdout.split()[-1]
    with tarfile.open(folder / name) as package:
        package.extractall(folder, filter="data")
    made = folder / "made"
    made.mkdir()
    for compressed in ("chromium.br", "al2023.tar.br", "swiftshader.tar.br"):
        source, target = folder / "package" / "bin" / compressed, made / Path(compressed).stem
        subprocess.run([str(node.path), "-e", _DECOMPRESS, str(source), str(target)], check=True)
        if target.suffix == ".tar":
            with tarfile.open(target) as libraries:
                libraries.extractall(made, filter="data")
            target.unlink()
    (made / "chromium").chmod(0o755)
