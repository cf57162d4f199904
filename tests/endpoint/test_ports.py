"""Where endpoints listen."""

from __future__ import annotations

import os
import socket
import stat
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest
import trio

from pi_trio import InstanceSpec, InstanceState, PortAllocationError
from pi_trio.abc import ProcessHost
from pi_trio.process import ListeningSocket, Ports
from pi_trio.supervisor.supervisor import Supervisor, Surroundings
from tests.endpoint.world import no_command


def free_range(count: int) -> int:
    """The first of some neighbouring ports that were free a moment ago."""
    while True:
        with ExitStack() as stack:
            base = 0
            try:
                for number in range(count):
                    probe = stack.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", base + number if base else 0))
                    base = base or int(probe.getsockname()[1])
            except (OSError, OverflowError):
                continue
            return base


def test_the_lowest_free_port_of_the_range_and_back_again() -> None:
    async def main() -> None:
        base = free_range(3)
        ports = Ports(base, base + 2)
        first, second = ports.listen(), ports.listen()
        assert (first.port, second.port) == (base, base + 1)
        first.close()
        assert first.closed
        first.close()
        again, third = ports.listen(), ports.listen()
        assert (again.port, third.port) == (base, base + 2)
        for each in (second, again, third):
            each.close()

    trio.run(main)


def test_what_others_have_is_passed_over_and_an_empty_range_says_what_was_tried() -> None:
    async def main() -> None:
        base = free_range(2)
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", base))
            other.listen()
            ports = Ports(base, base + 1)
            mine = ports.listen()
            try:
                assert mine.port == base + 1
                with pytest.raises(PortAllocationError) as caught:
                    ports.listen()
                assert caught.value.tried == ((f"127.0.0.1:{base}", "in use"), (f"127.0.0.1:{base + 1}", "in use"))
                with pytest.raises(PortAllocationError, match=f"port {base} cannot be had"):
                    ports.listen(base)
            finally:
                mine.close()

    trio.run(main)


def test_a_port_is_ours_from_the_moment_it_is_chosen() -> None:
    async def main() -> None:
        listening = Ports().listen(0)
        try:
            with socket.socket() as thief:
                thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with pytest.raises(OSError, match="in use"):
                    thief.bind(("127.0.0.1", listening.port))
        finally:
            listening.close()

    trio.run(main)


def test_many_runtimes_on_one_range_never_get_the_same_port() -> None:
    count, threads = 40, 4
    base = free_range(count)
    got: list[ListeningSocket] = []
    failures: list[PortAllocationError] = []

    def runtime() -> None:
        async def main() -> None:
            ports = Ports(base, base + count - 1)
            for _ in range(count):
                try:
                    got.append(ports.listen())
                except PortAllocationError as error:
                    failures.append(error)

        trio.run(main)

    running = [threading.Thread(target=runtime) for _ in range(threads)]
    for each in running:
        each.start()
    for each in running:
        each.join()

    async def close() -> None:
        for each in got:
            each.close()

    try:
        assert sorted(each.port for each in got) == list(range(base, base + count))
        assert len(failures) == count * (threads - 1)
    finally:
        trio.run(close)


def test_a_port_with_connections_in_time_wait_can_be_had_again() -> None:
    async def main() -> None:
        listening = Ports().listen(0)
        client = await trio.open_tcp_stream("127.0.0.1", listening.port)
        server = await listening.listener.accept()
        await server.aclose()  # the side that closes first is the one that waits
        assert await client.receive_some() == b""
        await client.aclose()
        listening.close()
        again = Ports().listen(listening.port)
        assert again.port == listening.port
        again.close()

    trio.run(main)


def test_a_unix_socket_for_this_user_only(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "pi.sock"
        listening = Ports().listen(path)
        assert (str(listening), listening.port) == (str(path), 0)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(PortAllocationError, match="in use"):
            Ports().listen(str(path))
        async with await trio.open_unix_socket(path):
            pass
        listening.close()
        assert not path.exists()

    trio.run(main)


def test_a_unix_socket_that_was_left_behind_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "pi.sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        listening = Ports().listen(path)
        os.unlink(path)
        path.write_text("somebody else's")
        listening.close()
        assert path.read_text() == "somebody else's"
        with pytest.raises(PortAllocationError, match="something else"):
            Ports().listen(path)
        assert path.exists()
        with pytest.raises(PortAllocationError):
            Ports().listen(tmp_path / "nowhere" / "pi.sock")

    trio.run(main)


@pytest.mark.parametrize(("base", "most"), [(0, 1), (1, 0), (5, 4), (-1, 5), (1, 65536)])
def test_what_is_no_range(base: int, most: int) -> None:
    with pytest.raises(ValueError, match="ports go from"):
        Ports(base, most)


def test_a_name_is_no_address() -> None:
    with pytest.raises(ValueError, match="localhost"):
        Ports(host="localhost")


def test_six_as_well_as_four() -> None:
    async def main() -> None:
        try:
            listening = Ports(host="::1").listen(0)
        except PortAllocationError:
            pytest.skip("this machine has no IPv6")
        assert str(listening) == f"[::1]:{listening.port}"
        listening.close()

    trio.run(main)


def test_a_port_that_is_none() -> None:
    async def main() -> None:
        with pytest.raises(PortAllocationError):
            Ports().listen(70000)

    trio.run(main)


def test_an_address_is_given_back_before_it_is_said_that_the_instance_is_over() -> None:
    happened: list[object] = []

    async def main() -> None:
        supervisor = Supervisor(
            instance_id="pi-1",
            spec=InstanceSpec(),
            env={},
            surroundings=Surroundings(
                host=cast("ProcessHost", None),
                command=no_command,
                publish=lambda event: happened.append(getattr(event, "state", None)),
                starts=trio.CapacityLimiter(1),
                release=lambda: happened.append("released"),
            ),
        )
        supervisor._enter(InstanceState.STOPPING, "")
        supervisor._enter(InstanceState.STOPPED, "")

    trio.run(main)
    assert happened == [InstanceState.STOPPING, "released", InstanceState.STOPPED]
