"""The hosts for real processes do the same."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from pi_trio.abc import ProcessHost
from pi_trio.process import DirectHost
from pi_trio.process.keeper import open_keeper_host
from tests.process.conformance import CHECKS, Check
from tests.support import run

OpenHost = Callable[[], AbstractAsyncContextManager[ProcessHost]]


@asynccontextmanager
async def open_direct_host() -> AsyncIterator[ProcessHost]:
    yield DirectHost()


HOSTS: list[OpenHost] = [open_direct_host]
if sys.platform == "linux":
    HOSTS.append(open_keeper_host)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("open_host", HOSTS, ids=lambda host: host.__name__)
def test_conformance(open_host: OpenHost, check: Check, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_host() as host:
            await check(host, tmp_path)

    run(main)
