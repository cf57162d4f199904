"""Commands about the session: its state, its history, its place in the tree, and other sessions."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import Any, TypeVar

import attrs

from ..protocol import (
    CompactionResult,
    ConversationTree,
    Entries,
    Fork,
    ForkMessage,
    Message,
    Model,
    SessionStats,
    SessionSwitch,
    SlashCommand,
    State,
    response_data,
    response_field,
)
from .arguments import check_flag
from .requester import UNSET, Requester, Unset

__all__ = ["PiStatus", "SessionCommands"]

S = TypeVar("S", SessionSwitch, Fork)


@attrs.frozen
class PiStatus:
    """What Pi is doing, and what it has cost."""

    state: State
    stats: SessionStats

    @property
    def busy(self) -> bool:
        """Whether it answers a prompt, or compacts its history."""
        return self.state.is_streaming or self.state.is_compacting

    @property
    def model(self) -> Model | None:
        """Which model answers; ``None`` when none was chosen."""
        return self.state.model

    @property
    def tokens(self) -> int:
        """All tokens of the session so far."""
        return self.stats.tokens.total

    @property
    def cost(self) -> float:
        """US dollars of the session so far."""
        return self.stats.cost


class SessionCommands(Requester):
    """One Pi is in one session at a time. Each way into another returns with the client knowing which that is.

    It ends the run that goes on (``aborted``); one that waits for its turn starts in the other session. Given up, Pi goes
    there all the same, and the next run waits for that.
    """

    @abstractmethod
    def _note(self, data: Any) -> State:
        """The state in a response, after the client has noted in which session Pi is."""

    # --- what is -------------------------------------------------------------------------------------

    async def get_state(self, *, timeout: float | Unset | None = UNSET) -> State:
        """What Pi is doing, with which model, in which session."""
        return self._note(await self.request("get_state", timeout=timeout))

    async def get_session_stats(self) -> SessionStats:
        """Counts, tokens and cost of the session."""
        return response_data("get_session_stats", await self.request("get_session_stats"), SessionStats)

    async def status(self) -> PiStatus:
        """State, model, tokens and cost, in two requests."""
        return PiStatus(await self.get_state(), await self.get_session_stats())

    async def get_messages(self) -> tuple[Message, ...]:
        """The conversation as the model would see it now."""
        data = await self.request("get_messages")
        messages: tuple[Message, ...] = response_field("get_messages", data, "messages", tuple[Message, ...])
        return messages

    async def get_last_assistant_text(self) -> str | None:
        """What the model said last; ``None`` when it has not said anything."""
        data = await self.request("get_last_assistant_text")
        if data == {}:  # JavaScript leaves out what is undefined
            return None
        text: str | None = response_field("get_last_assistant_text", data, "text", str | None)
        return text

    async def get_commands(self) -> tuple[SlashCommand, ...]:
        """What can be prompted as ``/name``: commands of extensions, prompt templates, skills."""
        data = await self.request("get_commands")
        found: tuple[SlashCommand, ...] = response_field("get_commands", data, "commands", tuple[SlashCommand, ...])
        return found

    async def get_entries(self, *, since: str | None = None) -> Entries:
        """Every entry of the session, abandoned branches too, in the order they were made.

        ``since`` is the id of an entry: only those after it. An id that Pi does not know is refused.
        """
        params = {} if since is None else {"since": since}
        return response_data("get_entries", await self.request("get_entries", params), Entries)

    async def get_tree(self) -> ConversationTree:
        """The session as a tree. Asks for :meth:`get_entries`: see :class:`ConversationTree` for why."""
        return ConversationTree(await self.get_entries())

    async def get_fork_messages(self) -> tuple[ForkMessage, ...]:
        """The messages of the user, to :meth:`fork` from."""
        data = await self.request("get_fork_messages")
        found: tuple[ForkMessage, ...] = response_field("get_fork_messages", data, "messages", tuple[ForkMessage, ...])
        return found

    # --- other sessions ------------------------------------------------------------------------------

    async def new_session(self, *, parent_session: str | None = None) -> SessionSwitch:
        """Start a fresh session. An extension may refuse (``cancelled``), here as below."""
        params = {} if parent_session is None else {"parentSession": parent_session}
        return await self._switch("new_session", params, SessionSwitch)

    async def switch_session(self, session_path: str | os.PathLike[str]) -> SessionSwitch:
        """Continue the session in this file."""
        return await self._switch("switch_session", {"sessionPath": os.fspath(session_path)}, SessionSwitch)

    async def fork(self, entry_id: str) -> Fork:
        """Go on in a new session, with the history up to before a message of the user."""
        return await self._switch("fork", {"entryId": entry_id}, Fork)

    async def clone(self) -> SessionSwitch:
        """Go on in a new session, with the same history."""
        return await self._switch("clone", {}, SessionSwitch)

    async def _switch(self, command: str, params: dict[str, str], cls: type[S]) -> S:
        await self._let_prompt_arrive()
        switch = response_data(command, await self.request(command, params), cls)
        if not switch.cancelled:
            await self._refresh()
        return switch

    # --- what becomes of this one --------------------------------------------------------------------

    async def set_session_name(self, name: str) -> None:
        """Name the session. An empty name is refused."""
        await self.request("set_session_name", {"name": name})

    async def compact(
        self, custom_instructions: str | None = None, *, timeout: float | None = None
    ) -> CompactionResult:
        """Replace the older part of the history by a summary, which the model writes.

        What Pi is doing is aborted first. There is no time-out unless one is given. Cancelled, it is given up, but
        Pi goes on with it: :meth:`abort` ends it. Pi refuses when there is too little to compact, or the model fails.
        """
        await self._let_prompt_arrive()
        params = {} if custom_instructions is None else {"customInstructions": custom_instructions}
        return response_data("compact", await self.request("compact", params, timeout=timeout), CompactionResult)

    async def set_auto_compaction(self, enabled: bool) -> None:
        """Whether Pi compacts by itself when the context is nearly full."""
        check_flag("enabled", enabled)
        await self.request("set_auto_compaction", {"enabled": enabled})

    async def export_html(self, output_path: str | os.PathLike[str] | None = None) -> str:
        """Write the session as a page, and return the path of the file (Pi chooses one by default)."""
        params = {} if output_path is None else {"outputPath": os.fspath(output_path)}
        path: str = response_field("export_html", await self.request("export_html", params), "path", str)
        return path
