"""``pitrio run``: one prompt, one Pi, the reply as it comes."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape

from ..client import Reconnected, Run
from ..launch import InstanceSpec
from ..process import watch_interrupts
from ..protocol import (
    AutoRetryStart,
    Event,
    MalformedRecord,
    MessageEnd,
    MessageUpdate,
    Notify,
    ToolExecutionEnd,
    ToolExecutionStart,
    encode_record,
)
from ..runtime import open_runtime
from .exits import FAILED, OK, complain

__all__ = ["Printer", "run_command", "tool_line"]


async def run_command(spec: InstanceSpec, prompt: str, *, as_json: bool) -> int:
    """The whole command."""
    reply = None
    # The interrupt ends the body, not the runtime around it: so the Pi is stopped politely.
    async with watch_interrupts() as interruption, open_runtime() as runtime:
        with interruption.scope:
            pi = await runtime.spawn(spec)
            async with pi.client.run(prompt) as run:
                await (print_records(run) if as_json else print_text(run))
            reply = run.reply
    if reply is None:
        complain(f"stopped by {interruption.signal_name}")
        return interruption.exit_code or FAILED
    if not reply.ok:
        complain(f"the run ended with {reply.stop_reason}: {reply.error_message or 'no reason was given'}")
        return FAILED
    return OK


async def print_records(run: Run) -> None:
    """Each record of the run on a line of its own, as Pi wrote it."""
    async for record in run.records():
        if isinstance(record, MalformedRecord):
            complain(f"Pi wrote a line that is no record ({record.reason}): {record.head!r}")
        elif not isinstance(record, Reconnected):  # this Pi is at the end of a pipe
            sys.stdout.write(encode_record(record).decode("utf-8"))
            sys.stdout.flush()


async def print_text(run: Run) -> None:
    """The text on stdout as it is streamed; what the tools do, on stderr."""
    printer = Printer(Console(stderr=True, highlight=False))
    async for event in run:
        printer.show(event)
    printer.end_line()


def tool_line(event: ToolExecutionStart) -> str:
    """A tool call in one line."""
    arguments = event.args if isinstance(event.args, dict) else {}
    shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    line = f"{event.tool_name}({shown})"
    return line if len(line) <= 200 else line[:197] + "..."


class Printer:
    """Writes a run to a terminal."""

    def __init__(self, notes: Console) -> None:
        self._notes = notes
        self._in_line = False

    def show(self, event: Event | Reconnected) -> None:
        """Take the next event of the run."""
        if isinstance(event, MessageUpdate):
            self._write(event.text_delta)
        elif isinstance(event, MessageEnd):
            self.end_line()
        elif isinstance(event, ToolExecutionStart):
            self.note(f"> {tool_line(event)}")
        elif isinstance(event, ToolExecutionEnd) and event.is_error:
            self.note(f"> {event.tool_name} failed: {event.text.strip()[:500]}")
        elif isinstance(event, AutoRetryStart):
            self.note(f"> retry {event.attempt} of {event.max_attempts}: {event.error_message}")
        elif isinstance(event, Notify):
            self.note(f"> {event.message}")
        elif isinstance(event, Reconnected):
            self.note(f"> something is missing here: the connection was away for {event.away:.1f} s")
        elif isinstance(event, MalformedRecord):
            self.note(f"> Pi wrote a line that is no record: {event.reason}")

    def note(self, text: str) -> None:
        """A line beside the text."""
        self.end_line()
        self._notes.print(f"[dim]{escape(text)}[/]", soft_wrap=True)

    def _write(self, text: str) -> None:
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()
            self._in_line = not text.endswith("\n")

    def end_line(self) -> None:
        """Start a new line, unless at the start of one."""
        if self._in_line:
            sys.stdout.write("\n")
            sys.stdout.flush()
            self._in_line = False
