"""``pitrio attach``: Pi's RPC on our own stdin and stdout, for a Pi that runs somewhere else; or a talk with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import attrs
import trio
from rich.console import Console

from ..client import PiClient, RemoteOptions, open_client
from ..client.dialogs import ask
from ..errors import ConnectionClosed, ConnectionLost, PiTrioError
from ..process import watch_interrupts
from ..protocol import STREAMED, LineSplitter, MalformedRecord, Record, decode_line, encode_record
from ..transport import WebSocketTransport, open_websocket
from .exits import FAILED, OK, complain
from .run import Printer
from .terminal import read_line, somebody_there

__all__ = ["PiFlags", "attach_command"]

# What a pipe holds.
_READ_BYTES = 65536

# How long Pi may take to answer what was asked before stdin ended.
_LAST_ANSWERS_TIMEOUT = 5.0

# No program that speaks to Pi is likely to call its own request this.
_OUR_ID = "pitrio-attach"


@attrs.frozen
class PiFlags:
    """What a program that starts a Pi tells it, as far as a Pi that runs already can be told."""

    provider: str | None
    model: str | None
    ignored: Sequence[str]


async def attach_command(url: str, token: str | None, flags: PiFlags) -> int:
    """The whole command."""
    if flags.ignored:
        complain(f"a Pi that runs already cannot be told: {' '.join(flags.ignored)}")
    attached = _talk if somebody_there() and sys.stdout.isatty() else _bridge
    async with watch_interrupts() as interruption:
        with interruption.scope:
            return await attached(url, token, flags)
    return interruption.exit_code or FAILED


async def _bridge(url: str, token: str | None, flags: PiFlags) -> int:
    async with open_websocket(url, token=token) as link:
        bridge = Bridge(link)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run_sender)
            refusal = await bridge.set_model(flags)
            if refusal is None:
                nursery.start_soon(bridge.take_commands)
                await bridge.hand_on()
            nursery.cancel_scope.cancel()
    if refusal is not None:
        raise PiTrioError(refusal)
    if bridge.finished or link.closing is None:
        return OK
    raise ConnectionLost(str(link.closing), uncertain=False)


class Bridge:
    """Carries records between our stdin and stdout and a link, as they are. Pi's end of a pipe, seen from outside."""

    def __init__(self, link: WebSocketTransport) -> None:
        self._link = link
        self._unanswered = 0
        self._answered = trio.Event()
        self.finished = False
        """Whether it was our side that ended it."""

    async def set_model(self, flags: PiFlags) -> str | None:
        """Have Pi use the model that we were told to use. What Pi says to that, if it refuses."""
        if flags.provider is None or flags.model is None:
            return None
        command: Record = {"type": "set_model", "provider": flags.provider, "modelId": flags.model, "id": _OUR_ID}
        self._link.send_nowait(encode_record(command))
        while True:
            try:
                lines = await self._link.receive()
            except trio.EndOfChannel:
                return f"the connection ended: {self._link.closing}"
            responses = {line: record for line in lines if (record := _response(line)) and record.get("id") == _OUR_ID}
            await _write_out([line for line in lines if line not in responses])
            for response in responses.values():
                return None if response.get("success") is True else f"Pi refused the model: {response.get('error')}"

    async def take_commands(self) -> None:
        """Send on what comes on stdin. When that ends, wait for what Pi has not answered yet, and say goodbye."""
        lines = LineSplitter()
        while data := await _read_in():
            for line in lines.feed(data):
                self._take(line)
            await self._link.drain()
        if rest := lines.end():
            self._take(rest)
        if self._unanswered:
            with trio.move_on_after(_LAST_ANSWERS_TIMEOUT):
                await self._answered.wait()
        self._finish()

    def _take(self, line: bytes | MalformedRecord) -> None:
        if isinstance(line, MalformedRecord):
            complain(f"stdin has a line that is no record: {line.reason}")
        elif line and not line.isspace():
            record = decode_line(line)
            if not isinstance(record, dict) or record.get("type") != "extension_ui_response":
                self._unanswered += 1  # to what is no command, Pi says so
                self._answered = trio.Event()
            # What is not UTF-8, Pi's own reader replaces, too.
            text = line if line.isascii() else line.decode("utf-8", "replace").encode()
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # the reading side finds out why
                self._link.send_nowait(text + b"\n")

    def _finish(self) -> None:
        self.finished = True
        self._link.close_sending()

    async def hand_on(self) -> None:
        """Write what Pi says to stdout, until the link ends or nobody reads that any more."""
        with suppress(trio.EndOfChannel, BrokenPipeError):
            while True:
                lines = await self._link.receive()
                await _write_out(lines)
                self._unanswered -= sum(_response(line) is not None for line in lines)
                if self._unanswered <= 0:
                    self._answered.set()
        if self._link.closing is None:
            self._finish()


def _response(line: bytes) -> Record | None:
    record = None if line.startswith(STREAMED) else decode_line(line)
    return record if isinstance(record, dict) and record.get("type") == "response" else None


async def _read_in() -> bytes:
    """Some of stdin; nothing at its end. Cancelled, it leaves what comes to whoever reads next."""
    stdin = sys.stdin.fileno()
    try:
        await trio.lowlevel.wait_readable(stdin)
    except OSError:  # a file: that can always be read
        await trio.lowlevel.checkpoint()
    return os.read(stdin, _READ_BYTES)


async def _write_out(lines: Sequence[bytes]) -> None:
    """Write whole lines to stdout; its reader may take its time, and pings are answered meanwhile."""
    data = b"".join(line + b"\n" for line in lines if line)
    if data:
        await trio.to_thread.run_sync(_write_all, data, abandon_on_cancel=True)


def _write_all(data: bytes) -> None:
    stdout = sys.stdout.fileno()
    view = memoryview(data)
    while view:
        view = view[os.write(stdout, view) :]


async def _talk(url: str, token: str | None, flags: PiFlags) -> int:
    """Somebody is there: take prompts, and stream the replies."""
    notes = Console(stderr=True, highlight=False)
    async with open_client(url, token=token, options=RemoteOptions(dialogs=ask(read_line))) as client:
        if flags.provider is not None and flags.model is not None:
            await client.set_model(flags.provider, flags.model)
        state = await client.get_state()
        model = f"{state.model.provider}/{state.model.id}" if state.model else "no model"
        notes.print(f"[dim]{url}: {model}, session {state.session_id}. Ctrl-D leaves it running.[/]", soft_wrap=True)
        while (line := await read_line("> ")) is not None:
            if line.strip():
                await _answer(client, line, Printer(notes))
    return OK


async def _answer(client: PiClient, prompt: str, printer: Printer) -> None:
    try:
        async with client.run(prompt) as run:
            async for event in run:
                printer.show(event)
    except ConnectionClosed as error:
        if not isinstance(error, ConnectionLost):
            raise  # it is over
        complain(str(error))  # there will be another
    except PiTrioError as error:
        complain(str(error))
    finally:
        printer.end_line()
