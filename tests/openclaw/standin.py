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

from .scenario import PROMPTS, SLOWLY

__all__ = ["Standin", "open_standin", "recording"]

HERE = Path(__file__).parent / "recorded"

# Between two events of a run: enough that others can say something.
_PACE = 0.002

_READ, _WRITE, _ADMIN = "operator.read", "operator.write", "operator.admin"

# The right that each method takes.
_METHODS = {
    "sessions.subscribe": _READ,
    "sessions.list": _READ,
    "sessions.describe": _READ,
    "sessions.catalog.list": _READ,
    "chat.history": _READ,
    "agent.wait": _WRITE,
    "chat.send": _WRITE,
    "chat.abort": _WRITE,
    "sessions.create": _WRITE,
    "sessions.delete": _ADMIN,
}

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
        scope = _METHODS.get(method, _ADMIN)
        if not {scope, _ADMIN} & set(peer.scopes) and not (scope == _READ and _WRITE in peer.scopes):
            missing: Record = json.loads(json.dumps(errors["scope"]).replace(_READ, scope))
            return missing
        if method == "sessions.catalog.list" and self.catalog is None:
            found: Record = errors["catalog"]
            return found
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
        row = {**session.row, "hasActiveRun": session.running is not None}
        if "activeRunIds" in row:
            row["activeRunIds"] = [] if session.running is None else [session.last_run]
        return row

    async def _sessions_describe(self, _: Peer, params: Record) -> Any:
        session = self.sessions.get(params["key"])
        if session is None:
            return self.recorded["missing"]
        described = self._row(session)
        return {"session": {key: described.get(key, session.described[key]) for key in session.described}}

    async def _sessions_catalog_list(self, _: Peer, params: Record) -> Any:
        # As the gateway's own declarations have it: no plugin of its package brings this catalog.
        host = {"hostId": "gateway", "label": "this", "kind": "gateway", "connected": True, "sessions": self.catalog}
        capabilities = {"continueSession": False, "archive": False}
        return {"catalogs": [{"id": params["catalogId"], "label": "Pi", "capabilities": capabilities, "hosts": [host]}]}

    async def _sessions_create(self, _: Peer, params: Record) -> Any:
        self.made += 1
        key, session_id, label = params["key"], f"session-{self.made}", params.get("label", "")
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
        recorded = _filled(
            self.recorded["runs"][prompt],
            key=session.key,
            session=session.session_id,
            label=session.label,
            run=run_id,
        )
        assert session.running is None, "a real gateway would put this into a queue"
        session.running = self.runs[run_id] = Running()
        session.last_run = run_id
        self.nursery.start_soon(self._play, session, session.running, prompt, recorded)
        return recorded["sent"]

    async def _play(self, session: Session, running: Running, prompt: str, recorded: Record) -> None:
        for event in recorded["events"]:
            await trio.sleep(_PACE)
            self._tell(event)
        if prompt == SLOWLY:
            await running.aborted.wait()
            for event in recorded["afterAbort"]:
                await trio.sleep(_PACE)
                self._tell(event)
        session.messages += recorded["messages"]
        running.over.set()
        await trio.sleep(10 * _PACE)  # it takes another prompt only behind that
        session.running = None
        session.row, session.described = recorded["row"], recorded["described"]

    async def _chat_abort(self, _: Peer, params: Record) -> Any:
        session = self.sessions[params["sessionKey"]]
        if session.running is None:
            return {"ok": True, "aborted": False, "runIds": []}
        session.running.aborted.set()
        return {"ok": True, "aborted": True, "runIds": [session.last_run]}

    async def _agent_wait(self, _: Peer, params: Record) -> Any:
        running = self.runs[params["runId"]]
        with trio.move_on_after(params["timeoutMs"] / 1000) as scope:
            await running.over.wait()
        return {"runId": params["runId"], "status": "timeout" if scope.cancelled_caught else "ok"}


@asynccontextmanager
async def open_standin(version: str, token: str, *, port: int = 0) -> AsyncIterator[Standin]:
    """The stand-in for a gateway of that version, for the body. Behind it all connections are cut."""
    async with trio.open_nursery() as nursery:
        standin = Standin(recording(version), token, nursery)
        serve = functools.partial(
            trio_websocket.serve_websocket, standin.accept, "127.0.0.1", port, None, handler_nursery=nursery
        )
        server = await nursery.start(serve)
        standin.port = server.port
        yield standin
        nursery.cancel_scope.cancel()
