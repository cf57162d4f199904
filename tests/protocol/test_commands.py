"""The data of Pi's responses."""

from __future__ import annotations

from typing import Any

import pytest

from pi_trio.errors import InvalidResponse, PiTrioError
from pi_trio.protocol import (
    BashResult,
    ContextUsage,
    CycledModel,
    Entries,
    Fork,
    ForkMessage,
    Model,
    ModelCost,
    QueueContents,
    Record,
    SessionStats,
    SessionSwitch,
    ShapeError,
    SlashCommand,
    SourceInfo,
    State,
    TokenCounts,
    response_data,
)

LEAST: dict[type[Any], Record] = {
    State: {
        "sessionId": "s",
        "thinkingLevel": "off",
        "isStreaming": False,
        "isCompacting": False,
        "steeringMode": "all",
        "followUpMode": "all",
        "autoCompactionEnabled": True,
        "messageCount": 0,
        "pendingMessageCount": 0,
    },
    SessionStats: {
        "sessionId": "s",
        "userMessages": 1,
        "assistantMessages": 1,
        "toolCalls": 0,
        "toolResults": 0,
        "totalMessages": 2,
        "tokens": {},
        "cost": 0,
    },
    BashResult: {"output": "", "cancelled": False, "truncated": False},
    SessionSwitch: {"cancelled": False},
    QueueContents: {"steering": ["a"], "followUp": []},
    Model: {"id": "m", "provider": "p"},
    ModelCost: {},
    CycledModel: {"model": {"id": "m", "provider": "p"}, "thinkingLevel": "off", "isScoped": False},
    Fork: {"cancelled": True},
    ForkMessage: {"entryId": "e", "text": "t"},
    SourceInfo: {"path": "p", "source": "cli", "scope": "temporary", "origin": "top-level"},
    SlashCommand: {
        "name": "n",
        "source": "skill",
        "sourceInfo": {"path": "p", "source": "cli", "scope": "user", "origin": "package"},
    },
    Entries: {"entries": []},
    TokenCounts: {},
    ContextUsage: {"contextWindow": 1000},
}


@pytest.mark.parametrize("cls", LEAST)
def test_the_least_that_pi_documents_is_enough(cls: type[Any]) -> None:
    made = response_data("a_command", LEAST[cls], cls)

    assert type(made) is cls
    assert made.raw is LEAST[cls]


@pytest.mark.parametrize(("cls", "field"), [(cls, field) for cls, data in LEAST.items() for field in data])
def test_a_response_that_lacks_something_says_what(cls: type[Any], field: str) -> None:
    data = {name: value for name, value in LEAST[cls].items() if name != field}

    with pytest.raises(InvalidResponse) as caught:
        response_data("a_command", data, cls)

    error = caught.value
    assert (error.command, error.reason, error.data) == ("a_command", f"{field!r} is missing", data)
    assert isinstance(error.__cause__, ShapeError)
    assert isinstance(error, PiTrioError)
    assert "a_command" in str(error)


@pytest.mark.parametrize("data", [None, [], "text", 5])
def test_a_response_without_an_object_is_refused(data: Any) -> None:
    with pytest.raises(InvalidResponse, match=r"'get_state'.* \w+ where State was expected"):
        response_data("get_state", data, State)


def test_state_knows_its_model() -> None:
    model = {"id": "m", "provider": "p", "contextWindow": 1000, "reasoning": True, "cost": {"input": 1}}

    state = response_data("get_state", {**LEAST[State], "model": model, "sessionName": "n"}, State)

    assert state.model is not None
    assert (state.model.id, state.model.context_window, state.model.raw["cost"]) == ("m", 1000, {"input": 1})
    assert (state.session_name, state.session_file) == ("n", None)


def test_stats_after_a_compaction_do_not_know_how_full_the_context_is() -> None:
    usage = {"contextWindow": 1000, "tokens": None, "percent": None}

    stats = response_data("get_session_stats", {**LEAST[SessionStats], "contextUsage": usage, "cost": 1}, SessionStats)

    assert stats.context_usage is not None
    assert (stats.context_usage.tokens, stats.context_usage.percent, stats.cost) == (None, None, 1.0)


def test_a_command_ended_by_a_signal_has_no_exit_code() -> None:
    assert response_data("bash", {**LEAST[BashResult], "exitCode": None}, BashResult).exit_code is None
    assert response_data("bash", {**LEAST[BashResult], "exitCode": 3}, BashResult).exit_code == 3
