"""Every example runs as it is, on the real Pi against the scripted model, and leaves nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from pi_trio.launch import PiInstall
from pi_trio.process import marked
from tests.support import PATIENCE

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


SAYS = {
    "branches.py": [
        "heard: Say it in French.",
        "heard: Say it in Latin.",
        "latin 9 entries",
        "french 11 entries <- here",
    ],
    "switch_model.py": [
        "anthropic/claude-sonnet-4-5: The scripted model heard: Think of a number.",
        "anthropic/claude-haiku-4-5: The scripted model heard: Double it.",
        "openai/gpt-5.1: The scripted model heard: Which number was it?",
        "330 tokens, $0.0004 so far",
        "as expected: ProviderUnavailable: Pi does not know the provider 'nobody'",
    ],
    "fleet.py": [
        "heard: A limerick about a ",
        "heard: Say that you were ready.",
        "user 7 goes to ",
        "and again: True",
        "2 of 2 places are free",
    ],
    "compaction.py": [" tokens before, about ", "heard: Who was it about?"],
    "dialogs.py": ["Select(", "Input(", "Confirm(", "2.0.0 to staging: not released"],
    "steering.py": [
        "heard: Tell me a long story about the mountains.",
        "heard: No: about the sea.",
        "heard: And give it a title.",
        "330 tokens, $0.0004",
        "aborted",
        "as expected: the run was not over within 0.01 s, and was aborted",
    ],
}
"""What the examples of the client print, in this order."""


def in_order(said: str, *parts: str) -> bool:
    """Whether these parts stand in ``said``, one after the other."""
    for part in parts:
        _, found, said = said.partition(part)
        if not found:
            return False
    return True


def run_example(pi: PiInstall, home: Path, name: str) -> str:
    mark = {"PI_TRIO_TEST": uuid.uuid4().hex}
    done = subprocess.run(
        [sys.executable, "-m", "pi_trio.testing", str(ROOT / "examples" / name)],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        cwd=home,
        env={**os.environ, **mark, "PI_TRIO_PI": str(pi.path), "HOME": str(home), "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    assert marked(mark) == []
    return done.stdout.decode()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(pi: PiInstall, tmp_path: Path, name: str) -> None:
    said = run_example(pi, tmp_path, name)
    if name == "quickstart.py":
        assert "TextDelta" in said
        assert "The scripted model heard: And in one sentence? Cost(" in said
    elif name == "side_by_side.py":
        assert {line.split(":")[0] for line in said.splitlines()} >= {"pi-1", "pi-2", "pi-3"}
        assert said.count("110 tokens, $0.0001") == 3
    elif name == "python_tools.py":
        lines = said.splitlines()
        assert sorted(lines[:2]) == ["draw: done, image", "weather: failed, text"]
        assert lines[2].endswith("There is no weather station in Atlantis: ask for a city above the sea.")
        assert lines[3:] == ["search: searching for 'nurseries'", "search: cancelled, as Pi was told to abort"]
    elif name in SAYS:
        assert in_order(said, *SAYS[name]), said
    elif name == "lifecycle_check.py":
        assert said.startswith("every promise held: 50 plans, ")
    else:
        assert name == "watch.py", "a new example needs a look at what it says"
        assert "<Instance unlucky stopped> was ended by SIGKILL" in said
        assert "as expected: wrong did not become ready" in said
        assert "as expected: Pi (lives) was ended by SIGKILL" in said


def test_the_readme_shows_the_quickstart_as_it_is() -> None:
    shown = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    written = (ROOT / "examples" / "quickstart.py").read_text()
    program = written.split('"""\n\n', 1)[1]
    assert [line for line in shown.group(1).splitlines() if line] == [line for line in program.splitlines() if line]
