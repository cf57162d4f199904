"""``session.*``: one Pi, as a session that a peer sets up, talks to, and ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio

from ...launch import InstanceSpec
from ...lifecycle import InstanceState
from ...protocol import ImageContent, Record
from ...supervisor import Instance
from ..scope import Scope
from .exchange import Exchange
from .params import content_of, tools_of
from .tools import PeerTools
from .wire import Call, DialectError, iso_time, usage_record

__all__ = ["Session"]


class Session:
    """The methods about the session. One exchange goes on at a time; what starts one is called by one task."""

    def __init__(
        self,
        instance: Instance,
        tools: PeerTools,
        *,
        scope: Scope,
        start: Callable[[Exchange, str, Sequence[ImageContent]], None],
    ) -> None:
        """``start`` runs an exchange in the background, as long as the peer is there."""
        self._instance = instance
        self._client = instance.client
        self._tools = tools
        self._scope = scope
        self._start = start
        self._exchange: Exchange | None = None
        self._base = instance.spec
        self._connected_at = iso_time()

    # --- setting up --------------------------------------------------------------------------------------

    async def init(self, call: Call) -> Record:
        """Begin a session as the peer wants it, or with ``inherit_context`` go on with the one there is."""
        inherit = call.take("inherit_context", bool, default=False) is True
        names, definitions = tools_of(call)
        spec = self._spec_for(call, names, inherit=inherit)
        if spec != self._instance.spec:
            if self._scope < Scope.ADMIN:
                raise DialectError("forbidden", "another folder, prompt or set of tools needs the scope admin")
            await self._instance.replace(spec, fresh=not inherit)
        elif not inherit and (await self._client.get_state()).message_count:
            await self._client.new_session()
        if definitions is not None:
            await self._tools.replace(definitions)
        await self._choose(call.take("provider", str), call.take("model", str))
        return await self.status(call)

    def _spec_for(self, call: Call, names: tuple[str, ...] | None, *, inherit: bool) -> InstanceSpec:
        """The spec of a Pi as it is wanted: what is not said stays as it is."""
        changes: dict[str, Any] = {}
        folder, prompt = call.take("worktree_path", str), call.take("system_prompt", str)
        if folder is not None and os.path.realpath(folder) != os.path.realpath(self._instance.spec.cwd):
            if not os.path.isdir(folder):
                raise DialectError("invalid_params", f"worktree_path is no folder: {folder}")
            if inherit:
                raise DialectError("invalid_params", "a session belongs to its folder: it is not inherited by another")
            changes["cwd"] = os.path.abspath(folder)
        if prompt is not None:
            changes["append_system_prompt"] = (*self._base.append_system_prompt, *((prompt,) if prompt else ()))
        if names is not None:
            changes["tools"] = names
        return attrs.evolve(self._instance.spec, **changes)

    async def _choose(self, provider: str | None, model: str | None) -> None:
        now = (await self._client.get_state()).model
        if (provider is None and model is None) or (
            now is not None and provider in (None, now.provider) and model in (None, now.id)
        ):
            return
        if provider is None and now is None:
            raise DialectError("invalid_params", "a model needs its provider")
        assert provider is not None or now is not None
        await self._client.switch_provider(provider or now.provider, model)  # type: ignore[union-attr]

    async def switch_model(self, call: Call) -> Record:
        """Another model, of the same provider unless one is named."""
        await self._choose(call.take("provider", str), call.need("model", str))
        return await self._model()

    async def switch_provider(self, call: Call) -> Record:
        """Another provider, with its default model unless one is named."""
        await self._choose(call.need("provider", str), call.take("model", str))
        return await self._model()

    async def _model(self) -> Record:
        model = (await self._client.get_state()).model
        return {"provider": model.provider if model else None, "model": model.id if model else None}

    async def status(self, _: Call) -> Record:
        """What is known of the session."""
        state, stats = await self._client.get_state(), await self._client.get_session_stats()
        entries = (await self._client.get_entries()).entries
        busy = state.is_streaming or state.is_compacting
        running = self._instance.state is InstanceState.RUNNING
        return {
            "session_id": state.session_id,
            "state": ("busy" if busy else "idle") if running else str(self._instance.state),
            "provider": state.model.provider if state.model else None,
            "model": state.model.id if state.model else None,
            "message_count": state.message_count,
            "token_usage": {
                "input_tokens": stats.tokens.input,
                "output_tokens": stats.tokens.output,
                "cache_read_tokens": stats.tokens.cache_read,
                "cache_write_tokens": stats.tokens.cache_write,
                "total_tokens": stats.tokens.total,
                "cost": stats.cost,
            },
            "last_activity_at": entries[-1].timestamp if entries else self._connected_at,
            "worktree_path": self._instance.spec.cwd,
        }

    # --- talking -----------------------------------------------------------------------------------------

    async def send(self, call: Call) -> Record:
        """Say something; answered when Pi is done, or needs the result of one of the peer's tools."""
        checkpoint = await self._checkpoint(call)
        exchange = await self._continue_or_begin(call)
        text: list[str] = []
        calls: list[Record] = []
        error: Record | None = None
        while (chunk := await exchange.next_chunk()) is not None:
            if chunk["type"] == "content":
                text.append(chunk["content"])
            elif chunk["type"] == "error":
                error = chunk["error"]
            elif chunk["type"] == "tool_call":
                calls.append(chunk["tool_call"])
                if exchange.awaited and chunk["tool_call"]["id"] == exchange.awaited[-1]["id"]:
                    return self._answer(exchange, "".join(text), exchange.awaited, checkpoint)
        if error is not None:
            raise DialectError(error["code"], error["message"])
        last = exchange.reply.text if exchange.reply is not None else "".join(text)
        return self._answer(exchange, last, calls, checkpoint)

    def _answer(self, exchange: Exchange, text: str, calls: Sequence[Record], checkpoint: Record | None) -> Record:
        usage = {} if exchange.reply is None else {"usage": usage_record(exchange.reply.usage)}
        return {
            "content": text,
            "tool_calls": list(calls),
            "stop_reason": exchange.stop_reason,
            **usage,
            **({} if checkpoint is None else {"checkpoint": checkpoint}),
        }

    async def send_stream(self, call: Call, emit: Callable[[Record], None]) -> Record:
        """Say something, and ``emit`` every chunk of what comes of it. The last is of type ``done``."""
        checkpoint = await self._checkpoint(call)
        exchange = await self._continue_or_begin(call)
        while (chunk := await exchange.next_chunk()) is not None:
            emit(chunk)
        text = "" if exchange.reply is None else exchange.reply.text
        return self._answer(exchange, text, (), checkpoint)

    async def _checkpoint(self, call: Call) -> Record | None:
        """The node where the conversation is now: where ``tree.branch`` can come back to."""
        if not call.params.get("checkpoint"):
            return None
        node_id = (await self._client.get_entries()).leaf_id
        return {"node_id": node_id, "created_at": iso_time()}

    async def _continue_or_begin(self, call: Call) -> Exchange:
        message, images = content_of(call)
        results = call.take("tool_results", list, default=[]) or []
        for result in results:
            self.submit(result)
        exchange = self._exchange
        if exchange is not None and not exchange.over and results:
            if message:
                await self._client.steer(message, images=images)
            return exchange
        if not message and not images:
            raise DialectError("invalid_params", f"{call.method} needs content")
        if exchange is not None and not exchange.over:
            raise DialectError("busy", "a run waits for the results of its tools")
        self._tools.forget()
        self._exchange = exchange = Exchange(self._client, self._tools.__contains__, self._tools.expect)
        self._start(exchange, message, images)
        return exchange

    def submit(self, result: object) -> None:
        """Take a tool's result. Raises :class:`DialectError`."""
        if not isinstance(result, dict):
            raise DialectError("invalid_params", "a tool's result is an object with tool_call_id and content")
        self._tools.submit(result)

    async def submit_tool_result(self, call: Call) -> Record:
        """Take a tool's result, at any time."""
        self.submit(dict(call.params))
        await trio.lowlevel.checkpoint()
        return {"accepted": True, "tool_call_id": call.params["tool_call_id"]}

    # --- ending ------------------------------------------------------------------------------------------

    async def close(self, _: Call) -> Record:
        """End the session: what goes on is aborted, and the next message begins another."""
        await self._client.clear_queue()
        await self._client.abort()
        session_id = self._client.session_id
        await self._tools.withdraw()
        await self._client.new_session()
        return {"closed": True, "session_id": session_id}
