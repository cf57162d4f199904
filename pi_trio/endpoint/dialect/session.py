"""``session.*``: one Pi, as a session that a peer sets up, talks to, and ends."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import attrs

from ...errors import ProviderUnavailable
from ...launch import InstanceSpec
from ...lifecycle import InstanceState
from ...protocol import Model, Record
from ...supervisor import Instance
from ...tools import Tool
from ..scope import Scope
from .params import tools_of
from .talk import Talk
from .tools import PeerTools
from .wire import Call, DialectError, iso_time

__all__ = ["Session"]


class Session:
    """The methods about the session. Those that change it are called by one task."""

    def __init__(self, instance: Instance, tools: PeerTools, talk: Talk, *, scope: Scope) -> None:
        self._instance = instance
        self._client = instance.client
        self._tools = tools
        self._talk = talk
        self._scope = scope
        self._base = instance.spec
        self._connected_at = iso_time()

    # --- setting up --------------------------------------------------------------------------------------

    async def init(self, call: Call) -> Record:
        """Begin a session as the peer wants it, or with ``inherit_context`` go on with the one there is."""
        inherit = call.take("inherit_context", bool, default=False) is True
        provider, model = call.take("provider", str), call.take("model", str)
        names, definitions = tools_of(call)
        tools = self._tools.make(definitions or ())
        spec = self._spec_for(call, names, tools, inherit=inherit)
        # What cannot be had is refused before anything has changed.
        if spec != self._instance.spec:
            await self._check_replaceable(inherit=inherit)
        await self._find(provider, model)
        self._talk.drop()
        if definitions is not None:
            await self._tools.withdraw()  # before there is a Pi that may not use them
        if spec != self._instance.spec:
            await self._instance.replace(spec, fresh=not inherit)
        elif not inherit and (await self._client.get_state()).message_count:
            await self._client.new_session()
        if definitions is not None:
            await self._tools.replace(tools)
        await self._choose(provider, model)
        return await self.status(call)

    async def _check_replaceable(self, *, inherit: bool) -> None:
        if self._scope < Scope.ADMIN:
            raise DialectError("forbidden", "another folder, prompt or set of tools needs the scope admin")
        if inherit:
            state = await self._client.get_state()
            kept = state.session_file is not None and self._instance.spec.restart_session == "continue"
            if state.message_count and not kept:
                raise DialectError(
                    "invalid_params",
                    "another prompt or set of tools takes another process, which cannot inherit a "
                    "session that is kept nowhere: leave inherit_context away",
                )

    def _spec_for(
        self, call: Call, names: tuple[str, ...] | None, tools: Sequence[Tool], *, inherit: bool
    ) -> InstanceSpec:
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
        allowed = self._instance.spec.tools if names is None else names
        if allowed is not None:
            changes["tools"] = _with_theirs(allowed, tools)
        return attrs.evolve(self._instance.spec, **changes)

    async def _find(self, provider: str | None, model: str | None) -> Model | None:
        """The model that is asked for, if that is another than now. Raises :class:`ProviderUnavailable`."""
        now = (await self._client.get_state()).model
        if (provider is None and model is None) or (
            now is not None and provider in (None, now.provider) and model in (None, now.id)
        ):
            return None
        if provider is None:
            if now is None:
                raise DialectError("invalid_params", "a model needs its provider")
            provider = now.provider
        there = await self._client.get_available_models()
        theirs = [each for each in there if each.provider == provider]
        found = next((each for each in theirs if model in (None, each.id)), None)
        if found is None:
            providers = tuple(dict.fromkeys(each.provider for each in there))
            raise ProviderUnavailable(provider, model, providers=providers, models=tuple(each.id for each in theirs))
        return found

    async def _choose(self, provider: str | None, model: str | None) -> None:
        found = await self._find(provider, model)
        if found is not None:
            await self._client.set_model(found.provider, found.id)

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

    # --- ending ------------------------------------------------------------------------------------------

    async def close(self, _: Call) -> Record:
        """End the session: what goes on is aborted, and the next message begins another."""
        self._talk.drop()
        await self._client.clear_queue()
        await self._client.abort()
        session_id = self._client.session_id
        await self._tools.withdraw()
        await self._client.new_session()
        return {"closed": True, "session_id": session_id}


def _with_theirs(allowed: tuple[str, ...], tools: Sequence[Tool]) -> tuple[str, ...]:
    """What Pi is told to use, it refuses to be told more of. ``+name`` and ``-name`` change its own choice, no more."""
    if allowed and all(name.startswith(("+", "-")) for name in allowed):
        return allowed
    return tuple(dict.fromkeys((*allowed, *(tool.name for tool in tools))))
