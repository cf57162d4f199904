"""What the documents show is run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SIMULATION = Path(__file__).parents[2] / "docs" / "simulation.md"


def test_the_first_program_of_the_document_runs(capsys: pytest.CaptureFixture[str]) -> None:
    program = re.findall(r"```python\n(.*?)```", SIMULATION.read_text(), re.DOTALL)[0]
    exec(compile(program, str(SIMULATION), "exec"), {"__name__": "document"})
    said, incarnation = capsys.readouterr().out.splitlines()
    assert said == "You said: hello"
    assert incarnation.startswith("2 ")
