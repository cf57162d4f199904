"""The client's tests on the real Pi: in both versions over its pipes, and once more over WebSocket;
what shows every method, also at the endpoint of a supervised one."""

from __future__ import annotations

import pytest

from pi_trio.launch import PiInstall
from tests.conftest import PI_VERSIONS, installed
from tests.support import behind_endpoint, served

OVER_WEBSOCKET = "over WebSocket"
AT_ENDPOINT = "at an endpoint"

# Where every method of the client is called once: there, the other side is our own endpoint, too.
_EVERY_METHOD = ("tests.client.test_real_commands", "tests.client.test_branches", "tests.client.test_real_dialogs")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of ``pi`` runs over the pipe in both versions, with one that serves WebSocket, and perhaps at an endpoint."""
    if "pi" in metafunc.fixturenames:
        ways = [*PI_VERSIONS, OVER_WEBSOCKET]
        if metafunc.module.__name__ in _EVERY_METHOD:
            ways.append(AT_ENDPOINT)
        metafunc.parametrize("pi", ways, indirect=True)


@pytest.fixture
def pi(request: pytest.FixtureRequest) -> PiInstall:
    """A real Pi, and the way to it: the test runs once for each."""
    if request.param == OVER_WEBSOCKET:
        return served(installed(PI_VERSIONS[-1]))
    if request.param == AT_ENDPOINT:
        return behind_endpoint(installed(PI_VERSIONS[0]))
    return installed(request.param)
