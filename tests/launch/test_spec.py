"""The spec: its command line, its environment, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from pi_trio import InstanceSpec, PiTrioError, SpecError
from pi_trio.protocol import State, structure


def test_defaults_leave_everything_to_pi() -> None:
    assert InstanceSpec().arguments() == ("--mode", "rpc")
    assert InstanceSpec().environment({"A": "1", "PATH": "/bin"}) == {"A": "1", "PATH": "/bin"}


def test_the_command_line() -> None:
    spec = InstanceSpec(
        provider="anthropic",
        model="claude",
        thinking="high",
        session_id="s1",
        tools=("read", "bash"),
        append_system_prompt=("one", "two"),
        extra_args=("--no-extensions",),
    )
    assert spec.arguments() == (
        "--mode",
        "rpc",
        "--provider",
        "anthropic",
        "--model",
        "claude",
        "--thinking",
        "high",
        "--session-id",
        "s1",
        "--tools",
        "read,bash",
        "--append-system-prompt",
        "one",
        "--append-system-prompt",
        "two",
        "--no-extensions",
    )
    assert InstanceSpec(tools=()).arguments()[2:] == ("--no-tools",)
    assert InstanceSpec(ephemeral=True).arguments()[2:] == ("--no-session",)
    assert InstanceSpec(session="x.jsonl").arguments()[2:] == ("--session", "x.jsonl")
    option, extension, last = InstanceSpec(branching=True, extra_args=("-x",)).arguments()[2:]
    assert (option, last) == ("--extension", "-x")
    assert Path(extension).is_file()


def test_a_pi_that_takes_over_is_like_the_one_before() -> None:
    state = {
        "sessionId": "s2",
        "thinkingLevel": "low",
        "isStreaming": False,
        "isCompacting": False,
        "steeringMode": "all",
        "followUpMode": "all",
        "autoCompactionEnabled": True,
        "messageCount": 0,
        "pendingMessageCount": 0,
        "model": {"id": "m2", "provider": "p2"},
    }
    last = structure(state, State)
    spec = InstanceSpec(provider="p1", model="m*:high", session="x.jsonl", extra_args=("--continue", "-x"))
    model = ("--provider", "p2", "--model", "m2", "--thinking", "low")
    assert spec.continued(last).arguments()[2:] == (*model, "--session-id", "s2", "-x")
    fresh = attrs.evolve(spec, restart_session="fresh").continued(last)
    assert fresh.arguments()[2:] == ("--provider", "p1", "--model", "m*:high", "-x")
    ephemeral = InstanceSpec(ephemeral=True).continued(last)
    assert ephemeral.arguments()[2:] == (*model, "--no-session")
    assert InstanceSpec().continued(structure({**state, "model": None, "thinkingLevel": "new"}, State)).model is None


def test_the_environment_is_changed_as_the_spec_says() -> None:
    spec = InstanceSpec(env={"KEY": "new", "GONE": None, "NOT_THERE": None})
    assert spec.environment({"KEY": "old", "GONE": "x", "STAYS": "y"}) == {"KEY": "new", "STAYS": "y"}
    bare = InstanceSpec(env={"KEY": "new"}, inherit_env=False)
    assert bare.environment({"PATH": "/bin", "HOME": "/h", "SECRET": "s"}) == {
        "PATH": "/bin",
        "HOME": "/h",
        "KEY": "new",
    }


def test_no_value_of_the_environment_is_ever_shown() -> None:
    spec = InstanceSpec(env={"API_KEY": "sk-123", "GONE": None})
    assert "sk-123" not in repr(spec)
    assert "{API_KEY, -GONE}" in repr(spec)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"provider": ""}, "provider"),
        ({"provider": 5}, "provider"),
        ({"model": "a\0b"}, "model"),
        ({"thinking": "very"}, "off, minimal"),
        ({"tools": "bash"}, r"\('bash',\)"),
        ({"tools": (5,)}, "tools"),
        ({"branching": "yes"}, "branching must be a bool"),
        ({"dialogs": "allow"}, "dialogs must be an async function"),
        ({"extra_args": ("--api-key", "x")}, "environment"),
        ({"extra_args": ("--api-key=x",)}, "environment"),
        ({"extra_args": ("--mode=text",)}, "RPC"),
        ({"extra_args": ("--model", "x")}, "model field"),
        ({"env": {"A=B": "x"}}, "A=B"),
        ({"env": {"A": 5}}, r"env\['A'\]"),
        ({"env": {"A": "x\0"}}, r"env\['A'\]"),
        ({"cwd": 5}, "cwd"),
        ({"session_id": "a", "ephemeral": True}, "exclude each other"),
        ({"start_timeout": -1}, "start_timeout"),
        ({"grace_timeout": float("nan")}, "grace_timeout"),
        ({"grace_timeout": "5"}, "grace_timeout"),
        ({"drain_timeout": True}, "drain_timeout"),
    ],
)
def test_what_cannot_be_launched_is_refused_by_name(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        InstanceSpec(**fields)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, PiTrioError)


def test_paths_are_taken_for_cwd() -> None:
    assert InstanceSpec(cwd=Path("/tmp")).cwd == "/tmp"


def test_what_the_selection_needs_is_checked_and_passed_on() -> None:
    spec = InstanceSpec(capabilities=["gpu", "gpu"], region="eu", tags={"ci"}, max_concurrent=3, selectable=False)
    profile = spec.profile()
    assert (sorted(profile.capabilities), profile.region, sorted(profile.tags)) == (["gpu"], "eu", ["ci"])
    assert (profile.max_concurrent, profile.selectable, profile.source) == (3, False, "spawned")
    for wrong in ({"capabilities": "gpu"}, {"tags": ["a\0"]}, {"region": ""}, {"max_concurrent": 0}, {"selectable": 1}):
        with pytest.raises(SpecError):
            InstanceSpec(**wrong)
