"""The real Pi, in both versions, for every test that wants it."""

from __future__ import annotations

import copy
import fcntl
import functools
from pathlib import Path

import hypothesis
import outcome
import pytest
import trio

from pi_trio.launch import PiInstall, find_node, install_pi

# No test fails because the machine was busy, and tomorrow's examples are today's.
hypothesis.settings.register_profile(
    "pi-trio", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("pi-trio")

CACHE = Path(__file__).parent.parent / ".cache"

PI_VERSIONS = ("0.87.1", "1.5.2")
"""The versions everything is tested against: the newest that npm can install whole, and the newest there is."""


@functools.cache
def _install(version: str) -> outcome.Outcome[PiInstall]:
    async def install() -> PiInstall:
        return await install_pi(version, home=CACHE / version, node=await find_node())

    CACHE.mkdir(exist_ok=True)
    with open(CACHE / f"{version}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other processes of this test run want it, too
        # The failure is remembered too: npm takes a minute to find out that it has no network, and one is enough.
        return outcome.capture(trio.run, install)


def installed(version: str) -> PiInstall:
    """That Pi, installed into the cache the first time. A test that cannot have it fails."""
    return copy.copy(_install(version)).unwrap()


@pytest.fixture(params=PI_VERSIONS)
def pi(request: pytest.FixtureRequest) -> PiInstall:
    """A real Pi: the test runs once for each version."""
    return installed(request.param)


@pytest.fixture
def one_pi() -> PiInstall:
    """A real Pi of the default version, where the version makes no difference."""
    return installed(PI_VERSIONS[0])
