"""Tools that a peer runs: Pi calls them, the peer is told, and submits what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs
import trio

from ...errors import PiTrioError, ToolError
from ...protocol import ImageContent, Record
from ...tools import Tool, ToolContext, ToolHost
from .wire import DialectError

__all__ = ["PeerTools"]

# What Pi has to take the tools of a peer that has left.
_PATIENCE = 5.0


@attrs.frozen(eq=False)
class _PeerTool(Tool):
    """Its arguments are whatever the model says: the peer judges them."""

    async def call(self, arguments: Mapping[str, Any], context: ToolContext, *, written: Any = None) -> Any:  # noqa: ARG002 - Pi made it fit the peer's own schema
        return await self.function(arguments, context)


@attrs.define(eq=False)
class _Pending:
    done: trio.Event = attrs.field(factory=trio.Event)
    called: bool = False
    """Whether Pi waits for it."""
    content: Any = None
    failed: bool = False


class PeerTools:
    """The tools of one peer, and the calls that wait for its results."""

    def __init__(self, host: ToolHost, called: Callable[[Record], None]) -> None:
        """``called`` is told when Pi calls one of them."""
        self._host = host
        self._called = called
        self._names: tuple[str, ...] = ()
        self._pending: dict[str, _Pending] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._names

    @property
    def called(self) -> bool:
        """Whether Pi waits for a result, whoever's run that is."""
        return any(pending.called and not pending.done.is_set() for pending in self._pending.values())

    def make(self, definitions: Sequence[Record]) -> list[Tool]:
        """The tools that are described.

        Raises:
            DialectError: a definition is none, or this Pi takes no tools.
            ToolSpecError: a definition has something that no tool can have.
        """
        if definitions and not self._host.enabled:
            raise DialectError("invalid_params", "this Pi takes no tools of others")
        return [self._tool(definition) for definition in definitions]

    async def replace(self, tools: Sequence[Tool]) -> None:
        """Offer these tools, and no longer those of before. Cancelled, some may be on offer.

        Raises:
            ToolSpecError: Pi does not take one.
            RequestTimeout, ConnectionClosed: as :meth:`ToolHost.add`.
        """
        await self.withdraw()
        if tools:
            await self._host.add(*tools)
            self._names = tuple(tool.name for tool in tools)

    async def withdraw(self) -> None:
        """Offer nothing any more. Calls under way fail."""
        names, self._names = self._names, ()
        if names:
            await self._host.remove(*names)

    async def leave(self) -> None:
        """The peer is gone: so are its tools."""
        with trio.move_on_after(_PATIENCE) as scope:
            scope.shield = True
            with suppress(PiTrioError, KeyError):  # the instance is over, or somebody else took them away
                await self.withdraw()

    def _tool(self, definition: Record) -> Tool:
        name, described = definition.get("name"), definition.get("description", "")
        schema = definition.get("parameters", definition.get("input_schema", {"type": "object", "properties": {}}))
        if not isinstance(name, str) or not isinstance(described, str) or not isinstance(schema, dict):
            raise DialectError("invalid_params", "a tool is an object with name, description and parameters")
        return _PeerTool(
            name,
            described or name,
            schema,
            self._wait_for_result,
            arguments=dict,
            context=None,
        )

    async def _wait_for_result(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        pending = self._pending.setdefault(context.call_id, _Pending())
        pending.called = True
        try:
            self._called({"id": context.call_id, "name": context.tool, "arguments": dict(arguments)})
            await pending.done.wait()
        finally:
            self._pending.pop(context.call_id, None)
        if pending.failed:
            raise ToolError(pending.content if isinstance(pending.content, str) else str(pending.content))
        return pending.content

    def expect(self, call_id: str) -> None:
        """The model has asked for this call: a result for it is taken from now on, before Pi gets to it, too."""
        self._pending.setdefault(call_id, _Pending())

    def forget(self) -> None:
        """No run of this peer's goes on: what was expected will not come."""
        self._pending = {call_id: pending for call_id, pending in self._pending.items() if pending.called}

    def submit(self, results: Sequence[object]) -> list[str]:
        """Take results, all or none. Returns the ids of their calls.

        Raises:
            DialectError: one is none, or no call waits for it.
        """
        taken = [(self._awaiting(result), result) for result in results]
        for (_, pending), result in taken:
            assert isinstance(result, dict), "what is no object, nobody waits for"
            _settle(pending, result)
        return [call_id for (call_id, _), _ in taken]

    def _awaiting(self, result: object) -> tuple[str, _Pending]:
        if not isinstance(result, dict):
            raise DialectError("invalid_params", "a tool's result is an object with tool_call_id and content")
        call_id = result.get("tool_call_id")
        pending = self._pending.get(call_id) if isinstance(call_id, str) else None
        if not isinstance(call_id, str) or pending is None or pending.done.is_set():
            raise DialectError("not_found", f"no call {call_id!r} waits for a result")
        return call_id, pending


def _settle(pending: _Pending, result: Record) -> None:
    error = result.get("error")
    pending.failed = result.get("is_error") is True or error is not None
    pending.content = _content(result.get("content", result.get("result")) if error is None else error)
    pending.done.set()


def _content(value: Any) -> Any:
    """Blocks of text and images as ours; anything else as it is."""
    if isinstance(value, list) and value and all(isinstance(each, dict) and "type" in each for each in value):
        return [_block(each) for each in value]
    return value


def _block(block: Record) -> Any:
    if block["type"] == "image":
        return ImageContent(data=str(block.get("data", "")), mime_type=str(block.get("mime_type", "image/png")))
    return str(block.get("text", ""))
