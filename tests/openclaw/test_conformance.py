"""The stand-in and the real gateways do the same, in both versions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from pi_trio.openclaw import READ, WRITE, GatewayOptions, open_gateway
from pi_trio.testing import open_model_server
from tests.support import run

from .conformance import ADMIN, CHECKS, Check, Lab
from .gateways import TOKEN, VERSIONS, installed, open_real_gateway
from .scenario import answer
from .standin import open_standin

# A gateway starts for up to half a minute on a busy machine, and one check after the other goes through it.
_PATIENCE = 400.0


@asynccontextmanager
async def laboratory(version: str, url: str) -> AsyncIterator[Lab]:
    async with open_gateway(url, GatewayOptions(token=TOKEN, scopes=(READ, WRITE, ADMIN))) as admin:
        yield Lab(version, url, TOKEN, admin)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("version", VERSIONS)
def test_standin(version: str, check: Check) -> None:
    async def main() -> None:
        async with open_standin(version, TOKEN) as standin, laboratory(version, standin.url) as lab:
            await check.function(lab)

    run(main, patience=20)


@pytest.mark.parametrize("version", VERSIONS)
def test_real(version: str, tmp_path: Path) -> None:
    """All checks on one gateway: it takes a gigabyte, and longer to start than all of them."""
    install = installed(version)
    failures: list[Exception] = []

    async def main() -> None:
        async with (
            open_model_server(answer) as model,
            open_real_gateway(install, tmp_path, model.base_url) as gateway,
            laboratory(version, gateway.url) as lab,
        ):
            for check in CHECKS:
                try:
                    with trio.fail_after(60):
                        await check.function(lab)
                except Exception as error:
                    error.add_note(f"in the check {check.name} on {version}")
                    failures.append(error)

    run(main, patience=_PATIENCE)
    if failures:
        raise ExceptionGroup(f"{len(failures)} checks failed", failures)
