"""A scripted model: an OpenAI-compatible server on loopback that says what it is told to say.

It makes the real Pi run without an account, a key or a network: for tests, demos and examples. A script is
a list of turns (one for each request, in order), or a function from the request to a turn.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import h11
import orjson
import trio

from ..concurrency import open_service_nursery

__all__ = ["ModelRequest", "ModelServer", "ToolUse", "Turn", "open_model_server"]

_log = logging.getLogger("pi_trio.testing")

DEFAULT_PROVIDER = "scripted"
DEFAULT_MODEL = "scripted-1"

# What the scripted model charges, in US dollars per million tokens: round numbers, so that a test can
# work the cost out in its head.
_PRICES = {"input": 1.0, "output": 2.0, "cacheRead": 0.0, "cacheWrite": 0.0}

_BODY_LIMIT_BYTES = 64 * 1024 * 1024


@attrs.frozen
class ToolUse:
    """The model asks Pi for a tool."""

    name: str
    arguments: Mapping[str, Any] = attrs.field(factory=dict)
    id: str | None = None
    """The call's id; one is made up by default."""


def _uses(tools: Iterable[ToolUse]) -> tuple[ToolUse, ...]:
    return tuple(tools)


@attrs.frozen
class Turn:
    """One answer of the scripted model."""

    text: str | Sequence[str] = ""
    """What it says: a string is streamed word by word, a sequence piece by piece."""
    tools: tuple[ToolUse, ...] = attrs.field(default=(), converter=_uses)
    """The tools it asks for, behind the text."""
    thinking: str = ""
    """What it thinks first."""
    input_tokens: int = 100
    output_tokens: int = 10
    delay: float = 0.0
    """Seconds before it answers at all."""
    chunk_delay: float = 0.0
    """Seconds between two pieces."""
    status: int = 200
    """An HTTP status; anything but 200 is an error, with ``text`` as its message."""
    cut_off: bool = False
    """Close the connection in the middle of the answer."""
    stop_reason: str | None = None
    """OpenAI's ``finish_reason``; by default ``tool_calls`` or ``stop``."""

    @property
    def pieces(self) -> list[str]:
        """The text as it is streamed."""
        if not isinstance(self.text, str):
            return list(self.text)
        words = self.text.split(" ")
        return [word if n == 0 else " " + word for n, word in enumerate(words)] if self.text else []


@attrs.frozen
class ModelRequest:
    """What Pi asked."""

    number: int
    """0 for the first request of this server."""
    model: str
    messages: tuple[Mapping[str, Any], ...]
    """OpenAI's chat messages, as Pi sent them."""
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: Mapping[str, Any] = attrs.field(repr=False)

    @property
    def prompt(self) -> str:
        """The text of the last user message."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return _text(message.get("content"))
        return ""

    @property
    def tool_result(self) -> str | None:
        """The text of the last message, if that is a tool's result."""
        last = self.messages[-1] if self.messages else {}
        return _text(last.get("content")) if last.get("role") == "tool" else None


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


Script: TypeAlias = Sequence[Turn] | Callable[[ModelRequest], Turn | Awaitable[Turn]]


