"""Scopes, tokens, tickets, and the limit on failures: without a socket or a clock."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio import EndpointConfig
from pi_trio.endpoint.access import Access, FailureLimit, Tickets
from pi_trio.endpoint.door import hosts_of
from pi_trio.endpoint.frames import batch_frames, single_frames
from pi_trio.endpoint.scope import COMMAND_SCOPES, Scope, scope_of
from tests.client.test_faults import COMMANDS


def test_every_command_of_pi_has_a_scope() -> None:
    assert set(COMMAND_SCOPES) == set(COMMANDS) | {"extension_ui_response"}
    assert all(scope_of(name) is Scope.OBSERVE for name in COMMANDS if name.startswith("get_"))
    assert {name for name in COMMANDS if scope_of(name) is Scope.ADMIN} == {
        "bash",
        "abort_bash",
        "export_html",
        "switch_session",
    }
    assert scope_of("what a Pi of tomorrow may do") is Scope.ADMIN


def test_scopes_by_name() -> None:
    assert [str(scope) for scope in Scope] == ["observe", "prompt", "control", "admin"]
    assert Scope.named("observe") is Scope.OBSERVE
    with pytest.raises(ValueError, match="observe, prompt, control, admin"):
        Scope.named("root")


@given(st.lists(st.sampled_from(Scope), min_size=1, max_size=5), st.data())
def test_a_token_gives_its_scope_and_nothing_like_it_does(scopes: list[Scope], data: st.DataObject) -> None:
    access = Access()
    tokens = {access.issue(scope): scope for scope in scopes}
    assert len(tokens) == len(scopes)
    assert {token: access.scope_for(token) for token in tokens} == tokens
    token = data.draw(st.sampled_from(list(tokens)))
    at = data.draw(st.integers(0, len(token) - 1))
    changed = data.draw(st.characters().filter(lambda character: character != token[at]))
    for wrong in (token[:at], token[:at] + changed + token[at + 1 :], token + changed, ""):
        if wrong not in tokens:
            assert access.scope_for(wrong) is None
    access.revoke(token)
    assert access.scope_for(token) is None


def test_the_anonymous_show_nothing_and_something_wrong_is_not_nothing() -> None:
    access = Access(Scope.OBSERVE)
    assert access.scope_for(None) is Scope.OBSERVE
    assert access.scope_for("") is None
    assert Access().scope_for(None) is None


def test_a_ticket_lapses_and_old_ones_make_room() -> None:
    tickets = Tickets(lifetime=30.0, most=2)
    first = tickets.issue(Scope.PROMPT, 0.0)
    assert tickets.redeem(first, 29.9) is Scope.PROMPT
    assert tickets.redeem(first, 29.9) is None
    second = tickets.issue(Scope.PROMPT, 0.0)
    assert tickets.redeem(second, 30.0) is None
    three = [tickets.issue(Scope.PROMPT, 40.0) for _ in range(3)]
    assert [tickets.redeem(each, 41.0) for each in three] == [None, Scope.PROMPT, Scope.PROMPT]


@given(st.lists(st.floats(0, 10), max_size=60))
def test_in_any_time_no_more_failures_than_the_limit_says(pauses: list[float]) -> None:
    limit, now, answered = FailureLimit(burst=3, rate=1.0), 0.0, []
    for pause in pauses:
        now += pause
        if limit.failed(now):
            answered.append(now)
    for index, start in enumerate(answered):
        for count, end in enumerate(answered[index:], 1):
            assert count <= 3 + (end - start) + 1e-6


def _messages(frames: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(frames):
        assert frames[at] == 0x81
        length, at = frames[at + 1], at + 2
        if length > 125:
            size = 2 if length == 126 else 8
            length, at = int.from_bytes(frames[at : at + size], "big"), at + size
        found.append(frames[at : at + length])
        at += length
    return found


lines = st.lists(st.one_of(st.binary(max_size=50), st.integers(100, 70_000).map(lambda size: b"x" * size)), max_size=20)


@given(lines.map(lambda them: [line.replace(b"\n", b" ") for line in them]))
def test_frames_hold_every_line_whole_and_in_order(them: list[bytes]) -> None:
    mended = [line.decode("utf-8", "replace").encode() for line in them]
    assert _messages(single_frames(them)) == mended
    batches = _messages(batch_frames(them))
    assert b"".join(batches) == b"".join(line + b"\n" for line in mended)
    assert all(batch.endswith(b"\n") for batch in batches)
    assert all(len(batch) <= 3 * 64 * 1024 + 1 or batch.count(b"\n") == 1 for batch in batches)


@pytest.mark.parametrize(
    ("tls", "port", "host", "allowed"),
    [
        (False, 80, "127.0.0.1", True),
        (False, 80, "LOCALHOST", True),
        (False, 80, "[::1]:80", True),
        (True, 443, "localhost", True),
        (True, 80, "localhost", False),
        (False, 443, "localhost", False),
        (False, 8080, "localhost", False),
    ],
)
def test_at_the_port_of_the_scheme_a_host_need_not_name_it(tls: bool, port: int, host: str, allowed: bool) -> None:
    config = EndpointConfig(ssl_context=ssl.create_default_context() if tls else None)
    assert (host.lower() in hosts_of(config, port)) is allowed


def test_a_range_of_ports_that_is_none() -> None:
    for base, most in ((5, 4), (0, 9000), (9000, 0), (1, 65536), (-1, 5)):
        with pytest.raises(ValueError, match="ports go from 1 to 65535"):
            EndpointConfig(base_port=base, max_port=most)
