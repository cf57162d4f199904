"""An instance as those see it who are connected to it from somewhere else: what its endpoint does, without a socket."""

from __future__ import annotations

from typing import Any

import trio

from ..abc import Closing
from ..errors import ClientError, ConnectionClosed
from ..protocol import Item, decode_line, encode_record
from ..supervisor import Instance
from .link import SimLink

__all__ = ["FarEnd"]

_NEVER_BEHIND = 1 << 40


class FarEnd:
    """Passes on what an instance's Pi says, to all links, and what they ask; as ``pi_trio/endpoint`` does."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.unreachable_until = 0.0
        self._links: list[SimLink] = []
        self._run_goes_on = False
        self._subscription: Any = instance.client.subscribe(capacity=_NEVER_BEHIND)._subscription
        instance.client.on_detached = self._pi_left

    def __repr__(self) -> str:
        return f"<FarEnd of {self.instance.id} {len(self._links)} links>"

    def admit(self, link: SimLink) -> None:
        """Show this one what is said from now on."""
        self._links.append(link)

    def dismiss(self, link: SimLink) -> None:
        """It is over."""
        self._links.remove(link)

    def drop_all(self) -> None:
        """Every link drops."""
        for link in tuple(self._links):
            link.end(Closing(1006, "dropped"))

    async def serve(self) -> None:
        """Pass on what Pi says, until the instance is over; then so are the links."""
        try:
            while True:
                self._show(await self._subscription.receive_batch())
        except (trio.EndOfChannel, ClientError):
            pass
        finally:
            self._subscription.close()
        for link in tuple(self._links):
            link.end(Closing(1001, "the instance is over"))

    def arrived(self, link: SimLink, line: bytes) -> None:
        """A command has come."""
        command = decode_line(line)
        assert isinstance(command, dict)

        def answer(response: dict[str, Any]) -> None:
            self._catch_up()  # what Pi said before it goes before it
            link.say(encode_record(response))

        try:
            self.instance.client.forward(command, answer)
        except (ClientError, trio.WouldBlock) as error:
            refusal = {"type": "response", "command": command["type"], "success": False, "error": repr(error)}
            answer({**refusal, "id": command.get("id")})

    def _pi_left(self, why: ConnectionClosed) -> None:
        self._catch_up()
        if self._run_goes_on:  # whoever follows it waits for its end, which Pi cannot tell any more
            self._show([{"type": "agent_settled", "aborted": True, "error": str(why)}])

    def _catch_up(self) -> None:
        self._show(self._subscription.receive_batch_nowait())

    def _show(self, items: list[Item | Any]) -> None:
        for item in items:
            if isinstance(item, dict):
                if item.get("type") in ("agent_start", "agent_settled"):
                    self._run_goes_on = item["type"] == "agent_start"
                self._say(encode_record(item))
            elif isinstance(item, bytes):
                self._say(item)

    def _say(self, line: bytes) -> None:
        for link in self._links:
            link.say(line)
