"""Records what real gateways say, for the stand-in that the fast tests talk to.

    python -m tests.openclaw.record

Keys, ids and folders are replaced by words in braces; of what a gateway says of itself and its machine, only what tells
versions apart is kept.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from pi_trio.protocol import Record, decode_line, encode_record
from pi_trio.testing import open_model_server
from pi_trio.transport import WebSocketTransport, open_websocket

from .gateways import SESSIONS, TOKEN, VERSIONS, GatewayInstall, RealGateway, installed, open_real_gateway, set_thread
from .scenario import COUNT, LEFT, PROMPTS, SLOWLY, TOOL, answer

HERE = Path(__file__).parent / "recorded"

KEY = "agent:main:recorded"
KEPT = "agent:main:kept"
"""A session that is compacted, and begun anew."""

SCOPES = ("operator.read", "operator.write", "operator.admin")

# What a hello says of the machine, or of the moment, and nobody here reads.
_LEFT_OUT = ("snapshot", "pluginSurfaceUrls", "controlUiUrl", "canvasHostUrl")


@attrs.define(eq=False)
class Tap:
    """One connection, of which everything that comes is kept."""

    link: WebSocketTransport
    frames: list[Record] = attrs.field(factory=list)
    asked: int = 0

    async def receive(self) -> None:
        for line in await self.link.receive():
            frame = decode_line(line)
            assert isinstance(frame, dict)
            self.frames.append(frame)

    async def until(self, found: Callable[[Record], bool], *, since: int = 0) -> Record:
        """The first frame behind ``since`` for which ``found`` is true."""
        with trio.fail_after(60):
            while True:
                for frame in self.frames[since:]:
                    if found(frame):
                        return frame
                await self.receive()

    async def ask(self, method: str, params: Record) -> Record:
        self.asked += 1
        id_ = f"q{self.asked}"
        self.link.send_nowait(encode_record({"type": "req", "id": id_, "method": method, "params": params}))
        return await self.until(lambda frame: frame.get("type") == "res" and frame.get("id") == id_)

    async def payload(self, method: str, params: Record) -> Any:
        response = await self.ask(method, params)
        assert response["ok"], response
        return response["payload"]


@asynccontextmanager
async def tapped(url: str) -> AsyncIterator[Tap]:
    """A connection on which nothing has been said yet."""
    async with open_websocket(url, subprotocols=()) as link, trio.open_nursery() as nursery:
        nursery.start_soon(link.run_sender)
        tap = Tap(link)
        await tap.until(lambda frame: frame.get("event") == "connect.challenge")
        yield tap
        nursery.cancel_scope.cancel()


def introduction(token: str | None, scopes: tuple[str, ...] = SCOPES, protocol: int = 4) -> Record:
    """The parameters of ``connect``, written here once more: what is recorded must not depend on what it tests."""
    client = {"id": "gateway-client", "version": "1", "platform": "python", "mode": "backend"}
    params = {"minProtocol": protocol, "maxProtocol": protocol, "client": client, "role": "operator"}
    auth = {} if token is None else {"auth": {"token": token}}
    return {**params, "scopes": list(scopes), "caps": ["tool-events"], **auth}


async def _refusal(gateway: RealGateway, params: Record) -> Record:
    async with tapped(gateway.url) as tap:
        response = await tap.ask("connect", params)
        try:
            while True:
                await tap.receive()
        except trio.EndOfChannel:
            pass
        closing = tap.link.closing
        assert closing is not None
        return {"error": response["error"], "close": closing.code, "reason": closing.reason}


async def _without_scopes(gateway: RealGateway) -> Record:
    async with tapped(gateway.url) as tap:
        assert (await tap.ask("connect", introduction(TOKEN, ())))["ok"]
        error: Record = (await tap.ask("sessions.list", {}))["error"]
        return error


async def _changed(tap: Tap, since: int, reason: str) -> Record:
    def is_it(frame: Record) -> bool:
        return frame.get("event") == "sessions.changed" and frame["payload"].get("reason") == reason

    return await tap.until(is_it, since=since)


async def _run(tap: Tap, prompt: str) -> Record:
    """One run: what was answered, and what was told meanwhile."""
    since, run_id = len(tap.frames), "recorded-run"
    run_id = f"{run_id}-{prompt.split()[-1].lower()}"
    params = {"sessionKey": KEY, "message": prompt, "idempotencyKey": run_id}
    sent = await tap.payload("chat.send", params)

    def is_ours(frame: Record) -> bool:
        return frame.get("event") in ("chat", "agent") and frame["payload"].get("runId") == run_id

    aborted_at, aborted = None, None
    if prompt == SLOWLY:
        await tap.until(lambda frame: is_ours(frame) and "1 2 3" in json.dumps(frame), since=since)
        aborted_at = len(tap.frames)
        aborted = await tap.payload("chat.abort", {"sessionKey": KEY, "runId": run_id})
    waited = await tap.payload("agent.wait", {"runId": run_id, "timeoutMs": 60_000})
    row = await _idle(tap, KEY)
    messages = await _said(tap, KEY, prompt)
    described = await tap.payload("sessions.describe", {"key": KEY})
    before = [frame for frame in tap.frames[since:aborted_at] if is_ours(frame)]
    after = [] if aborted_at is None else [frame for frame in tap.frames[aborted_at:] if is_ours(frame)]
    recorded = {
        "sent": sent,
        "events": before,
        "afterAbort": after,
        "aborted": aborted,
        "waited": waited,
        "messages": messages,
        "row": row,
        "described": described["session"],
    }
    made: Record = _with_words(recorded, {run_id: "{run}"})
    return made


async def _idle(tap: Tap, key: str) -> Record:
    """Until the gateway takes another prompt; the session's row."""
    while True:
        page = await tap.payload("sessions.list", {"search": key})
        row: Record = page["sessions"][0]
        if not row.get("hasActiveRun"):
            return row
        await trio.sleep(0.1)


