"""The program: command line, stdin, signals, the end. What Pi does with commands is in the other modules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import orjson
import trio

from ..model_server import Turn
from ..world import System
from .agent import Agent
from .commands import COMMANDS, Later, Refused
from .extension import SimUI
from .messages import Json, for_model, model_record, usage_of
from .session import Session
from .shell_tool import ShellCommands
from .tools import Tools

if TYPE_CHECKING:
    from .config import SimPi

__all__ = ["PiProcess"]

# Seconds, somewhere in these ranges; around those of the real Pi on a quiet machine (a cold start takes 0.26 s).
_LOADING = (0.1, 0.3)
_STARTING = (0.05, 0.2)
_THINKING = (0.0001, 0.1)
_LEAVING = (0.005, 0.05)


class PiProcess:
    """One running Pi."""

    def __init__(self, config: SimPi, system: System) -> None:
        self.config = config
        self.system = system
        self.dialect = config.dialect
        self.models = [model_record(provider, id_) for provider, id_ in config.models]
        self.model = self.models[0]
        self.thinking = "off"
        self.auto_compaction = True
        self.compacting = False
        self.ended = False
        """Whether it is on its way out: nothing is told any more."""
        self.agent = Agent(self)
        self.shells = ShellCommands(system, config.shell)
        self.tools = Tools(self, config.tools)
        self.ui = SimUI(system, self.emit)
        self.session: Session
        self._options = _options(system.argv)

    # --- what the other modules use -----------------------------------------------------------------------

    def emit(self, record: Json) -> None:
        """Write one record."""
        if not self.ended:
            self.system.stdout.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))

    async def wait_flushed(self) -> None:
        """Wait until the other side has taken in what was written, so far that there is room for more."""
        await self.system.stdout.wait_flushed()

    def timestamp(self) -> int:
        """Milliseconds, as Pi stamps messages."""
        return round(trio.current_time() * 1000)

    async def ask_model(self, conversation: Iterable[Json]) -> Turn:
        """The next answer of the model."""
        turn = await self.config.answer(self.model["id"], conversation)
        await self.system.wait_running()
        return turn

    @property
    def model_calls(self) -> int:
        """How many requests the model has had."""
        return self.config.asked

    def new_session(self) -> Session:
        """A fresh one."""
        return self.config.sessions.new(self.system.random, kept="--no-session" not in self._options)

    def context_edit(self) -> Json:
        """The entry that takes a failed answer out of what the model is given."""
        target = f"{self.system.random.getrandbits(32):08x}"
        return {
            "type": "context_edit",
            "id": f"{self.system.random.getrandbits(32):08x}",
            "parentId": target,
            "timestamp": "1970-01-01T00:00:00.000Z",
            "targetId": target,
            "replacement": None,
        }

    async def compact(self, instructions: str | None) -> Json:
        """Summarize the conversation.

        Raises:
            Refused: there is nothing to summarize, or the model did not.
        """
        session = self.session
        before = list(session.messages)
        if session.compacted:
            raise Refused("Already compacted")
        if sum(len(text["content"]) for text in for_model(before)) < 4 * self.config.kept_tokens or not before:
            raise Refused("Nothing to compact (session too small)")
        request = {"role": "system", "content": "You are a context summarization assistant."}
        asked = {"role": "user", "content": f"Summarize this conversation. {instructions or ''}"}
        turn = await self.ask_model((request, asked, *for_model(before)))
        await self.system.sleep(turn.delay)
        if turn.status != 200:
            raise Refused(f"{turn.status}: {turn.text}")
        session.messages.clear()
        summary = "".join(turn.pieces)
        session.messages.append({"role": "compactionSummary", "summary": summary, "timestamp": self.timestamp()})
        session.compacted = True
        return {
            "summary": summary,
            "firstKeptEntryId": f"{self.system.random.getrandbits(32):08x}",
            "tokensBefore": sum(len(text["content"]) for text in for_model(before)) // 4,
            "estimatedTokensAfter": len(summary) // 4,
            "usage": usage_of(turn),
            "details": {"readFiles": [], "modifiedFiles": []},
        }

    # --- its life -------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """From the start to a closed stdin; signals end it otherwise."""
        system = self.system
        await system.take(_LOADING)  # Node.js: signals end it by themselves
        system.ignore_signal("SIGPIPE")
        if not self._configure():
            await system.write(2, f"No session found matching '{self._options.get('--session')}'\n".encode())
            return 1
        await system.take(_STARTING)
        system.on_signal("SIGTERM", lambda _: self._end_by_signal("SIGTERM", 143))
        system.on_signal("SIGHUP", lambda _: self._end_by_signal("SIGHUP", 129))
        await self._read_commands()
        await self._shut_down(flush=True)
        return 0

    def _configure(self) -> bool:
        options, config = self._options, self.config
        provider: str = options.get("--provider") or self.model["provider"]
        name: str = options.get("--model") or self.model["id"]
        known = [model for model in self.models if (model["provider"], model["id"]) == (provider, name)]
        if not known:
            known = [model_record(provider, name)]
            self.models += known
        self.model = known[0]
        self.thinking = options.get("--thinking", "off")
        found: Session | None
        if "--session" in options:
            found = config.sessions.find(options["--session"])
        elif "--session-id" in options:
            found = config.sessions.open(options["--session-id"])
        else:
            found = self.new_session()
        if found is None:
            return False
        self.session = found
        return True

    async def _read_commands(self) -> None:
        buffer = b""
        while data := await self.system.read_stdin():
            await self.system.linger(_THINKING)
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                self._take(line)
            await self.wait_flushed()

    def _take(self, line: bytes) -> None:
        if not line or self.ended:
            return
        try:
            asked = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            said = f"Failed to parse command: {error}"
            self.emit({"type": "response", "command": "parse", "success": False, "error": said})
            return
        kind = asked.get("type")
        if kind == "extension_ui_response":
            self.ui.answer(asked)
            return
        function = COMMANDS.get(kind)
        if function is None:
            self._respond(asked, None, f"Unknown command: {kind}")
            return
        try:
            data = function(self, asked)
        except Refused as refused:
            self._respond(asked, None, str(refused))
        else:
            if isinstance(data, Later):
                self.system.start_soon(self._respond_later, asked, data)
            else:
                self._respond(asked, data)

    async def _respond_later(self, asked: Json, later: Later) -> None:
        try:
            self._respond(asked, await later.work())
        except Refused as refused:
            self._respond(asked, None, str(refused))

    def _respond(self, asked: Json, data: Any, error: str | None = None) -> None:
        response: Json = {} if asked.get("id") is None else {"id": asked["id"]}
        response |= {"type": "response", "command": asked.get("type"), "success": error is None}
        if error is not None:
            response["error"] = error
        elif data is not None:
            response["data"] = data
        self.emit(response)

    # --- its end --------------------------------------------------------------------------------------------

    def _end_by_signal(self, name: str, code: int) -> None:
        if self.ended and self.dialect.keeps_handlers:
            self.system.exit(code)
        elif not self.ended:
            self.system.start_soon(self._exit, code, name != "SIGTERM")
        self.ended = True

    async def _exit(self, code: int, flush: bool) -> None:
        await self._shut_down(flush=flush)
        self.system.exit(code)

    async def _shut_down(self, *, flush: bool) -> None:
        """Pi kills its shell commands, not what has left their process groups; then it is gone."""
        self.ended = True
        if not self.dialect.keeps_handlers:
            for name in ("SIGTERM", "SIGHUP"):
                self.system.on_signal(name, None)
        self.shells.kill()
        await self.system.take(_LEAVING)
        if flush:
            await self.wait_flushed()


def _options(argv: tuple[str, ...]) -> dict[str, str]:
    """The options of the command line; a flag without a value has ``""``."""
    found: dict[str, str] = {}
    rest = list(argv[1:])
    while rest:
        name = rest.pop(0)
        found[name] = rest.pop(0) if rest and not rest[0].startswith("--") else ""
    return found
