"""What extensions ask and show."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from pi_trio.protocol import UI_METHODS, Record, Select, SetStatus, SetWidget, UnknownEvent, cancel_dialog, decode_event
from tests.protocol.strategies import json_objects, properties

LEAST: dict[str, Record] = {
    "select": {"title": "Which?", "options": ["a", "b"]},
    "confirm": {"title": "Sure?"},
    "input": {"title": "Name"},
    "editor": {"title": "Story"},
    "notify": {"message": "Done"},
    "setStatus": {"statusKey": "k"},
    "setWidget": {"widgetKey": "k"},
    "setTitle": {"title": "T"},
    "set_editor_text": {"text": "t"},
}
DIALOGS = ("select", "confirm", "input", "editor")


def request(method: Any, **fields: Any) -> Record:
    return {"type": "extension_ui_request", "id": "u1", "method": method, **fields}


def test_there_is_an_example_of_each_method() -> None:
    assert set(LEAST) == set(UI_METHODS)


@pytest.mark.parametrize("method", LEAST)
def test_each_method_becomes_its_class(method: str) -> None:
    record = request(method, **LEAST[method])

    event = decode_event(record)

    assert type(event) is UI_METHODS[method]
    assert event.raw is record


@pytest.mark.parametrize("method", ["hologram", None, 5, []])
def test_an_unknown_method_is_kept(method: Any) -> None:
    record = request(method, title="T")

    assert decode_event(record) == UnknownEvent(type="extension_ui_request", raw=record)


def test_options_are_strings() -> None:
    event = decode_event(request("select", title="Which?", options=["a", 5]))

    assert isinstance(event, UnknownEvent)
    assert event.reason == "options[1]: int where str was expected"


def test_what_is_left_out_is_none() -> None:
    status, widget = (
        decode_event(request("setStatus", statusKey="k")),
        decode_event(request("setWidget", widgetKey="k")),
    )
    dialog = decode_event(request("select", title="Which?", options=[], timeout=1500))

    assert isinstance(status, SetStatus)
    assert status.status_text is None
    assert isinstance(widget, SetWidget)
    assert widget.widget_lines is None
    assert isinstance(dialog, Select)
    assert (dialog.options, dialog.timeout) == ((), 1500.0)


@pytest.mark.parametrize("method", UI_METHODS)
def test_only_dialogs_are_dismissed(method: str) -> None:
    answer = cancel_dialog(request(method, **LEAST[method]))

    dismissed = {"type": "extension_ui_response", "id": "u1", "cancelled": True}
    assert answer == (dismissed if method in DIALOGS else None)


@pytest.mark.parametrize("id_", [None, 5, {}])
def test_a_dialog_without_an_id_cannot_be_dismissed(id_: Any) -> None:
    assert cancel_dialog({**request("confirm", title="Sure?"), "id": id_}) is None
    assert cancel_dialog({"type": "extension_ui_request", "method": "confirm"}) is None


@properties
@given(json_objects())
def test_no_record_makes_the_dismissal_raise(record: Record) -> None:
    assert cancel_dialog({**record, "method": record}) is None
