"""Who answers the dialogs that extensions in Pi open.

A handler is an async function from a :class:`~pi_trio.protocol.Dialog` to its answer, or to ``None`` when it leaves the
dialog to somebody else. What nobody answers is dismissed. Here are some, and ways to put them together::

    InstanceSpec(dialogs=chain(choose("Allow once"), deny))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from ..protocol import DISMISSED, Confirm, Dialog, DialogAnswer, DialogHandler, Editor, Input, Record, Select

__all__ = ["DialogInterceptor", "allow", "ask", "chain", "choose", "deny"]

DialogInterceptor: TypeAlias = Callable[[Record], bool]
"""Looks at an ``extension_ui_request`` before anybody else does, as it is routed: it must not block. With ``True``
it takes the request over, and answers it in its own time with :meth:`pi_trio.client.PiClient.answer_dialog`."""


async def allow(dialog: Dialog) -> DialogAnswer | None:
    """Say yes to every confirmation. What asks for more than that is left to somebody else."""
    return True if isinstance(dialog, Confirm) else None


async def deny(dialog: Dialog) -> DialogAnswer | None:
    """Say no to every confirmation, and dismiss all other dialogs."""
    return False if isinstance(dialog, Confirm) else DISMISSED


def choose(*wanted: str) -> DialogHandler:
    """A handler that answers a selection with the first of these that is among its options, and nothing else."""

    async def choosing(dialog: Dialog) -> DialogAnswer | None:
        options = dialog.options if isinstance(dialog, Select) else ()
        return next((option for option in wanted if option in options), None)

    return choosing


def chain(*handlers: DialogHandler) -> DialogHandler:
    """A handler that asks these in turn, until one of them answers."""

    async def asking(dialog: Dialog) -> DialogAnswer | None:
        for handler in handlers:
            answer = await handler(dialog)
            if answer is not None:
                return answer
        return None

    return asking


def ask(read: Callable[[str], Awaitable[str | None]]) -> DialogHandler:
    """A handler that puts each dialog to a person, one at a time.

    ``read`` shows a text and returns the line that it is answered with, without its end, or ``None`` when there is
    nobody (any more): then the dialog is dismissed. It is cancelled when Pi waits no longer.
    """
    one_at_a_time = trio.Lock()

    async def asking(dialog: Dialog) -> DialogAnswer | None:
        async with one_at_a_time:
            if isinstance(dialog, Select):
                return await _ask_select(dialog, read)
            if isinstance(dialog, Confirm):
                return await _ask_confirm(dialog, read)
            return await (_ask_input if isinstance(dialog, Input) else _ask_editor)(dialog, read)

    return asking


_Read: TypeAlias = Callable[[str], Awaitable[str | None]]


async def _ask_select(dialog: Select, read: _Read) -> DialogAnswer:
    numbered = [f"  {number}. {option}" for number, option in enumerate(dialog.options, 1)]
    question = "\n".join([dialog.title, *numbered, "Which one? (nothing: none) "])
    while (line := await read(question)) is not None and line.strip():
        chosen = line.strip()
        if chosen.isascii() and chosen.isdigit() and 0 < int(chosen) <= len(dialog.options):
            return dialog.options[int(chosen) - 1]
        if chosen in dialog.options:
            return chosen
        question = f"A number from 1 to {len(dialog.options)}, please: "
    return DISMISSED


async def _ask_confirm(dialog: Confirm, read: _Read) -> DialogAnswer:
    message = f"{dialog.message}\n" if dialog.message else ""
    line = await read(f"{dialog.title}\n{message}Yes or no? [y/N] ")
    return DISMISSED if line is None else line.strip().lower() in ("y", "yes")


async def _ask_input(dialog: Dialog, read: _Read) -> DialogAnswer:
    assert isinstance(dialog, Input)
    hint = f" ({dialog.placeholder})" if dialog.placeholder else ""
    line = await read(f"{dialog.title}{hint}: ")
    return DISMISSED if line is None else line


async def _ask_editor(dialog: Dialog, read: _Read) -> DialogAnswer:
    assert isinstance(dialog, Editor)
    text = dialog.prefill or ""
    line = await read(
        f"{dialog.title}\n{text}\nNew text, with a line of one dot at its end (only the dot: as it is):\n"
    )
    if line is None:
        return DISMISSED
    lines = []
    while line is not None and line != ".":
        lines.append(line)
        line = await read("")
    return "\n".join(lines) if lines else text
