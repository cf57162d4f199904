"""The tools of one instance: what Pi is offered, and the calls under way. The other end is ``extension.js``."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from ..abc import RecordTransport
from ..errors import ConnectionClosed, RequestTimeout, ToolSpecError
from ..protocol import Input, Record, SetStatus, ShapeError, decode_line, structure
from .calls import Asked, Calls
from .offer import Offer
from .tool import Tool

__all__ = ["EXTENSION", "ToolHost"]

_log = logging.getLogger("pi_trio.tools")

EXTENSION = Path(__file__).with_name("extension.js")
"""What Pi has to be started with (``-e``), so that it asks for tools."""


# Tuples, for what they are compared with comes off the wire and may be anything.
_TITLES = ("pi-trio:tools", "pi-trio:call")
_NOTES = ("pi-trio:abort", "pi-trio:over")


@attrs.frozen
class _Question:
    """Pi asks which tools there are, and says what it took of the last list."""

    version: int
    refused: dict[str, Any]
    session: str


class ToolHost:
    """The Python tools that one instance's Pi has, whichever process of it is the current one.

    Iterate it for the tools on offer. A change is told to Pi at once, in the middle of a run too: the model's next
    turn has it. A Pi that is started later, and another session, get the tools of then.
    """

    def __init__(
        self,
        instance_id: str,
        tools: Collection[Tool] | None,
        *,
        max_concurrent: int,
        request_timeout: float,
    ) -> None:
        self._id = instance_id
        self._transport: RecordTransport | None = None
        self.enabled = tools is not None
        """Whether Pi was given our extension: if not, it never calls anything."""
        self._offer = Offer(self._answer)
        self._session: str | None = None
        self._passing: set[str] = set()  # the names of those that are only for that session
        self._calls = Calls(instance_id, self._answer, max_concurrent=max_concurrent)
        self._request_timeout = request_timeout
        self._closed: str | None = None
        self._offer.replace({tool.name: tool for tool in tools or ()})

    def __repr__(self) -> str:
        return f"<ToolHost {self._id} {len(self._offer.tools)} tools {len(self._calls)} calls>"

    # --- for users ---------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Tool]:
        return iter(tuple(self._offer.tools.values()))

    def __len__(self) -> int:
        return len(self._offer.tools)

    async def add(self, *tools: Tool, for_session: bool = False) -> None:
        """Give Pi more tools, and wait until it has them; with ``for_session``, until Pi is in another session.

        While no Pi is there, it returns at once: the next one gets them. When Pi goes while it waits, it returns when
        there is another, or raises when there will be none. Cancelled, the tools are on offer.

        Raises:
            ToolSpecError: one of that name is there already (then none is added), Pi does not take one (then that
                one is not added), or the spec says ``python_tools=None``.
            RequestTimeout: Pi has not taken them within the spec's ``request_timeout``; they are on offer.
            ConnectionClosed: the instance is over.
        """
        self._put(tools)
        if for_session:
            self._passing |= {tool.name for tool in tools}
        await self._until_taken([tool.name for tool in tools])

    async def remove(self, *names: str) -> None:
        """Take tools away from Pi, and wait until it knows. Their calls are cancelled, and waited for.

        Cancelled, the tools are not on offer any more.

        Raises:
            KeyError: there is none of that name; then nothing is removed.
            RequestTimeout, ConnectionClosed: as :meth:`add`.
        """
        await self._take_away([self._offer.tools[name] for name in names])
        await self._until_taken([])

    @asynccontextmanager
    async def offer(self, *tools: Tool) -> AsyncIterator[None]:
        """Give Pi these tools for as long as the body runs.

        Behind the body their calls are cancelled and waited for, as a nursery waits for its tasks; Pi is told that
        they failed. Raises as :meth:`add`.
        """
        self._put(tools)
        try:
            await self._until_taken([tool.name for tool in tools])
            yield
        finally:
            with trio.CancelScope(shield=True):  # it ends when the functions have unwound, like any nursery
                await self._take_away(tools)

    def _put(self, tools: Collection[Any]) -> None:
        for each in tools:
            if not isinstance(each, Tool):
                raise ToolSpecError(f"a tool is made with @tool or Tool.from_function, which {each!r} is not")
        if not self.enabled:
            raise ToolSpecError(f"{self._id} was started without python_tools; spawn it with python_tools=() at least")
        if self._closed is not None:
            raise ConnectionClosed(f"{self._id} {self._closed}")
        names = [tool.name for tool in tools]
        for name in names:
            if name in self._offer.tools or names.count(name) > 1:
                raise ToolSpecError(f"{self._id} has a tool {name!r} already; remove it first, or choose another name")
        self._offer.replace({**self._offer.tools, **{tool.name: tool for tool in tools}})

    async def _until_taken(self, names: Collection[str]) -> None:
        version = self._offer.version
        with trio.move_on_after(self._request_timeout) as patience:
            await self._offer.wait_taken(version)
        if patience.cancelled_caught:
            raise RequestTimeout("pi-trio:tools", self._request_timeout)
        if self._closed is not None:
            raise ConnectionClosed(f"{self._id} {self._closed}")
        refused = {name: why for name, why in self._offer.refused.items() if name in names}
        if refused:
            self._drop(refused)
            raise ToolSpecError(
                f"{self._id}: Pi does not take {', '.join(f'{name} ({why})' for name, why in refused.items())}"
            )

    async def _take_away(self, tools: Collection[Tool]) -> None:
        self._drop({name for name, each in self._offer.tools.items() if each in tools})
        await self._calls.end_those_of(tools, "the program took the tool away")

    def _drop(self, names: Collection[str]) -> None:
        self._passing.difference_update(names)
        self._offer.replace({name: each for name, each in self._offer.tools.items() if name not in names})

    # --- wiring: for whoever owns the connection ---------------------------------------------------------

    def attach(self, transport: RecordTransport) -> None:
        """There is a Pi again. Whoever attached it runs :meth:`serve`."""
        self._transport = transport
        self._offer.decided()

    def intercept(self, record: Record) -> bool:
        """Take an ``extension_ui_request`` that comes from our extension. Whether it does."""
        if not self.enabled:
            return False
        is_note = record.get("method") == "setStatus"
        if not is_note and record.get("method") != "input":
            return False
        if record.get("statusKey" if is_note else "title") not in (_NOTES if is_note else _TITLES):
            return False
        try:
            if is_note:
                self._take_note(structure(record, SetStatus))
            else:
                self._take_dialog(structure(record, Input))
        except ShapeError as error:
            _log.warning("%s: another extension uses the names of ours: %s", self._id, error)
            return False
        return True

    async def serve(self) -> None:
        """Run the calls of one Pi, until cancelled: then they are cancelled, too."""
        try:
            await self._calls.serve()
        finally:
            self._transport = None
            self._offer.disconnected()

    def is_inside_call(self) -> bool:
        """Whether the calling task belongs to a call that is under way, and Pi waits for it."""
        return self._calls.is_inside()

    async def end_calls(self, why: str) -> None:
        """Take no more calls from this Pi, cancel those under way, and wait until Pi has taken that. To be bounded."""
        await self._calls.end(why)

    def close(self, why: str) -> None:
        """There will be no other Pi."""
        self._closed = why
        self._offer.disconnected()
        self._offer.decided()

    # --- what comes from Pi -------------------------------------------------------------------------------

    def _take_note(self, note: SetStatus) -> None:
        act = self._calls.aborted if note.status_key == "pi-trio:abort" else self._calls.taken
        for key in (note.status_text or "").split():
            act(key)

    def _take_dialog(self, dialog: Input) -> None:
        payload = decode_line((dialog.placeholder or "").encode("utf-8", "surrogatepass"))
        if dialog.title == "pi-trio:call":
            asked = structure(payload, Asked)
            self._calls.take(dialog.id, asked, self._offer.tools.get(asked.tool or ""))
            return
        question = structure(payload, _Question)
        if question.session != self._session:  # a restarted Pi goes on with the one before, if that was kept
            if self._session is not None:
                self._drop(tuple(self._passing))
            self._session = question.session
        for name, why in question.refused.items():
            _log.warning("%s: Pi does not take the tool %s: %s", self._id, name, why)
        self._offer.asked(dialog.id, question.version, question.refused)

    def _answer(self, line: bytes) -> bool:
        """Over the connection of this very Pi, as long as it is there: the client refuses all once a stop has begun."""
        if self._transport is not None:
            try:
                self._transport.send_nowait(line)
            except trio.WouldBlock:
                return False
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
        return True