async def _said(tap: Tap, key: str, prompt: str) -> list[Record]:
    """What was said since this prompt came last."""
    messages: list[Record] = (await tap.payload("chat.history", {"sessionKey": key}))["messages"]
    begin = max(
        at for at, message in enumerate(messages) if prompt in json.dumps(message) and message["role"] == "user"
    )
    return messages[begin:]


async def _steered(tap: Tap, *, later: bool) -> Record:
    """A run that is told something while it uses a tool: what is told since, and what was said in the end."""
    since, run_id, steer_id = len(tap.frames), "recorded-steered", "recorded-steer"
    await tap.payload("chat.send", {"sessionKey": KEY, "message": TOOL, "idempotencyKey": run_id})

    def uses_tool(frame: Record) -> bool:
        return frame.get("event") == "agent" and frame["payload"].get("stream") == "tool"

    await tap.until(uses_tool, since=since)
    at = len(tap.frames)
    mode = {"queueMode": "steer"} if later else {}
    await tap.payload("chat.send", {"sessionKey": KEY, "message": LEFT, "idempotencyKey": steer_id, **mode})
    await tap.payload("agent.wait", {"runId": run_id, "timeoutMs": 60_000})
    await _idle(tap, KEY)
    events = [frame for frame in tap.frames[at:] if frame.get("event") in ("chat", "agent")]
    recorded: Record = {"events": events, "messages": await _said(tap, KEY, TOOL)}
    made: Record = _with_words(recorded, {run_id: "{run}", steer_id: "{steer}"})
    return made


async def _kept(tap: Tap, *, later: bool) -> Record:
    """What becomes of a session's history, and of its settings."""
    asked: Record = {"key": KEPT}
    await tap.payload("sessions.create", {**asked, "label": "kept"})
    recorded: Record = {"notCompacted": await tap.payload("sessions.compact", asked)}
    for number in range(2):
        run_id = f"kept-{number}"
        await tap.payload("chat.send", {"sessionKey": KEPT, "message": COUNT, "idempotencyKey": run_id})
        await tap.payload("agent.wait", {"runId": run_id, "timeoutMs": 60_000})
        await _idle(tap, KEPT)
    recorded["compacted"] = await tap.payload("sessions.compact", asked)
    recorded["compactedMark"] = (await tap.payload("chat.history", {"sessionKey": KEPT}))["messages"][-1]
    recorded["reset"] = await tap.payload("sessions.reset", {**asked, "reason": "new"})
    recorded["resetMarks"] = (await tap.payload("chat.history", {"sessionKey": KEPT}))["messages"]
    await tap.payload("sessions.patch", {**asked, "model": "local/scripted-1"})
    for name, params in (("label", {"label": "{label}"}), ("thinking", {"thinkingLevel": "high"})):
        recorded[name] = (await tap.ask("sessions.patch", {**asked, **params}))["error"]
    if not later:
        send = {"sessionKey": KEPT, "message": COUNT, "idempotencyKey": "kept", "queueMode": "steer"}
        recorded["queueMode"] = (await tap.ask("chat.send", send))["error"]
    recorded["models"] = await tap.payload("models.list", {})
    commands = (await tap.payload("commands.list", {"scope": "text"}))["commands"]
    recorded["commands"] = {"commands": [each for each in commands if each["name"] in ("status", "steer")]}
    await tap.payload("sessions.delete", asked)
    return recorded


