"""What the documents show is run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SIMULATION = DOCS / "simulation.md"
TUTORIAL = DOCS / "testing.md"


def test_the_first_program_of_the_document_runs(capsys: pytest.CaptureFixture[str]) -> None:
    program = re.findall(r"```python\n(.*?)```", SIMULATION.read_text(), re.DOTALL)[0]
    exec(compile(program, str(SIMULATION), "exec"), {"__name__": "document"})
    said, incarnation = capsys.readouterr().out.splitlines()
    assert said == "You said: hello"
    assert incarnation.startswith("2 ")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_tutorial_runs(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    program = re.findall(r"```python\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)[number]
    exec(compile(program, str(TUTORIAL), "exec"), {"__name__": "document"})
    said = capsys.readouterr().out
    assert said.startswith(("You said: Are you there? 2\n", "", "20 plans, ")[number])
