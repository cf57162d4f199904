"""The real Pi, in both versions, for every test that wants it."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import trio

from pi_trio.launch import PiInstall, find_node, install_pi

CACHE = Path(__file__).parent.parent / ".cache"

PI_VERSIONS = ("0.87.1", "1.5.2")
"""The versions everything is tested against: the newest that npm can install whole, and the newest there is."""


@functools.cache
def installed(version: str) -> PiInstall:
    """That Pi, installed into the cache the first time. A test that cannot have it fails."""

    async def install() -> PiInstall:
        return await install_pi(version, home=CACHE / version, node=await find_node())

    return trio.run(install)


@pytest.fixture(params=PI_VERSIONS)
def pi(request: pytest.FixtureRequest) -> PiInstall:
    """A real Pi: the test runs once for each version."""
    return installed(request.param)


@pytest.fixture
def one_pi() -> PiInstall:
    """A real Pi of the default version, where the version makes no difference."""
    return installed(PI_VERSIONS[0])
