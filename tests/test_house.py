"""The house in order: what the README says is what is run."""

from __future__ import annotations

import re
from pathlib import Path

import pi_trio
from pi_trio.cli.exits import EXIT_CODES

ROOT = Path(__file__).parent.parent


def test_ci_runs_the_readmes_test_command() -> None:
    commands = re.findall(r"```sh\n# .*?\n(.*?)\n```", (ROOT / "README.md").read_text())
    assert len(commands) == 2
    assert commands[0].endswith("pitrio demo")
    assert commands[1] in (ROOT / ".ci" / "run").read_text()


def test_every_exit_code_is_documented() -> None:
    documented = re.findall(r"^\| (\d+) \| (.*) \|$", (ROOT / "docs" / "cli.md").read_text(), re.MULTILINE)
    assert {int(code): meaning for code, meaning in documented} == dict(EXIT_CODES)


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_public_name_is_there_and_documented() -> None:
    for name in pi_trio.__all__:
        assert getattr(pi_trio, name).__doc__, name
