"""A Pi that serves WebSocket by itself, as the reference system assumes one: the real Pi's RPC behind a port.

Takes exactly ``--server --port P --model M``, or ``--model M --session S --workdir W --port P``, and Pi's own options
behind that. ``STANDIN_PI`` names the Pi's command line (JSON), ``STANDIN_SUBPROTOCOL`` what it speaks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import trio
import trio_websocket


def pi_command(args: list[str]) -> tuple[int, list[str], str]:
    """The port, the Pi's command line, the folder."""
    if args[0] == "--server":
        first, rest = args[:5], args[5:]
        assert (first[1], first[3]) == ("--port", "--model"), first
        port, model, session, folder = first[2], first[4], [], "."
    else:
        first, rest = args[:8], args[8:]
        assert first[::2] == ["--model", "--session", "--workdir", "--port"], first
        model, folder, port = first[1], first[5], first[7]
        session = ["--session-id", first[3]]
    command = json.loads(os.environ["STANDIN_PI"])
    return int(port), [*command, "--mode", "rpc", "--model", model, *session, *rest], folder


async def serve(args: list[str]) -> None:
    """Serve until the Pi is gone."""
    port, command, folder = pi_command(args)
    print("standin:", *args, flush=True)
    peers: set[trio_websocket.WebSocketConnection] = set()
    writing = trio.Lock()
    async with trio.open_nursery() as nursery:
        pi = await nursery.start(
            lambda task_status: trio.run_process(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder, check=False, task_status=task_status
            )
        )

        async def peer(request: trio_websocket.WebSocketRequest) -> None:
            wanted = os.environ.get("STANDIN_SUBPROTOCOL", "pi-rpc.v1")
            connection = await request.accept(subprotocol=wanted if wanted in request.proposed_subprotocols else None)
            peers.add(connection)
            try:
                while True:
                    message = await connection.get_message()
                    assert isinstance(message, str)
                    async with writing:  # one at a time: two peers may speak at once
                        await pi.stdin.send_all(message.rstrip("\n").encode() + b"\n")
            except trio_websocket.ConnectionClosed:
                peers.discard(connection)

        nursery.start_soon(
            lambda: trio_websocket.serve_websocket(peer, "127.0.0.1", port, None, max_message_size=64 * 2**20)
        )
        rest = b""
        async for data in pi.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for connection in tuple(peers):
                batch = connection.subprotocol == "pi-rpc.v1.batch"
                messages = [b"".join(line + b"\n" for line in lines)] if batch and lines else [] if batch else lines
                try:
                    for message in messages:
                        await connection.send_message(message.decode())
                except trio_websocket.ConnectionClosed:
                    peers.discard(connection)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(serve, sys.argv[1:])