async def _catalog(tap: Tap, sessions: Path) -> Record:
    """The catalog of Pis, with one session that is continued. A gateway takes its history in."""
    set_thread(sessions, "{thread}", True)
    recorded: Record = {"page": await tap.payload("sessions.catalog.list", {"catalogId": "pi"})}
    (host,) = recorded["page"]["catalogs"][0]["hosts"]
    place = {"catalogId": "pi", "hostId": host["hostId"], "threadId": "{thread}"}
    recorded["read"] = await tap.payload("sessions.catalog.read", place)
    continued = await tap.payload("sessions.catalog.continue", place)
    recorded["history"] = (await tap.payload("chat.history", continued))["messages"]
    key = continued["sessionKey"]
    await tap.payload("sessions.delete", {"key": key})
    unknown = (await tap.ask("sessions.catalog.list", {"catalogId": "no"}))["error"]
    recorded["unknown"] = _with_words(unknown, {"catalog: no": "catalog: pi"})
    made: Record = _with_words({**recorded, "continued": continued}, {key: "{continued}"})
    return made


def _with_words(value: Any, words: dict[str, str]) -> Any:
    text = json.dumps(value)
    for there, here in words.items():
        text = text.replace(json.dumps(there)[1:-1], here)
    return json.loads(text)


async def _play(gateway: RealGateway, sessions: Path) -> Record:
    recorded: Record = {"version": gateway.version}
    recorded["refusals"] = {
        "another token": await _refusal(gateway, introduction("another token")),
        "no token": await _refusal(gateway, introduction(None)),
        "another protocol": await _refusal(gateway, introduction(TOKEN, protocol=3)),
    }
    recorded["errors"] = {"scope": await _without_scopes(gateway)}
    async with tapped(gateway.url) as tap:
        hello = (await tap.ask("connect", introduction(TOKEN)))["payload"]
        recorded["hello"] = {key: value for key, value in hello.items() if key not in _LEFT_OUT}
        recorded["errors"]["filter"] = (await tap.ask("sessions.list", {"kinds": ["direct"]}))["error"]
        later = "sessions.branches.list" in hello["features"]["methods"]
        if later:
            recorded["catalog"] = await _catalog(tap, sessions)
        else:
            recorded["errors"]["catalog"] = (await tap.ask("sessions.catalog.list", {"catalogId": "pi"}))["error"]
        await tap.payload("sessions.subscribe", {})
        since = len(tap.frames)
        recorded["created"] = await tap.payload("sessions.create", {"key": KEY, "label": "{label}"})
        recorded["changed"] = {"create": await _changed(tap, since, "create")}
        page = await tap.payload("sessions.list", {})
        recorded["row"] = page["sessions"][0]
        recorded["page"] = {key: value for key, value in page.items() if key != "sessions"}
        recorded["described"] = (await tap.payload("sessions.describe", {"key": KEY}))["session"]
        recorded["missing"] = await tap.payload("sessions.describe", {"key": f"{KEY}-not"})
        recorded["runs"] = {prompt: await _run(tap, prompt) for prompt in PROMPTS}
        recorded["steered"] = await _steered(tap, later=later)
        recorded["kept"] = await _kept(tap, later=later)
        since = len(tap.frames)
        recorded["deleted"] = await tap.payload("sessions.delete", {"key": KEY})
        recorded["changed"]["delete"] = await _changed(tap, since, "delete")
        session_id = recorded["created"]["sessionId"]
    return recorded | {"sessionId": session_id}


async def record(install: GatewayInstall, folder: Path) -> None:
    """Record one version into one file."""
    async with open_model_server(answer) as model:
        with trio.fail_after(400):
            async with open_real_gateway(install, folder, model.base_url) as gateway:
                recorded = await _play(gateway, folder / SESSIONS)
    words = {
        str(folder): "/home/user",
        KEY: "{key}",
        KEPT: "{key}",
        recorded.pop("sessionId"): "{session}",
        TOKEN: "{token}",
    }
    target = HERE / f"{install.version}.json"
    target.write_text(json.dumps(_with_words(recorded, words), indent=1, ensure_ascii=False) + "\n")
    sys.stderr.write(f"{target}: {target.stat().st_size} bytes\n")


def main() -> None:
    """Record all of them."""
    for install in map(installed, VERSIONS):
        with tempfile.TemporaryDirectory(prefix="pi-trio-record-") as folder:
            trio.run(record, install, Path(folder))


if __name__ == "__main__":
    main()
