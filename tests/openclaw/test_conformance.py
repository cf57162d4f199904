"""The stand-in and the real gateways do the same, in both versions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from pi_trio.openclaw import READ, WRITE, GatewayOptions, open_gateway
from pi_trio.testing import open_model_server
from tests.support import run

from . import conformance_catalog, conformance_cli, conformance_runs, conformance_settings  # noqa: F401  # all in CHECKS
from .conformance import ADMIN, CHECKS, PATIENCE, REAL_CHECKS, Check, Lab
from .gateways import SESSIONS, TOKEN, VERSIONS, installed, open_real_gateway, set_thread
from .scenario import answer
from .standin import Standin, open_standin

# A gateway starts for up to half a minute on a busy machine, and takes its time with its first runs.
_PATIENCE = 900.0

# Most of a check is waiting: for a tool, for a gateway that takes another prompt. More at once only wait for each other.
_AT_ONCE = 3


@asynccontextmanager
async def laboratory(version: str, url: str, set_thread: Callable[[str, bool | None], None]) -> AsyncIterator[Lab]:
    options = GatewayOptions(token=TOKEN, scopes=(READ, WRITE, ADMIN), request_timeout=PATIENCE)
    async with open_gateway(url, options) as admin:
        yield Lab(version, url, TOKEN, admin, set_thread)


@asynccontextmanager
async def standin_laboratory(standin: Standin) -> AsyncIterator[Lab]:
    async with laboratory(standin.version, standin.url, standin.set_thread) as lab:
        yield lab


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("version", VERSIONS)
def test_standin(version: str, check: Check) -> None:
    async def main() -> None:
        async with open_standin(version, TOKEN) as standin, standin_laboratory(standin) as lab:
            await check.function(lab)

    run(main, patience=20)


@pytest.mark.parametrize("version", VERSIONS)
def test_real(version: str, tmp_path: Path) -> None:
    """All checks on one gateway, several at once: it takes a gigabyte, and starts for as long as all of them take."""
    install = installed(version)
    failures: list[BaseException] = []
    passed: list[str] = []
    # The longest first, so that nothing waits for them alone in the end.
    everything = [*REAL_CHECKS, *CHECKS]

    async def main() -> None:
        async with (
            open_model_server(answer) as model,
            open_real_gateway(install, tmp_path, model.base_url) as gateway,
            laboratory(version, gateway.url, partial(set_thread, tmp_path / SESSIONS)) as lab,
        ):
            checks = iter(everything)

            async def work() -> None:
                for check in checks:
                    try:
                        with trio.fail_after(2 * PATIENCE):
                            await check.function(lab)
                        passed.append(check.name)
                    except (Exception, pytest.fail.Exception) as error:
                        error.add_note(f"in the check {check.name} on {version}")
                        failures.append(error)

            async with trio.open_nursery() as nursery:
                for _ in range(_AT_ONCE):
                    nursery.start_soon(work)

    run(main, patience=_PATIENCE)
    if failures:
        raise BaseExceptionGroup(f"{len(failures)} checks failed", failures)
    assert sorted(passed) == sorted(check.name for check in everything)
