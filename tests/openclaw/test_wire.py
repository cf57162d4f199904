"""The gateway's wire, sans-IO: frames, rows, history, and the translation between them and Pi's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.errors import GatewayError, MissingScope, Unsupported
from pi_trio.openclaw import SessionRow, SessionTranslation
from pi_trio.openclaw.frames import (
    Fault,
    GatewayEvent,
    GatewayResponse,
    UnknownFrame,
    decode_frame,
    encode_request,
    gateway_error,
)
from pi_trio.openclaw.history import count, messages_of, of_run, said_in
from pi_trio.openclaw.rows import SessionsPage
from pi_trio.openclaw.run import GatewayRun
from pi_trio.openclaw.translation import Step
from pi_trio.protocol import Record, ShapeError, decode_event, decode_line, encode_record, structure

from .gateways import VERSIONS
from .scenario import FAIL, PROMPTS, SLOWLY
from .standin import recording

# A few letters: all of Unicode would take seconds to be drawn from, and nothing here looks at letters.
words = st.text("abcé", max_size=5)

values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)

FIELDS = st.sampled_from(["type", "id", "ok", "payload", "error", "event", "seq", "code", "message"])


@given(st.binary() | st.dictionaries(FIELDS, values | st.sampled_from(["res", "event"])).map(encode_record))
def test_nothing_that_comes_is_an_error(line: bytes) -> None:
    frame = decode_frame(line)
    assert isinstance(frame, GatewayResponse | GatewayEvent | UnknownFrame)


@given(st.dictionaries(words, values, max_size=3))
def test_what_is_not_known_is_kept(more: dict[str, Any]) -> None:
    came = {**more, "key": "agent:main:x"}
    assert structure(came, SessionRow).raw == came


def test_a_request() -> None:
    assert decode_line(encode_request("r1", "sessions.list", {"limit": 2})) == {
        "type": "req",
        "id": "r1",
        "method": "sessions.list",
        "params": {"limit": 2},
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_rows_are_read(version: str) -> None:
    recorded = recording(version)
    row = structure(recorded["row"], SessionRow)
    assert (row.key, row.session_id, row.label) == ("{key}", "{session}", "{label}")
    assert (row.kind, row.model_provider, row.model, row.busy) == ("direct", "local", "scripted-1", False)
    assert row.agent_runtime is not None
    page = structure({**recorded["page"], "sessions": [recorded["row"]]}, SessionsPage)
    assert (page.has_more, page.next_offset, page.sessions) == (False, None, (row,))


def test_times_may_be_fractions_and_the_rest_is_strict() -> None:
    assert structure({"key": "k", "updatedAt": 1.5}, SessionRow).updated_at == 1.5
    with pytest.raises(ShapeError, match=r"key is missing|'key'"):
        structure({"sessionId": "s"}, SessionRow)
    with pytest.raises(ShapeError, match="label: int where str was expected"):
        structure({"key": "k", "label": 5}, SessionRow)


@pytest.mark.parametrize(
    ("row", "agent"),
    [({"key": "agent:main:x"}, "main"), ({"key": "agent:main:x", "agentId": "b"}, "b"), ({"key": "global"}, None)],
)
def test_the_agent_is_told_by_the_key_where_it_is_not_told(row: Record, agent: str | None) -> None:
    assert structure(row, SessionRow).agent == agent


@pytest.mark.parametrize(
    ("row", "busy"),
    [
        ({}, False),
        ({"hasActiveRun": True}, True),
        ({"hasActiveRun": True, "activeRunIds": []}, False),
        ({"hasActiveRun": False, "activeRunIds": ["r"]}, True),
    ],
)
def test_the_runs_say_more_than_the_flag(row: Record, busy: bool) -> None:
    assert structure({"key": "k", **row}, SessionRow).busy is busy


def test_refusals() -> None:
    for version in VERSIONS:
        fault = structure(recording(version)["errors"]["scope"], Fault)
        error = gateway_error("sessions.list", fault)
        assert isinstance(error, MissingScope)
        assert error.scope == "operator.read"
    busy = gateway_error("x", structure({"code": "UNAVAILABLE", "message": "later", "retryAfterMs": 500}, Fault))
    assert (type(busy), busy.code, busy.retry_after) == (GatewayError, "UNAVAILABLE", 0.5)
    assert str(gateway_error("x", None)) == "the gateway refused 'x': it does not say why (UNKNOWN)"


# --- history -----------------------------------------------------------------------------------------


def text(said: str) -> list[Record]:
    return [{"type": "text", "text": said}]


def test_what_is_shown_in_two_rows_is_one_message() -> None:
    call = {"type": "toolCall", "id": "c", "name": "exec", "arguments": {}}
    marks = {"role": "assistant", "__openclaw": {"id": "m"}}
    rows = [
        {"role": "user", "content": "do it"},
        {**marks, "content": text("I do")},
        {**marks, "content": [call], "provider": "p", "model": "m", "usage": {"input": 5}, "stopReason": "toolUse"},
        {"role": "assistant", "__openclaw": {"id": "n"}, "content": text("done")},
    ]
    _, doing, done = messages_of({"messages": rows})
    assert doing["content"] == [*text("I do"), call]
    assert (doing["provider"], doing["stopReason"]) == ("p", "toolUse")
    assert (done["provider"], done["stopReason"], done["usage"]) == ("", "stop", {})
    stats = count([doing, done], "s")
    assert (stats["assistantMessages"], stats["toolCalls"], stats["tokens"]["input"]) == (2, 1, 5)


rows = st.dictionaries(
    st.sampled_from(["role", "content", "usage", "stopReason", "__openclaw", "openclawAbort", "idempotencyKey"]),
    st.sampled_from(["user", "assistant", "toolResult", "aborted"]) | values,
    max_size=5,
)


@given(st.lists(rows | values, max_size=4))
def test_no_history_is_an_error(messages: list[Any]) -> None:
    said = messages_of({"messages": messages})
    assert count(said, "s")["totalMessages"] == len(said) <= len(messages)
    of_run(said, "r", "p")


@pytest.mark.parametrize("payload", [None, {}, {"messages": None}, {"messages": ["x", None]}])
def test_no_history(payload: Any) -> None:
    assert messages_of(payload) == []
    assert count([], "s")["cost"] == 0.0


def test_whose_prompt_it_was() -> None:
    marked = {"role": "user", "content": "again", "idempotencyKey": "two:user"}
    other = {"role": "user", "content": "again", "idempotencyKey": "one:user"}
    plain = {"role": "user", "content": text("again")}
    reply = {"role": "assistant", "content": text("yes")}
    assert of_run([other, reply, marked, reply], "two", "again") == [marked, reply]
    assert of_run([plain, reply, plain, reply], "two", "again") == [plain, reply]
    assert of_run([other, reply], "two", "again") == []
    assert of_run([plain, reply], "two", "something else") == []


# --- runs --------------------------------------------------------------------------------------------


class Conversation:
    """A translation, and what the gateway answers it."""

    def __init__(self, key: str = "{key}") -> None:
        self.translation = SessionTranslation(key, "s1-", make_id=lambda: "{run}")
        self.asked: list[Record] = []
        self.told: list[Record] = []

    def _take(self, step: Step) -> None:
        for request in (*step.requests, *step.later):
            record = decode_line(request)
            assert isinstance(record, dict)
            self.asked.append(record)
        self.told += step.records

    def command(self, kind: str, **fields: Any) -> None:
        self._take(self.translation.command({"type": kind, "id": kind, **fields}))

    def answer(self, method: str, payload: Any) -> None:
        """Answer the last request of this kind."""
        id_ = [each["id"] for each in self.asked if each["method"] == method][-1]
        self._take(self.translation.response(GatewayResponse(id_, True, payload)))

    def refuse(self, method: str, error: str) -> None:
        id_ = [each["id"] for each in self.asked if each["method"] == method][-1]
        self._take(self.translation.response(GatewayResponse(id_, False, None, Fault("INVALID_REQUEST", error))))

    def event(self, frame: Record) -> None:
        self._take(self.translation.event(structure(frame, GatewayEvent)))

    def methods(self) -> list[str]:
        return [each["method"] for each in self.asked]

    def kinds(self) -> list[str]:
        return [str(each["type"]) for each in self.told]

    def conclude(self, messages: list[Record]) -> None:
        self.answer("sessions.list", {"sessions": [{"key": self.translation.key, "hasActiveRun": True}]})
        assert self.methods()[-2:] == ["sessions.list"] * 2, "it is asked again until the session is free"
        self.answer("sessions.list", {"sessions": [{"key": self.translation.key, "hasActiveRun": False}]})
        self.answer("chat.history", {"messages": messages})


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_recorded_runs_become_pis(version: str, prompt: str) -> None:
    run = recording(version)["runs"][prompt]
    told = Conversation()
    told.command("prompt", message=prompt)
    told.answer("chat.send", run["sent"])
    for event in (*run["events"], *run["afterAbort"]):
        told.event(event)
    if "sessions.list" not in told.methods():  # a 2026.5 gateway says nothing of a failure
        assert (version, prompt) == ("2026.5.22", FAIL)
        told.answer("agent.wait", run["waited"])
    told.conclude(run["messages"])
    assert told.kinds()[:2] == ["response", "agent_start"]
    assert told.kinds()[-2:] == ["agent_end", "agent_settled"]
    last = told.told[-3]["message"]
    assert last["stopReason"] == {SLOWLY: "aborted", FAIL: "error"}.get(prompt, "stop")
    streamed = "".join(each["assistantMessageEvent"]["delta"] for each in told.told if each["type"] == "message_update")
    if prompt != FAIL:
        # Words before a tool are not streamed by a later gateway: they are shown whole in the end.
        ended = [each["message"] for each in told.told if each["type"] == "message_end"]
        whole = [said_in(message) for message in ended if message["role"] == "assistant"]
        assert sorted(streamed) == sorted("".join(whole))
        assert last["content"][0]["text"] in streamed
    for record in told.told[1:]:
        assert type(decode_event(record)).__name__ != "UnknownEvent", record


def test_a_prompt_that_is_refused_can_be_given_again() -> None:
    told = Conversation()
    told.command("prompt", message="hello")
    told.refuse("chat.send", "not now")
    assert told.told[-1]["error"] == "not now (INVALID_REQUEST)"
    told.command("prompt", message="hello")
    told.answer("chat.send", {"runId": "another", "status": "in_flight"})
    assert told.told[-1]["error"] == "the session has a run with this prompt going on"
    told.command("prompt", message="hello")
    told.answer("chat.send", {"runId": "{run}", "status": "started"})
    assert told.told[-2]["success"]
    told.command("prompt", message="hello")
    assert told.told[-1]["error"] == "a run is going on"


def test_images_are_attached() -> None:
    told = Conversation()
    told.command("prompt", message="look", images=[{"type": "image", "data": "QUJD", "mimeType": "image/png"}])
    assert told.asked[0]["params"]["attachments"] == [{"type": "image", "mimeType": "image/png", "content": "QUJD"}]


def test_an_abort_is_answered_when_the_run_is_over() -> None:
    told = Conversation()
    told.command("prompt", message="hello")
    told.answer("chat.send", {"runId": "{run}", "status": "started"})
    told.command("abort")
    assert told.asked[-1]["params"] == {"sessionKey": "{key}", "runId": "{run}"}
    told.answer("chat.abort", {"ok": True})
    assert told.kinds() == ["response", "agent_start"]
    told.event({"event": "chat", "payload": {"runId": "{run}", "sessionKey": "{key}", "state": "aborted"}})
    told.conclude([])
    responses = [each for each in told.told if each["type"] == "response"]
    assert [each["command"] for each in responses] == ["prompt", "abort"]
    settled = next(each for each in told.told if each["type"] == "agent_settled")
    assert settled["aborted"] is True


def test_a_wait_that_was_in_vain_is_made_again() -> None:
    told = Conversation()
    told.command("prompt", message="hello")
    told.answer("chat.send", {"runId": "{run}", "status": "started"})
    told.answer("agent.wait", {"runId": "{run}", "status": "timeout"})
    assert told.methods() == ["chat.send", "agent.wait", "agent.wait"]
    told.answer("agent.wait", {"runId": "{run}", "status": "ok"})
    assert told.methods()[-1] == "sessions.list"


# --- what a run is told, and what follows it ---------------------------------------------------------


def counting() -> Iterator[str]:
    return (f"run-{number}" for number in itertools.count(1))


def going_on(prompt: str = "hello") -> Conversation:
    """A run that the gateway has taken, under the id ``run-1``."""
    ids = counting()
    told = Conversation()
    told.translation = SessionTranslation("{key}", "s1-", make_id=lambda: next(ids))
    told.command("prompt", message=prompt)
    told.answer("chat.send", {"runId": "run-1", "status": "started"})
    return told


def chat(run_id: str, state: str, **more: Any) -> Record:
    return {"event": "chat", "payload": {"runId": run_id, "sessionKey": "{key}", "state": state, **more}}


def user(said: str) -> Record:
    return {"role": "user", "content": said}


def reply(said: str) -> Record:
    return {"role": "assistant", "content": text(said), "stopReason": "stop"}


def replied(said: str) -> Record:
    return {"message": {"role": "assistant", "content": text(said)}}


def test_a_gateway_without_queue_modes_is_told_as_it_likes_to_be() -> None:
    told = going_on()
    told.command("steer", message="left")
    assert told.asked[-1]["params"] == {
        "sessionKey": "{key}",
        "message": "left",
        "idempotencyKey": "run-2",
        "queueMode": "steer",
    }
    told.refuse("chat.send", "invalid chat.send params: at root: unexpected property 'queueMode'")
    assert "queueMode" not in told.asked[-1]["params"]
    assert told.asked[-1]["params"]["idempotencyKey"] == "run-2"
    told.answer("chat.send", {"runId": "run-2", "status": "started"})
    assert [each["command"] for each in told.told if each["type"] == "response"] == ["prompt", "steer"]
    told.command("steer", message="right")
    assert "queueMode" not in told.asked[-1]["params"], "it is asked once"


def test_what_it_was_told_is_waited_for() -> None:
    told = going_on()
    told.command("steer", message="go\nleft")
    told.answer("chat.send", {"runId": "run-2", "status": "started"})
    told.event(chat("run-2", "final"))
    told.event(chat("run-1", "final", **replied("hi")))
    idle = {"sessions": [{"key": "{key}", "hasActiveRun": False}]}
    for messages in ([user("hello"), reply("hi")], [user("hello"), reply("hi"), user("go left")]):
        told.answer("sessions.list", idle)
        told.answer("chat.history", {"messages": messages})
        assert told.methods()[-1] == "sessions.list", "its answer is still to come"
    told.event({"event": "agent", "payload": {"runId": "x", "stream": "assistant", "data": {"text": "left it is"}}})
    assert told.told[-1]["assistantMessageEvent"]["delta"] == "left it is"
    told.answer("sessions.list", idle)
    told.answer("chat.history", {"messages": [user("hello"), reply("hi"), user("go left"), reply("left it is")]})
    assert told.kinds()[-2:] == ["agent_end", "agent_settled"]
    assert [message["role"] for message in told.told[-2]["messages"]] == ["user", "assistant"] * 2


def test_but_not_for_ever() -> None:
    told = going_on()
    told.command("steer", message="left")
    told.answer("chat.send", {"runId": "run-2", "status": "started"})
    told.event(chat("run-1", "final", **replied("hi")))
    looks = 0
    while told.kinds()[-1] != "agent_settled":
        looks += 1
        told.answer("sessions.list", {"sessions": []})
        told.answer("chat.history", {"messages": [user("hello"), reply("hi")]})
    assert 100 < looks < 1000


def test_nor_behind_a_failure() -> None:
    for state in ("error", "aborted"):
        told = going_on()
        told.command("steer", message="left")
        told.answer("chat.send", {"runId": "run-2", "status": "started"})
        told.event(chat("run-1", state, errorMessage="no"))
        told.answer("sessions.list", {"sessions": []})
        told.answer("chat.history", {"messages": [user("hello")]})
        assert told.kinds()[-1] == "agent_settled"


def test_a_prompt_that_another_run_took_in_is_answered_there() -> None:
    """What a gateway does with the first prompt after it was killed: its first answer is none."""
    told = going_on()
    told.event(chat("run-1", "final"))
    told.answer("sessions.list", {"sessions": []})
    told.answer("chat.history", {"messages": [user("[System] go on"), reply("I go on")]})
    told.answer("sessions.list", {"sessions": []})
    told.answer("chat.history", {"messages": [user("[System] go on"), reply("I go on"), user("hello"), reply("hi")]})
    assert told.kinds()[-1] == "agent_settled"
    assert [message["content"] for message in told.told[-2]["messages"]] == ["hello", text("hi")]


def test_what_the_gateway_goes_on_with_behind_it_is_not_part_of_it() -> None:
    told = going_on()
    told.command("steer", message="left")
    told.answer("chat.send", {"runId": "run-2", "status": "started"})
    told.event(chat("run-1", "final", **replied("hi")))
    told.answer("sessions.list", {"sessions": []})
    own = [user("hello"), reply("hi"), user("left"), reply("left it is")]
    told.answer("chat.history", {"messages": [*own, user("[System] go on"), reply("I go on")]})
    assert [message["content"] for message in told.told[-2]["messages"]] == [each["content"] for each in own]


def test_or_the_run_has_failed() -> None:
    told = going_on()
    told.event(chat("run-1", "final"))
    while told.kinds()[-1] != "agent_settled":
        told.answer("sessions.list", {"sessions": []})
        told.answer("chat.history", {"messages": []})
    (answer,) = told.told[-2]["messages"]
    assert answer["stopReason"] == "error"
    assert answer["errorMessage"] == "the prompt became part of another run, and was not answered there"


def test_a_run_may_be_silent() -> None:
    told = going_on()
    told.event({"event": "agent", "payload": {"runId": "run-1", "stream": "lifecycle", "data": {"phase": "start"}}})
    told.event(chat("run-1", "final"))
    told.answer("sessions.list", {"sessions": []})
    told.answer("chat.history", {"messages": [user("hello")]})
    assert told.kinds()[-1] == "agent_settled"
    assert [message["role"] for message in told.told[-2]["messages"]] == ["user"]


def test_what_follows_and_cannot_be_begun_is_an_error_of_the_run() -> None:
    told = going_on()
    told.command("follow_up", message="and then")
    told.event(chat("run-1", "final", **replied("hi")))
    told.conclude([user("hello"), reply("hi")])
    assert "agent_settled" not in told.kinds()
    assert told.asked[-1]["params"]["message"] == "and then"
    told.refuse("chat.send", "not now")
    assert told.kinds()[-1] == "agent_settled"
    last = told.told[-2]["messages"][-1]
    assert (last["stopReason"], last["errorMessage"]) == ("error", "not now (INVALID_REQUEST)")
    told.command("prompt", message="hello")
    assert told.methods()[-1] == "chat.send"


def test_what_is_said_before_the_run_is_there_is_said_when_it_is() -> None:
    told = Conversation()
    ids = counting()
    told.translation = SessionTranslation("{key}", "s1-", make_id=lambda: next(ids))
    told.command("steer", message="left")
    told.command("prompt", message="hello")
    assert [each["params"]["message"] for each in told.asked] == ["hello"]
    told.answer("chat.send", {"runId": "run-1", "status": "started"})
    sent = [each["params"].get("message") for each in told.asked if each["method"] == "chat.send"]
    assert sent == ["hello", "left"]


def test_the_levels_that_there_are() -> None:
    for level, levels, patched in (
        ("high", ["off", "low"], "low"),
        ("minimal", ["off", "low"], "off"),
        ("max", ["off", "minimal", "high"], "high"),
        ("adaptive", ["off", "adaptive"], "adaptive"),
        ("unheard-of", ["off"], "unheard-of"),
    ):
        told = Conversation()
        told.command("set_thinking_level", level=level)
        told.answer("sessions.describe", {"session": {"key": "k", "thinkingLevels": [{"id": each} for each in levels]}})
        assert told.asked[-1]["params"] == {"key": "{key}", "thinkingLevel": patched}


def test_the_runs_of_others_are_not_ours() -> None:
    told = Conversation()
    told.command("prompt", message="hello")
    told.answer("chat.send", {"runId": "{run}", "status": "started"})
    before = list(told.told)
    for state in ("delta", "final"):
        told.event({"event": "chat", "payload": {"runId": "theirs", "state": state, "deltaText": "x"}})
    told.event({"event": "agent", "payload": {"runId": "theirs", "stream": "assistant", "data": {"text": "x"}}})
    assert told.told == before


def test_what_is_not_supported() -> None:
    told = Conversation("agent:main:x")
    for kind in ("fork", "get_tree", "bash", "set_steering_mode", "export_html", "what Pi has tomorrow"):
        with pytest.raises(Unsupported, match=f"'{kind}' is not supported by the gateway's session 'agent:main:x'"):
            told.command(kind)
    told.command("extension_ui_response")
    assert told.asked == told.told == []


def test_tools_are_shown_as_pi_shows_them() -> None:
    run = GatewayRun("r", "p")

    def take(**data: Any) -> list[Record]:
        return run.take("agent", {"stream": "tool", "data": {"name": "exec", "toolCallId": "c", **data}})

    (start,) = take(phase="start", args={"command": "ls"})
    (update,) = take(phase="update", partialResult={"content": text("a")})
    (end,) = take(phase="result", result={"content": text("ab")}, isError=False)
    assert [each["type"] for each in (start, update, end)] == [
        "tool_execution_start",
        "tool_execution_update",
        "tool_execution_end",
    ]
    assert (start["args"], update["partialResult"], end["isError"]) == (
        {"command": "ls"},
        {"content": text("a")},
        False,
    )
    assert take(phase="a new one") == []


def test_text_that_is_told_only_as_chat() -> None:
    run = GatewayRun("r", "p")
    told: list[Record] = []
    for delta in ("one", " two"):
        told += run.take("chat", {"state": "delta", "deltaText": delta})
    assert [each["type"] for each in told] == ["message_start", "message_update", "message_update"]
    run.take("chat", {"state": "final", "message": {"role": "assistant", "content": text("one two")}})
    assert run.ended
    records, said = run.finish([])
    (end,) = [each for each in records if each["type"] == "message_end"]
    assert said == [end["message"]]
    assert end["message"]["content"] == text("one two")


EVENT_FIELDS = st.sampled_from(["state", "stream", "data", "phase", "text", "deltaText", "message", "errorMessage"])
EVENT_WORDS = st.sampled_from(
    ["delta", "final", "aborted", "error", "assistant", "thinking", "tool", "start", "result"]
)
EVENT_DATA = st.dictionaries(EVENT_FIELDS, EVENT_WORDS | values, max_size=4)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["chat", "agent"]), st.dictionaries(EVENT_FIELDS, EVENT_WORDS | EVENT_DATA, max_size=4)
        ),
        max_size=5,
    )
)
def test_no_event_is_an_error(events: list[tuple[str, Record]]) -> None:
    run = GatewayRun("r", "p")
    for event, payload in events:
        for record in run.take(event, payload):
            assert type(decode_event(record)).__name__ != "UnknownEvent", record
    records, said = run.finish([])
    assert [each["message"] for each in records if each["type"] == "message_end"] == said
