"""A connection that is cut in the middle of a run of the real Pi, which goes on: behind an endpoint, and serving by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from pi_trio import (
    Backoff,
    ConnectionLost,
    ConnectionState,
    Instance,
    PiClient,
    Reconnected,
    ReconnectPolicy,
    RemoteOptions,
    RestartPolicy,
    RestartType,
    open_client,
)
from pi_trio.launch import PiInstall
from pi_trio.process import Ports, free_port
from pi_trio.protocol import AgentSettled, AssistantMessage
from pi_trio.testing import Turn
from pi_trio.testing.model_server import Script
from tests.support import ServedPi, run, scripted, until

WORDS = [f"word{n} " for n in range(300)]
TEXT = "".join(WORDS)
OPTIONS = RemoteOptions(reconnect=ReconnectPolicy(attempts=1000, backoff=Backoff(base=0.02, cap=0.02)))


class Cut:
    """A way to somewhere that can be cut, and is open again at once, or when it is allowed to be."""

    def __init__(self, connect: Callable[[], Awaitable[trio.abc.Stream]]) -> None:
        self._connect = connect
        self._ways: set[trio.abc.Stream] = set()
        self.shut = False

    async def serve(self, stream: trio.abc.Stream) -> None:
        try:
            if self.shut:
                raise OSError
            other = await self._connect()
        except OSError:
            await trio.aclose_forcefully(stream)
            return
        self._ways |= {stream, other}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_on, stream, other)
            nursery.start_soon(self._pass_on, other, stream)

    async def _pass_on(self, source: trio.abc.Stream, target: trio.abc.Stream) -> None:
        try:
            while data := await source.receive_some(65536):
                await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        await trio.aclose_forcefully(target)

    async def cut(self) -> None:
        for stream in self._ways:
            await trio.aclose_forcefully(stream)
        self._ways.clear()


@attrs.frozen
class Far:
    """A Pi that is somewhere else."""

    instance: Instance
    client: PiClient
    way: Cut


@asynccontextmanager
async def open_far(pi: PiInstall, folder: Path, script: Script) -> AsyncIterator[Far]:
    """The client's way there leads through a cut."""
    policy = RestartPolicy(type=RestartType.PERMANENT, backoff=Backoff(base=0.01))
    async with scripted(pi, folder, script) as world, trio.open_nursery() as nursery:
        token = None
        if isinstance(pi, ServedPi):
            port = free_port()
            instance = await world.spawn(port=port, restart=policy)
            listening = Ports().listen(0)
            url, way = f"ws://{listening}", Cut(partial(trio.open_tcp_stream, "127.0.0.1", port))
        else:
            path = folder / "pi.sock"
            instance = await world.runtime.spawn(world.spec(restart=policy), endpoint=path)
            token = world.runtime.endpoints.token
            listening = Ports().listen(folder / "cut.sock")
            url, way = f"ws+unix://{folder / 'cut.sock'}", Cut(partial(trio.open_unix_socket, path))
        await nursery.start(trio.serve_listeners, way.serve, [listening.listener])
        async with open_client(url, token=token, options=OPTIONS) as client:
            yield Far(instance, client, way)
        nursery.cancel_scope.cancel()


def counting() -> Turn:
    return Turn(WORDS, chunk_delay=0.005)


def test_a_run_goes_on_behind_a_cut(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_far(pi, tmp_path, lambda _: counting()) as far:
            events = far.client.subscribe()
            heard, cuts = "", 0
            async with far.client.run("count") as reading:
                async for text in reading.text():
                    heard += text
                    if heard.count("word") in (5, 50) and cuts < 2:
                        cuts += 1
                        await far.way.cut()
                        await far.client.connection_states().__anext__()
            # What was not heard is missing in what was streamed, and in nothing else.
            assert TEXT.startswith(heard[:10])
            assert reading.reply.text == TEXT
            assert reading.reply.stop_reason == "stop"
            assert [type(each).__name__ for each in reading.reply.messages][-2:] == ["UserMessage", "AssistantMessage"]
            markers = []
            async for event in events:
                if isinstance(event, Reconnected):
                    markers.append(event)
                if isinstance(event, AgentSettled):
                    break
            assert len(markers) == cuts == 2
            assert all(marker.state.is_streaming for marker in markers)
            # Our own endpoint counts; the stand-in does not.
            assert all((marker.missed is None) == isinstance(pi, ServedPi) for marker in markers)
            assert (await far.client.send("again")).text == TEXT

    run(main)


def test_what_was_under_way_when_pi_was_killed_behind_the_connection_is_uncertain(
    one_pi: PiInstall, tmp_path: Path
) -> None:
    async def main() -> None:
        async with open_far(one_pi, tmp_path, lambda _: counting()) as far:

            async def kill(way: Path) -> None:
                await until(way.exists)
                assert far.instance.pid is not None
                os.kill(far.instance.pid, signal.SIGKILL)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(kill, tmp_path / "begun")
                with pytest.raises(ConnectionLost, match="SIGKILL") as caught:
                    await far.client.bash(f"touch {tmp_path / 'begun'}; sleep 1000")
            assert caught.value.uncertain is True  # and the pipe says ProcessExited: neither, that Pi refused
            assert (await far.client.send("again")).text == TEXT

    run(main)


def test_a_run_that_ended_behind_a_cut_has_a_whole_reply(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_far(pi, tmp_path, lambda _: counting()) as far:
            markers: list[Reconnected] = []
            async with far.client.run("count") as reading:
                async for event in reading:
                    if isinstance(event, Reconnected):
                        markers.append(event)
                    elif not far.way.shut and reading.reply.messages:
                        far.way.shut = True
                        await far.way.cut()
                        await until(lambda: far.client.connection_state is ConnectionState.AWAY)
                        while (await far.instance.client.get_state()).is_streaming:
                            await trio.sleep(0.01)
                        far.way.shut = False
            assert [marker.state.is_streaming for marker in markers] == [False]
            assert reading.reply.text == TEXT
            assert sum(isinstance(each, AssistantMessage) for each in reading.reply.messages) == 1

    run(main)


def test_a_run_whose_pi_dies_behind_the_connection_fails(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_far(pi, tmp_path, lambda _: counting()) as far:
            pid = far.instance.pid
            assert pid is not None
            with pytest.raises(ConnectionLost) as lost:
                async with far.client.run("count") as reading:
                    await anext(reading.text())
                    os.kill(pid, signal.SIGKILL)  # once: a moment later there may be nobody of that pid
                    async for _text in reading.text():
                        pass
            assert lost.value.uncertain
            assert (await far.client.send("again")).text == TEXT

    run(main)
