"""The command that checks lifecycles."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pi_trio import InstanceSpec
from pi_trio.cli import main
from pi_trio.cli.check_file import Checked, read_checked
from pi_trio.errors import SpecError
from pi_trio.lifecycle import Backoff, Exited, RestartPolicy, RestartType
from pi_trio.supervisor import Strategy, Supervisor
from pi_trio.testing.plans import Plan, Spawn, dump_plan, load_plan

CONFIG = """
strategies = ["rest_for_one"]

[[spec]]
grace_timeout = 1.0
restart = { type = "permanent", intensity = 3, backoff = { base = 0.5 } }
health = false

[[spec]]
"""


def check(*args: str) -> Result:
    return CliRunner().invoke(main, ["check", *args])


@pytest.fixture
def _exits_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def once_too_often(self: Supervisor, event: object) -> None:
        self._around.publish(event)  # type: ignore[arg-type]
        if isinstance(event, Exited):
            self._around.publish(event)

    monkeypatch.setattr(Supervisor, "_publish", once_too_often)
    return


def test_all_is_well() -> None:
    result = check("--examples", "20")
    assert result.exit_code == 0
    assert "every promise held: 20 plans" in result.stdout


def test_for_a_time_and_without_faults() -> None:
    result = check("--seconds", "0.2", "--no-faults", "--restart", "permanent", "--grace-timeout", "0.5")
    assert result.exit_code == 0, result.output


@pytest.mark.usefixtures("_exits_twice")
def test_a_broken_promise_is_shown_and_saved_and_replayed(tmp_path: Path) -> None:
    saved = tmp_path / "plan.json"
    result = check("--examples", "50", "--save", str(saved))
    assert result.exit_code == 1
    assert "one_exit_one_end:" in result.stdout
    assert "Exited(" in result.stdout
    assert f"pitrio check --replay {saved}" in result.stdout
    assert load_plan(saved.read_text()).steps

    result = check("--replay", str(saved))
    assert result.exit_code == 1
    assert "one_exit_one_end:" in result.stdout


@pytest.mark.usefixtures("_exits_twice")
def test_a_plan_that_cannot_be_saved_is_shown(tmp_path: Path) -> None:
    result = check("--examples", "50", "--save", str(tmp_path / "no" / "folder"))
    assert result.exit_code == 1
    assert "could not be saved" in result.stderr
    assert "plan = Plan(" in result.stdout


def test_a_plan_that_is_well_again(tmp_path: Path) -> None:
    saved = tmp_path / "plan.json"
    saved.write_text(dump_plan(Plan(steps=(Spawn(),))))
    result = check("--replay", str(saved))
    assert result.exit_code == 0
    assert "every promise held" in result.stdout


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"is": "Spawn"}'])
def test_what_is_no_plan(tmp_path: Path, text: str) -> None:
    saved = tmp_path / "plan.json"
    saved.write_text(text)
    result = check("--replay", str(saved))
    assert result.exit_code == 2
    assert str(saved) in result.stderr


def test_the_file_of_a_program(tmp_path: Path) -> None:
    config = tmp_path / "check.toml"
    config.write_text(CONFIG)
    checked = read_checked(config, restart={"intensity": 7}, timeouts={"start_timeout": 2.0})
    first = InstanceSpec(
        start_timeout=2.0,
        grace_timeout=1.0,
        restart=RestartPolicy(type=RestartType.PERMANENT, intensity=7, backoff=Backoff(base=0.5)),
        health=None,
    )
    second = InstanceSpec(start_timeout=2.0, restart=RestartPolicy(intensity=7))
    assert checked == Checked((first, second), (Strategy.REST_FOR_ONE,))
    assert check("--config", str(config), "--examples", "10").exit_code == 0


def test_nothing_said_is_everything() -> None:
    assert read_checked(None, restart={}, timeouts={}) == Checked(None, tuple(Strategy))
    one = read_checked(None, restart={}, timeouts={}, strategy="one_for_all")
    assert one == Checked(None, (Strategy.ONE_FOR_ALL,))


@pytest.mark.parametrize(
    "text",
    [
        "x = 1",
        "= 1",
        "strategies = 3",
        "strategies = []",
        'strategies = ["any"]',
        "spec = 1",
        "spec = []",
        "spec = [1]",
        "[[spec]]\ncwd = '/'",
        "[[spec]]\ngrace_timeout = -1",
        "[[spec]]\ngrace_timeout = 'x'",
        "[[spec]]\nrestart = 'permanent'",
        "[[spec]]\nrestart = { type = 'x' }",
        "[[spec]]\nrestart = { intensity = 'x' }",
        "[[spec]]\nrestart = { wrong = 1 }",
        "[[spec]]\nrestart = { backoff = 1 }",
        "[[spec]]\nhealth = true",
        "[[spec]]\nhealth = { misses = 0 }",
    ],
)
def test_what_cannot_be(tmp_path: Path, text: str) -> None:
    config = tmp_path / "check.toml"
    config.write_text(text)
    with pytest.raises(SpecError):
        read_checked(config, restart={}, timeouts={})
    result = check("--config", str(config))
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for option in ("--config", "--replay"):
        result = check(option, str(tmp_path / "none"))
        assert result.exit_code in (1, 2)
        assert "none" in result.stderr


def test_without_hypothesis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "pi_trio.testing.lifecycles", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "hypothesis", None)
    monkeypatch.delattr("pi_trio.testing.lifecycles", raising=False)
    result = check("--examples", "1")
    assert result.exit_code == 3
    assert "pip install hypothesis" in result.stderr
