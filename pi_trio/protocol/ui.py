"""Extension UI records: what an extension in Pi wants to ask or show (Pi's ``docs/rpc-extension-ui.md``).

Dialogs (:class:`Select`, :class:`Confirm`, :class:`Input`, :class:`Editor`) block the extension until an
``extension_ui_response`` with the same id is sent; the others expect no answer.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import attrs

from .convert import Wire
from .records import Record

__all__ = [
    "DIALOG_METHODS",
    "DISMISSED",
    "UI_METHODS",
    "Confirm",
    "Dialog",
    "DialogAnswer",
    "DialogHandler",
    "Dismissed",
    "Editor",
    "Input",
    "Notify",
    "Select",
    "SetEditorText",
    "SetStatus",
    "SetTitle",
    "SetWidget",
    "UIRequest",
    "cancel_dialog",
    "dialog_response",
]


@attrs.frozen
class Select(Wire):
    """Choose one of ``options``. ``timeout`` is in milliseconds, here and below: Pi gives up by itself then."""

    id: str
    title: str
    options: tuple[str, ...]
    timeout: float | None = None


@attrs.frozen
class Confirm(Wire):
    """Yes or no."""

    id: str
    title: str
    message: str = ""
    timeout: float | None = None


@attrs.frozen
class Input(Wire):
    """A line of text."""

    id: str
    title: str
    placeholder: str | None = None
    timeout: float | None = None


@attrs.frozen
class Editor(Wire):
    """Several lines of text."""

    id: str
    title: str
    prefill: str | None = None
    timeout: float | None = None


@attrs.frozen
class Notify(Wire):
    """Something to show; ``notify_type`` is ``info``, ``warning`` or ``error``."""

    id: str
    message: str
    notify_type: str | None = None


@attrs.frozen
class SetStatus(Wire):
    """An entry of a status bar; without a text it is to be removed."""

    id: str
    status_key: str
    status_text: str | None = None


@attrs.frozen
class SetWidget(Wire):
    """Lines beside the editor; without lines they are to be removed."""

    id: str
    widget_key: str
    widget_lines: tuple[str, ...] | None = None
    widget_placement: str | None = None


@attrs.frozen
class SetTitle(Wire):
    """The title of the window."""

    id: str
    title: str


@attrs.frozen
class SetEditorText(Wire):
    """The text of the input line."""

    id: str
    text: str


Dialog: TypeAlias = Select | Confirm | Input | Editor
UIRequest: TypeAlias = Select | Confirm | Input | Editor | Notify | SetStatus | SetWidget | SetTitle | SetEditorText


class Dismissed(enum.Enum):
    """The type of :data:`DISMISSED`."""

    DISMISSED = "dismissed"


DISMISSED = Dismissed.DISMISSED
"""The answer of somebody who closes the dialog: the extension gets ``undefined``, or for a confirmation ``false``."""

DialogAnswer: TypeAlias = str | bool | Dismissed
"""A bool for a :class:`Confirm`, one of the options for a :class:`Select`, any text for the others; or ``DISMISSED``."""

DialogHandler: TypeAlias = Callable[[Dialog], Awaitable[DialogAnswer | None]]
"""Answers a dialog, or with ``None`` leaves it to somebody else."""

DIALOG_METHODS = frozenset({"select", "confirm", "input", "editor"})
"""Pi's names of the methods that wait for an answer."""

UI_METHODS: dict[str, type[Wire]] = {
    "select": Select,
    "confirm": Confirm,
    "input": Input,
    "editor": Editor,
    "notify": Notify,
    "setStatus": SetStatus,
    "setWidget": SetWidget,
    "setTitle": SetTitle,
    "set_editor_text": SetEditorText,
}
"""Pi's name of each method, and the class for it."""


def cancel_dialog(record: Record) -> Record | None:
    """The record that dismisses the dialog ``record`` asks for; ``None`` when it asks for none."""
    method, id_ = record.get("method"), record.get("id")
    if not isinstance(method, str) or method not in DIALOG_METHODS or not isinstance(id_, str):
        return None
    return {"type": "extension_ui_response", "id": id_, "cancelled": True}


def dialog_response(dialog: Dialog, answer: DialogAnswer) -> Record:
    """What ``answer`` is in an ``extension_ui_response``.

    Raises:
        ValueError: it is no answer to this dialog.
    """
    if answer is DISMISSED:
        return {"cancelled": True}
    if isinstance(dialog, Confirm):
        if not isinstance(answer, bool):
            raise ValueError(f"a confirmation is answered with a bool, not {answer!r}")
        return {"confirmed": answer}
    if not isinstance(answer, str):
        raise ValueError(f"this dialog is answered with a string, not {answer!r}")
    if isinstance(dialog, Select) and answer not in dialog.options:
        raise ValueError(f"{answer!r} is none of the options {dialog.options}")
    return {"value": answer}
