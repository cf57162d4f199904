"""A connection that is cut in the middle of a run of the real Pi, which goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from pi_trio import Backoff, ConnectionLost, Reconnected, ReconnectPolicy, RemoteOptions, open_client
from pi_trio.launch import PiInstall
from pi_trio.process import free_port
from pi_trio.protocol import AgentSettled
from pi_trio.testing import ModelRequest, Turn
from tests.support import run, scripted, served

WORDS = [f"word{n} " for n in range(300)]


class Cut:
    """A way to a port that can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ways: set[trio.abc.Stream] = set()

    async def serve(self, stream: trio.SocketStream) -> None:
        other = await trio.open_tcp_stream("127.0.0.1", self._port)
        self._ways |= {stream, other}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_on, stream, other)
            nursery.start_soon(self._pass_on, other, stream)

    async def _pass_on(self, source: trio.abc.Stream, target: trio.abc.Stream) -> None:
        try:
            while data := await source.receive_some():
                await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        await trio.aclose_forcefully(target)

    async def cut(self) -> None:
        for stream in self._ways:
            await trio.aclose_forcefully(stream)
        self._ways.clear()


def test_a_connection_that_is_cut_in_the_middle_of_a_run(one_pi: PiInstall, tmp_path: Path) -> None:

    async def script(_: ModelRequest) -> Turn:
        return Turn(WORDS, chunk_delay=0.01)

    async def main() -> None:
        async with scripted(served(one_pi), tmp_path, script) as world, trio.open_nursery() as nursery:
            port = free_port()
            await world.spawn(port=port)
            way = Cut(port)
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            await nursery.start(trio.serve_listeners, way.serve, listeners)
            url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            options = RemoteOptions(reconnect=ReconnectPolicy(backoff=Backoff(base=0.0)))
            async with open_client(url, options=options) as client:
                with client.subscribe() as events:
                    with pytest.raises(ConnectionLost) as lost:
                        async with client.run("count") as reading:
                            async for _text in reading.text():
                                await way.cut()
                    assert lost.value.uncertain
                    marker = None
                    async for event in events:
                        if isinstance(event, Reconnected):
                            marker = event
                        if isinstance(event, AgentSettled):
                            break
                    assert marker is not None
                    assert marker.state.is_streaming
                    assert marker.missed is None
                # Nothing is lost but what was not heard: Pi has it all.
                assert await client.get_last_assistant_text() == "".join(WORDS).strip()
                assert (await client.send("again")).stop_reason == "stop"
            nursery.cancel_scope.cancel()

    run(main)
