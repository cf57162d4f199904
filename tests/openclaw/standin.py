"""A stand-in for a gateway: a WebSocket server that says what a real one was recorded saying.

What is recorded is used as it is, with the keys and ids of the moment; what is made up here is which of it is said when.
The conformance suite holds it against the real ones.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio
import trio_websocket
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest

from pi_trio.protocol import Record

from .scenario import PROMPTS, SLOWLY, TOOL

__all__ = ["Standin", "open_standin", "recording"]

HERE = Path(__file__).parent / "recorded"

# Between two events of a run: enough that others can say something.
_PACE = 0.002

# How long a tool is used, and how long what a run is told is on its way into it.
_TOOL_TIME = 0.2
_TAKING_IN = 0.05

_READ, _WRITE, _ADMIN = "operator.read", "operator.write", "operator.admin"

# The right that each method takes.
_METHODS = {
    "sessions.subscribe": _READ,
    "sessions.list": _READ,
    "sessions.describe": _READ,
    "sessions.catalog.list": _READ,
    "sessions.catalog.read": _READ,
    "sessions.catalog.continue": _WRITE,
    "models.list": _READ,
    "commands.list": _READ,
    "chat.history": _READ,
    "agent.wait": _WRITE,
    "chat.send": _WRITE,
    "chat.abort": _WRITE,
    "sessions.create": _WRITE,
    "sessions.delete": _ADMIN,
}

# How many sessions of a catalog are listed at once.
_CATALOG_PAGE = 2

_FILTERS = {"limit", "offset", "activeMinutes", "label", "search", "agentId", "includeGlobal", "includeUnknown"}
_LATER_FILTERS = {"archived", "activeOnly", "sortBy"}


@functools.cache
def recording(version: str) -> Record:
    """What a gateway of that version said."""
    recorded: Record = json.loads((HERE / f"{version}.json").read_text())
    return recorded


def _filled(recorded: Any, **words: str) -> Any:
    """A recorded value with the words of now: each stands in braces."""
    text = json.dumps(recorded)
    for name, word in words.items():
        text = text.replace(f"{{{name}}}", json.dumps(word)[1:-1])
    return json.loads(text)


@attrs.define(eq=False)
class Running:
    """One run of the stand-in."""

    aborted: trio.Event = attrs.field(factory=trio.Event)
    over: trio.Event = attrs.field(factory=trio.Event)
    uses_tool: bool = False
    steered: trio.Event = attrs.field(factory=trio.Event)
    steer: str | None = None
    """What it is told while it uses a tool, by its id, until that is taken in or taken back."""
    following: list[tuple[str, str]] = attrs.field(factory=list)
    """What it was told otherwise: prompts and their ids."""


@attrs.define(eq=False)
class Session:
    """One session of the stand-in."""

    key: str
    session_id: str
    label: str
    row: Record
    described: Record
    messages: list[Record] = attrs.field(factory=list)
    running: Running | None = None
    last_run: str | None = None
    settings: Record = attrs.field(factory=dict)
    """Fields of its row that were patched."""


@attrs.define(eq=False)
class Peer:
    """One connection to the stand-in."""

    connection: WebSocketConnection
    scopes: tuple[str, ...] = ()
    subscribed: bool = False
    sending: trio.MemorySendChannel[Record] | None = None

    def send(self, frame: Record) -> None:
        if self.sending is not None:
            self.sending.send_nowait(frame)


@attrs.define(eq=False)
class Standin:
    """A gateway that is not one. Tests may change what it is like."""

    recorded: Record
    token: str
    nursery: trio.Nursery
    port: int = 0
    starting: int = 0
    """How many connections it lets in only later: it is still starting."""
    catalog: list[Record] | None = None
    """What its catalog of Pis lists; ``None``: there is none."""
    catalog_fails: bool = False
    """Whether the plugin that lists it is in trouble."""
    after_page: Callable[[], None] = lambda: None
    """Called behind each page that was asked for."""
    sessions: dict[str, Session] = attrs.field(factory=dict)
    peers: set[Peer] = attrs.field(factory=set)
    runs: dict[str, Running] = attrs.field(factory=dict)
    asked: list[Record] = attrs.field(factory=list)
    """Every request so far."""
    made: int = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def version(self) -> str:
        return str(self.recorded["version"])

    @property
    def _is_later(self) -> bool:
        return "sessions.branches.list" in self.recorded["hello"]["features"]["methods"]

    # --- connections ---------------------------------------------------------------------------------

    async def accept(self, request: WebSocketRequest) -> None:
        peer = Peer(await request.accept())
        try:
            await self._serve(peer)
        except* ConnectionClosed:
            pass
        finally:
            self.peers.discard(peer)

    async def _serve(self, peer: Peer) -> None:
        challenge = {"nonce": "one", "ts": 1}
        await self._say(peer, {"type": "event", "event": "connect.challenge", "payload": challenge})
        request = json.loads(await peer.connection.get_message())
        refusal = self._refusal(request)
        if refusal is not None:
            await self._say(peer, {"type": "res", "id": request["id"], "ok": False, "error": refusal["error"]})
            await peer.connection.aclose(refusal["close"], refusal["reason"])
            return
        peer.scopes = tuple(request["params"]["scopes"])
        hello = {**self.recorded["hello"], "auth": {"role": "operator", "scopes": list(peer.scopes)}}
        await self._say(peer, {"type": "res", "id": request["id"], "ok": True, "payload": hello})
        async with trio.open_nursery() as nursery:
            peer.sending, frames = trio.open_memory_channel[Record](math.inf)
            self.peers.add(peer)
            nursery.start_soon(self._send_all, peer, frames)
            while True:
                asked = json.loads(await peer.connection.get_message())
                self.asked.append(asked)
                nursery.start_soon(self._answer, peer, asked)

    def _refusal(self, request: Record) -> Record | None:
        params = request["params"]
        refusals: Record = self.recorded["refusals"]
        if self.starting:
            self.starting -= 1
            # As a gateway says it (its documentation, "handshake"): too rarely to be recorded at will.
            details = {"reason": "startup-sidecars"}
            error = {"code": "UNAVAILABLE", "message": "gateway starting; retry shortly", "details": details}
            return {"error": {**error, "retryable": True, "retryAfterMs": 20}, "close": 1013, "reason": "starting"}
        if not params["minProtocol"] <= self.recorded["hello"]["protocol"] <= params["maxProtocol"]:
            found: Record = refusals["another protocol"]
        elif "auth" not in params:
            found = refusals["no token"]
        elif params["auth"]["token"] != self.token:
            found = refusals["another token"]
        else:
            return None
        return found

    async def _say(self, peer: Peer, frame: Record) -> None:
        await peer.connection.send_message(json.dumps(frame))

    async def _send_all(self, peer: Peer, frames: trio.MemoryReceiveChannel[Record]) -> None:
        async for frame in frames:
            await self._say(peer, frame)

    def _tell(self, frame: Record, *, subscribed: bool = False) -> None:
        for peer in self.peers:
            if peer.subscribed or not subscribed:
                peer.send(frame)

    def kill(self) -> None:
        """Be gone, without a word to anybody."""
        self.nursery.cancel_scope.cancel()

    async def go_on(self, session: Session, running: Running) -> None:
        """With what was under way: under another id, and to whom it is told, that is part of it."""
        while not running.following:
            await trio.sleep(_PACE)
        session.messages.append({"role": "user", "content": "[System] It was interrupted by a gateway restart."})
        session.messages.append({"role": "assistant", "content": "I go on", "stopReason": "stop"})
        running.over.set()
        session.running = None
        for prompt, its_id in running.following:
            await self._play_another(session, prompt, its_id)

    def set_thread(self, thread_id: str, usable: bool | None) -> None:
        """Put a session of a Pi into the catalog, or take it out (``None``)."""
        (host,) = self.recorded["catalog"]["page"]["catalogs"][0]["hosts"]
        (row,) = host["sessions"]
        kept = [each for each in self.catalog or () if each["threadId"] != thread_id]
        made = [] if usable is None else [{**row, "threadId": thread_id, "canContinue": usable}]
        self.catalog = [*kept, *made]

    async def shut_down(self) -> None:
        """Say goodbye as a gateway does that is told to stop."""
        self._tell({"type": "event", "event": "shutdown", "payload": {"reason": "gateway stopping"}})
        for peer in tuple(self.peers):
            await trio.sleep(_PACE)
            await peer.connection.aclose(1012, "service restart")

    # --- methods -------------------------------------------------------------------------------------

    async def _answer(self, peer: Peer, asked: Record) -> None:
        method, params = asked["method"], asked["params"]
        error = self._error(peer, method, params)
        if error is not None:
            peer.send({"type": "res", "id": asked["id"], "ok": False, "error": error})
            return
        do = getattr(self, "_" + method.replace(".", "_"))
        payload = await do(peer, params)
        peer.send({"type": "res", "id": asked["id"], "ok": True, "payload": payload})

    def _error(self, peer: Peer, method: str, params: Record) -> Record | None:
        errors: Record = self.recorded["errors"]
        # A later gateway lets those who may write choose the model, and the name.
        scope = _WRITE if method == "sessions.patch" and self._is_later else _METHODS.get(method, _ADMIN)
        if not {scope, _ADMIN} & set(peer.scopes) and not (scope == _READ and _WRITE in peer.scopes):
            missing: Record = json.loads(json.dumps(errors["scope"]).replace(_READ, scope))
            return missing
        if method == "sessions.catalog.list" and self.catalog is None:
            found: Record = errors["catalog"] if "catalog" in errors else self.recorded["catalog"]["unknown"]
            return found
        if method == "chat.send" and "queueMode" in params and not self._is_later:
            unqueued: Record = self.recorded["kept"]["queueMode"]
            return unqueued
        if method == "sessions.patch":
            return self._refused_patch(params)
        if method == "sessions.list":
            unknown = set(params) - _FILTERS - (_LATER_FILTERS if self._is_later else set())
            if unknown:
                refused: Record = json.loads(json.dumps(errors["filter"]).replace("kinds", min(unknown)))
                return refused
        return None

    async def _sessions_subscribe(self, peer: Peer, _: Record) -> Any:
        peer.subscribed = True
        return {"subscribed": True}

    async def _sessions_list(self, _: Peer, params: Record) -> Any:
        rows = [each for each in reversed(self.sessions.values()) if self._matches(each, params)]
        limit, offset = params.get("limit", 100), params.get("offset", 0)
        shown, more = rows[offset : offset + limit], len(rows) > offset + limit
        page = {**self.recorded["page"], "count": len(shown), "totalCount": len(rows), "limitApplied": limit}
        sessions = [self._row(each) for each in shown]
        self.after_page()
        following = {"nextOffset": offset + limit if more else None, "hasMore": more}
        return {**page, **following, "sessions": sessions}

    def _matches(self, session: Session, params: Record) -> bool:
        search = str(params.get("search", "")).lower()
        return (
            (search in session.key.lower() or search in session.label.lower())
            and params.get("label", session.label) == session.label
            and params.get("agentId", "main") == session.key.split(":")[1]
            and not params.get("archived", False)
        )

    def _row(self, session: Session) -> Record:
        row = {**session.row, **session.settings, "hasActiveRun": session.running is not None}
        if "activeRunIds" in row:
            row["activeRunIds"] = [] if session.running is None else [session.last_run]
        return row

    async def _sessions_describe(self, _: Peer, params: Record) -> Any:
        session = self.sessions.get(params["key"])
        if session is None:
            return self.recorded["missing"]
        now = {key: value for key, value in self._row(session).items() if key in ("hasActiveRun", "activeRunIds")}
        told = {key: now.get(key, value) for key, value in session.described.items()}
        return {"session": {**told, **session.settings}}

    async def _sessions_catalog_list(self, _: Peer, params: Record) -> Any:
        page = _filled(self.recorded["catalog"]["page"]) if self._is_later else None
        if page is None:  # no gateway is that old and has one; but ours must not mind
            page = {"catalogs": [{"id": params["catalogId"], "label": "Pi", "hosts": [{"hostId": "gateway:local"}]}]}
        (host,) = page["catalogs"][0]["hosts"]
        from_ = int(params.get("cursors", {}).get(host["hostId"], 0))
        host["sessions"] = (self.catalog or [])[from_ : from_ + _CATALOG_PAGE]
        if len(self.catalog or []) > from_ + _CATALOG_PAGE:
            host["nextCursor"] = str(from_ + _CATALOG_PAGE)
        if self.catalog_fails:
            page["catalogs"][0] |= {"hosts": [], "error": {"code": "catalog_busy", "message": "it is busy"}}
        return page

    async def _sessions_catalog_read(self, _: Peer, params: Record) -> Any:
        return _filled(self.recorded["catalog"]["read"], thread=params["threadId"])

    async def _sessions_catalog_continue(self, peer: Peer, params: Record) -> Any:
        key = f"agent:main:dashboard:{params['threadId']}"
        recorded = _filled(self.recorded["catalog"], thread=params["threadId"], continued=key)
        await self._sessions_create(peer, {"key": key})
        self.sessions[key].messages += recorded["history"]
        for row in self.catalog or ():
            if row["threadId"] == params["threadId"]:
                row["sessionKey"] = key
        return recorded["continued"]

    async def _models_list(self, _: Peer, __: Record) -> Any:
        return self.recorded["kept"]["models"]

    async def _commands_list(self, _: Peer, __: Record) -> Any:
        return self.recorded["kept"]["commands"]

    def _refused_patch(self, params: Record) -> Record | None:
        kept: Record = self.recorded["kept"]
        if params.get("thinkingLevel", "off") != "off":
            return dict(kept["thinking"])
        label = params.get("label")
        if label is not None and any(each.label == label for each in self.sessions.values()):
            return dict(_filled(kept["label"], label=label))
        return None

    async def _sessions_patch(self, _: Peer, params: Record) -> Any:
        session = self.sessions[params["key"]]
        if "model" in params:
            provider, _slash, model = params["model"].partition("/")
            session.settings |= {"modelProvider": provider, "model": model}
        if "label" in params:
            session.label = params["label"]
            session.settings |= {"label": session.label, "displayName": session.label}
        if "thinkingLevel" in params:
            session.settings["thinkingLevel"] = params["thinkingLevel"]
        self._tell(self._changed(session, "create"), subscribed=True)
        return {"ok": True, "key": session.key}

    def _changed(self, session: Session, how: str) -> Record:
        words = {"key": session.key, "session": session.session_id, "label": session.label}
        changed: Record = _filled(self.recorded["changed"][how], **words)
        return changed

    async def _sessions_compact(self, _: Peer, params: Record) -> Any:
        session, kept = self.sessions[params["key"]], self.recorded["kept"]
        if session.running is not None:
            session.running.aborted.set()
        if sum(message["role"] == "user" for message in session.messages) < 2:
            return _filled(kept["notCompacted"], key=session.key)
        session.messages.append(kept["compactedMark"])
        return _filled(kept["compacted"], key=session.key)

    async def _sessions_reset(self, _: Peer, params: Record) -> Any:
        session, kept = self.sessions[params["key"]], self.recorded["kept"]
        if session.running is not None:
            session.running.aborted.set()
            await session.running.over.wait()
        session.messages = list(kept["resetMarks"])
        return _filled(kept["reset"], key=session.key)

    async def _sessions_create(self, _: Peer, params: Record) -> Any:
        self.made += 1
        key, session_id = params["key"], f"session-{self.made}"
        label = params.get("label", "")
        words = {"key": key, "session": session_id, "label": label}
        row, described = _filled(self.recorded["row"], **words), _filled(self.recorded["described"], **words)
        self.sessions[key] = Session(key, session_id, label, row, described)
        self._tell(_filled(self.recorded["changed"]["create"], **words), subscribed=True)
        return _filled(self.recorded["created"], **words)

    async def _sessions_delete(self, _: Peer, params: Record) -> Any:
        session = self.sessions.pop(params["key"])
        words = {"key": session.key, "session": session.session_id, "label": session.label}
        self._tell(_filled(self.recorded["changed"]["delete"], **words), subscribed=True)
        return _filled(self.recorded["deleted"], **words)

    async def _chat_history(self, _: Peer, params: Record) -> Any:
        session = self.sessions[params["sessionKey"]]
        messages = session.messages[-params.get("limit", 200) :]
        return {"sessionKey": session.key, "sessionId": session.session_id, "messages": messages}

    # --- runs ----------------------------------------------------------------------------------------

    async def _chat_send(self, _: Peer, params: Record) -> Any:
        session, run_id = self.sessions[params["sessionKey"]], params["idempotencyKey"]
        prompt = next(each for each in PROMPTS if each in params["message"])
        sent = {"runId": run_id, "status": "started"}
        if session.running is None:
            session.running = self.runs[run_id] = Running()
            session.last_run = run_id
            self.nursery.start_soon(self._play, session, session.running, prompt, run_id)
        elif session.running.uses_tool and session.running.steer is None:
            session.running.steer = run_id
            session.running.steered.set()
        else:
            session.running.following.append((prompt, run_id))
            self._say_final(session, run_id)
        return sent

    def _say_final(self, session: Session, run_id: str, state: str = "final") -> None:
        payload = {"runId": run_id, "sessionKey": session.key, "seq": 1, "state": state}
        self._tell({"type": "event", "event": "chat", "payload": payload})

    def _recorded_run(self, session: Session, prompt: str, run_id: str) -> Record:
        words = {"key": session.key, "session": session.session_id, "label": session.label, "run": run_id}
        recorded: Record = _filled(self.recorded["runs"][prompt], **words)
        return recorded

    async def _play(self, session: Session, running: Running, prompt: str, run_id: str) -> None:
        recorded = self._recorded_run(session, prompt, run_id)
        messages = recorded["messages"]
        for event in recorded["events"]:
            await trio.sleep(_PACE)
            self._tell(event)
            if prompt == TOOL and _begins_tool(event):
                messages = await self._use_tool(session, running, run_id) or messages
                if running.steer is not None:
                    break
        if prompt == SLOWLY:
            await running.aborted.wait()
            for event in recorded["afterAbort"]:
                await trio.sleep(_PACE)
                self._tell(event)
        session.messages += self._by_its_model(session, messages)
        running.over.set()
        await trio.sleep(10 * _PACE)  # it takes another prompt only behind that
        session.running = None
        session.row, session.described = recorded["row"], recorded["described"]
        for following, its_id in running.following:
            await self._play_another(session, following, its_id)

    async def _use_tool(self, session: Session, running: Running, run_id: str) -> list[Record] | None:
        """The rest of a run that is told something meanwhile; nothing of one that is not."""
        running.uses_tool = True
        with trio.move_on_after(_TOOL_TIME):
            await running.steered.wait()
        steer = running.steer
        if steer is None:
            running.uses_tool = False
            return None
        if not self._is_later:  # which has it at once
            self._say_final(session, steer)
        await trio.sleep(_TAKING_IN)
        running.uses_tool = False
        if running.steer is None:  # it was taken back
            return None
        words = {"key": session.key, "session": session.session_id, "run": run_id, "steer": steer}
        recorded = _filled(self.recorded["steered"], **words)
        for event in recorded["events"]:
            await trio.sleep(_PACE)
            if self._is_later or event["payload"].get("runId") != steer:
                self._tell(event)
        messages: list[Record] = recorded["messages"]
        return messages

    async def _play_another(self, session: Session, prompt: str, asked_as: str) -> None:
        """What a run could not be told any more, another does: of an id that nobody knows, and nobody sees it at work."""
        self.made += 1
        recorded = self._recorded_run(session, prompt, f"another-{self.made}")
        messages = self._recorded_run(session, prompt, asked_as)["messages"]
        await trio.sleep(10 * _PACE)
        session.messages += messages[:1]
        for event in recorded["events"]:
            await trio.sleep(_PACE)
            self._tell(event)
        session.messages += self._by_its_model(session, messages[1:])

    def _by_its_model(self, session: Session, messages: list[Record]) -> list[Record]:
        model = session.settings.get("model")
        return [{**each, "model": model} if model and each.get("model") == "scripted-1" else each for each in messages]

    async def _chat_abort(self, _: Peer, params: Record) -> Any:
        session = self.sessions[params["sessionKey"]]
        running, run_id = session.running, params.get("runId")
        if running is not None and run_id is not None and run_id == running.steer and self._is_later:
            running.steer = None
            self._say_final(session, run_id, "aborted")
            return {"ok": True, "aborted": True, "runIds": [run_id]}
        if running is None or run_id not in (None, session.last_run):
            return {"ok": True, "aborted": False, "runIds": []}
        running.aborted.set()
        return {"ok": True, "aborted": True, "runIds": [session.last_run]}

    async def _agent_wait(self, _: Peer, params: Record) -> Any:
        running = self.runs[params["runId"]]
        with trio.move_on_after(params["timeoutMs"] / 1000) as scope:
            await running.over.wait()
        return {"runId": params["runId"], "status": "timeout" if scope.cancelled_caught else "ok"}


def _begins_tool(event: Record) -> bool:
    payload = event["payload"]
    return bool(payload.get("stream") == "tool" and payload.get("data", {}).get("phase") == "start")


@asynccontextmanager
async def open_standin(
    version: str, token: str, *, port: int = 0, sessions: dict[str, Session] | None = None
) -> AsyncIterator[Standin]:
    """The stand-in for a gateway of that version, for the body. Behind it all connections are cut.

    With the ``sessions`` of one that was killed, it goes on with what that was at.
    """
    async with trio.open_nursery() as nursery:
        standin = Standin(recording(version), token, nursery)
        standin.sessions = standin.sessions if sessions is None else sessions
        serve = functools.partial(
            trio_websocket.serve_websocket, standin.accept, "127.0.0.1", port, None, handler_nursery=nursery
        )
        server = await nursery.start(serve)
        standin.port = server.port
        for session in standin.sessions.values():
            if session.running is not None:
                session.running = Running()
                nursery.start_soon(standin.go_on, session, session.running)
        yield standin
        nursery.cancel_scope.cancel()
