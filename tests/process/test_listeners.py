"""Whose socket it is that listens at a port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pi_trio import PortAllocationError
from pi_trio.process import Ports
from pi_trio.process.listeners import listens_at

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is read from /proc")

LISTEN = """
import socket, sys
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
sock.bind((sys.argv[1], 0))
sock.listen()
print(sock.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own, that listens nowhere."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])
def test_a_port_belongs_to_the_process_that_listens_and_to_those_above_it(
    address: str, stranger: subprocess.Popen[bytes]
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "LISTENERS_TEST": address},
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert listens_at(port, process.pid, {})
        assert listens_at(port, os.getpid(), {})
        assert not listens_at(port, stranger.pid, {})
        # One that was given another parent is known by its marker.
        assert listens_at(port, stranger.pid, {"LISTENERS_TEST": address})
        if address == "0.0.0.0":  # a connection comes to the socket whose address fits best
            with socket.create_connection(("127.0.0.1", port)):
                pass
        with pytest.raises(PortAllocationError):
            Ports().check(port)
    Ports().check(port)


def test_where_nobody_is_seen_to_listen_nothing_is_known(stranger: subprocess.Popen[bytes]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # but it does not listen
        assert listens_at(bound.getsockname()[1], stranger.pid, {})
