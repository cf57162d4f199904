"""A web page in a real browser: let in with a ticket, and kept out when it comes from elsewhere.

The same handshake, and the same refusals, are in ``test_attacks.py`` without a browser.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import attrs
import trio

from pi_trio import EndpointConfig, Scope
from pi_trio.process import Ports
from tests.client.memory import STATE
from tests.endpoint.chromium import Chromium
from tests.endpoint.world import open_world
from tests.support import run

PAGE = """<!doctype html><script>
const told = (what) => fetch("/told?" + new URLSearchParams({what}));
const socket = new WebSocket(%s, ["pi-rpc.v1"]);
socket.onopen = () => socket.send(JSON.stringify({id: "page", type: "get_state"}));
socket.onmessage = (message) => told("message " + message.data);
socket.onclose = (event) => told("closed " + event.code);
</script>"""


@attrs.frozen
class Site:
    """Where it is, and what its page tells."""

    port: int
    told: trio.MemoryReceiveChannel[str]


@asynccontextmanager
async def open_site(page: str, port: int = 0) -> AsyncIterator[Site]:
    """Serves the page, and gives out what it tells."""
    send, receive = trio.open_memory_channel[str](100)

    async def attend(stream: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = await stream.receive_some()
            if not data:
                return
            head += data
        target = urlsplit(head.split(b" ", 2)[1].decode())
        for what in parse_qs(target.query).get("what", []):
            await send.send(what)
        body = page.encode() if target.path == "/" else b""
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, attend, port, host="127.0.0.1"))
        yield Site(listeners[0].socket.getsockname()[1], receive)
        nursery.cancel_scope.cancel()


def test_a_page_with_a_ticket_is_let_in_and_one_from_elsewhere_is_not(chromium: Chromium, tmp_path: Path) -> None:
    async def main() -> None:
        probe = Ports().listen(0)
        site_port = probe.port
        probe.close()
        origin = f"http://127.0.0.1:{site_port}"
        async with open_world(EndpointConfig(allowed_origins=(origin,), token_file=tmp_path / "token")) as world:
            ticket = world.endpoints.issue_ticket(Scope.OBSERVE)
            page = PAGE % json.dumps(f"{world.endpoint.url}/?ticket={ticket}")
            async with open_site(page, site_port) as site:
                async with chromium.browsing(f"{origin}/", tmp_path / "one"):
                    await world.asked(1)
                    world.pi.answers("get_state", STATE)
                    first = await site.told.receive()
                assert first.startswith("message ")
                assert json.loads(first.removeprefix("message "))["id"] == "page"
            # The same machine, the same page, another port: another origin.
            ticket = world.endpoints.issue_ticket(Scope.OBSERVE)
            page = PAGE % json.dumps(f"{world.endpoint.url}/?ticket={ticket}")
            async with open_site(page) as site:
                async with chromium.browsing(f"http://127.0.0.1:{site.port}/", tmp_path / "other"):
                    assert await site.told.receive() == "closed 1006"
            statistics = world.endpoint.statistics()
            assert (statistics.admitted, statistics.refused) == (1, 1)
            # It was for its origin: the ticket would have been good, and still is.
            async with world.connect(scope=None, resource=f"/?ticket={ticket}"):
                pass

    run(main)