class ModelServer:
    """A running scripted model; made by :func:`open_model_server`."""

    def __init__(self, script: Script, port: int) -> None:
        self._script = script
        self.port = port
        self.requests: list[ModelRequest] = []
        """What was asked so far."""
        self.most_at_once: Counter[str] = Counter()
        """By model, how many of its requests were being answered at the same time, at most. One that was asked by a Pi that
        is gone counts until that is noticed, which is with the next piece of its answer.
        """
        self._answering: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<ModelServer {self.base_url} {len(self.requests)} requests>"

    @property
    def base_url(self) -> str:
        """What belongs into a provider's ``baseUrl``."""
        return f"http://127.0.0.1:{self.port}/v1"

    def configure(
        self,
        agent_dir: str | Path,
        *,
        provider: str = DEFAULT_PROVIDER,
        models: Iterable[str] = (DEFAULT_MODEL,),
        settings: Mapping[str, Any] | None = None,
    ) -> dict[str, str]:
        """Write a Pi configuration that knows this server, and return the environment that selects it.

        Args:
            agent_dir: Pi's configuration folder; made if it is not there. One that holds a user's real
                configuration is refused.
            provider: the provider's name in Pi. A built-in name (``"anthropic"``) is taken over.
            models: the models it has.
            settings: Pi's ``settings.json``; by default failed requests are retried at once.

        Raises:
            FileExistsError: there is a ``models.json`` that was not written by this method.
        """
        folder = Path(agent_dir)
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / "models.json"
        if target.exists() and '"scripted by pi-trio"' not in target.read_text():
            raise FileExistsError(f"{target} is not ours; choose a folder without a Pi configuration")
        known: dict[str, Any] = json.loads(target.read_text())["providers"] if target.exists() else {}
        known[provider] = {
            "name": "scripted by pi-trio",
            "baseUrl": self.base_url,
            "api": "openai-completions",
            "apiKey": "none-needed",
            "models": [
                {
                    "id": model,
                    "name": f"{model} (scripted)",
                    "api": "openai-completions",
                    "baseUrl": self.base_url,
                    "reasoning": False,
                    "input": ["text", "image"],
                    "cost": _PRICES,
                    "contextWindow": 128_000,
                    "maxTokens": 16_384,
                }
                for model in models
            ],
        }
        target.write_text(json.dumps({"providers": known}, indent=2))
        quick = {"retry": {"enabled": True, "maxRetries": 2, "baseDelayMs": 10}}
        (folder / "settings.json").write_text(json.dumps(dict(quick if settings is None else settings)))
        return {"PI_CODING_AGENT_DIR": str(folder), "PI_OFFLINE": "1", "PI_TELEMETRY": "0"}

    async def _turn(self, request: ModelRequest) -> Turn:
        if callable(self._script):
            turn = self._script(request)
            return turn if isinstance(turn, Turn) else await turn
        if request.number < len(self._script):
            return self._script[request.number]
        return Turn(f"The script has {len(self._script)} turns, and this is request {request.number + 1}.", status=400)

    async def _answer(self, http: _Connection, head: h11.Request, body: bytes) -> None:
        path = head.target.decode("ascii", "replace").split("?")[0]
        if head.method != b"POST" or not path.endswith("/chat/completions"):
            await http.send_error(404, f"only POST {self.base_url}/chat/completions is served")
            return
        try:
            asked = orjson.loads(body)
            request = ModelRequest(
                number=len(self.requests),
                model=str(asked.get("model")),
                messages=tuple(asked["messages"]),
                headers={name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers},
                body=asked,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            await http.send_error(400, f"not a chat request: {error}")
            return
        self.requests.append(request)
        with self._counted(request.model):
            turn = await self._turn(request)
            await trio.sleep(turn.delay)
            if turn.status != 200:
                message = turn.text if isinstance(turn.text, str) else "".join(turn.text)
                await http.send_error(turn.status, message or f"scripted status {turn.status}")
            else:
                await _stream_turn(http, request, turn)

    @contextmanager
    def _counted(self, model: str) -> Iterator[None]:
        self._answering[model] += 1
        self.most_at_once[model] = max(self.most_at_once[model], self._answering[model])
        try:
            yield
        finally:
            self._answering[model] -= 1

    async def _serve(self, stream: trio.SocketStream) -> None:
        http = _Connection(stream)
        try:
            while (asked := await http.receive_request()) is not None:
                await self._answer(http, *asked)
        except (h11.ProtocolError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            _log.debug("a model client went away: %s", error)
        finally:
            await trio.aclose_forcefully(stream)


class _Connection:
    """One HTTP connection, as its server sees it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)

    async def send(self, *events: h11.Event) -> None:
        for event in events:
            data = self._http.send(event)
            if data:
                await self._stream.send_all(data)

    async def send_error(self, status: int, message: str) -> None:
        data = orjson.dumps({"error": {"message": message}})
        headers = [("content-type", "application/json"), ("content-length", str(len(data)))]
        await self.send(h11.Response(status_code=status, headers=headers), h11.Data(data=data), h11.EndOfMessage())

    async def _receive(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._stream.receive_some())
        return event

    async def receive_request(self) -> tuple[h11.Request, bytes] | None:
        """The next request with its body; ``None`` when the client is done, or asks too much."""
        if self._http.our_state is h11.DONE:
            if self._http.their_state is not h11.DONE:
                return None
            self._http.start_next_cycle()
        head = await self._receive()
        if not isinstance(head, h11.Request):
            return None
        body = bytearray()
        while not isinstance(part := await self._receive(), h11.EndOfMessage):
            if not isinstance(part, h11.Data) or len(body) > _BODY_LIMIT_BYTES:
                return None
            body += part.data
        return head, bytes(body)


async def _stream_turn(http: _Connection, request: ModelRequest, turn: Turn) -> None:
    await http.send(h11.Response(status_code=200, headers=[("content-type", "text/event-stream")]))
    chunks = list(_chunks(request, turn))
    for chunk in chunks[: len(chunks) // 2] if turn.cut_off else chunks:
        await http.send(h11.Data(data=b"data: " + orjson.dumps(chunk) + b"\n\n"))
        await trio.sleep(turn.chunk_delay)
    if turn.cut_off:
        raise trio.BrokenResourceError("cut off, as scripted")
    await http.send(h11.Data(data=b"data: [DONE]\n\n"), h11.EndOfMessage())


def _chunks(request: ModelRequest, turn: Turn) -> Iterable[dict[str, Any]]:
    """OpenAI's ``chat.completion.chunk`` objects of one turn, in order."""

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{request.number}",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": request.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }

    yield chunk({"role": "assistant"})
    if turn.thinking:
        yield chunk({"reasoning_content": turn.thinking})
    for piece in turn.pieces:
        yield chunk({"content": piece})
    for index, use in enumerate(turn.tools):
        call = {
            "index": index,
            "id": use.id or f"call_{request.number}_{index}",
            "type": "function",
            "function": {"name": use.name, "arguments": json.dumps(dict(use.arguments))},
        }
        yield chunk({"tool_calls": [call]})
    yield chunk({}, turn.stop_reason or ("tool_calls" if turn.tools else "stop"))
    usage = {
        "prompt_tokens": turn.input_tokens,
        "completion_tokens": turn.output_tokens,
        "total_tokens": turn.input_tokens + turn.output_tokens,
    }
    yield {**chunk({}), "choices": [], "usage": usage}


@asynccontextmanager
async def open_model_server(script: Script, *, port: int = 0) -> AsyncIterator[ModelServer]:
    """A scripted model on 127.0.0.1 for the body. With ``port`` 0 the system chooses one.

    Leaving it ends every connection; an answer that is being streamed is cut off.
    """
    (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
    server = ModelServer(script, listener.socket.getsockname()[1])
    serving = trio.CancelScope()

    async def stop(_: BaseException | None) -> None:
        serving.cancel()

    async def serve() -> None:
        with serving:
            await trio.serve_listeners(server._serve, [listener])

    async with open_service_nursery(stop) as service:
        service.start_soon(serve, name="scripted model")
        yield server
