"""The client's tests on the real Pi: in both versions over its pipes, and once more over WebSocket."""

from __future__ import annotations

import pytest

from pi_trio.launch import PiInstall
from tests.conftest import PI_VERSIONS, installed
from tests.support import served

OVER_WEBSOCKET = "over WebSocket"


@pytest.fixture(params=[*PI_VERSIONS, OVER_WEBSOCKET])
def pi(request: pytest.FixtureRequest) -> PiInstall:
    """A real Pi: the test runs once for each version, and for a newest one that serves WebSocket by itself."""
    return served(installed(PI_VERSIONS[-1])) if request.param == OVER_WEBSOCKET else installed(request.param)
