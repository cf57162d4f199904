"""Bugs in the real code, each of which the harness has to catch.

The mutants run in processes of their own, forked from one that is started here: nothing of what this process has
imported may be in them.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pi_trio.testing.invariants import INVARIANTS
from tests.testing.mutants.catalogue import MUTANTS
from tests.testing.mutants.mutant import Mutant, StaleMutant

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "testing.md"

# A guard, not a measure: they take about a minute and a half on two idle cores.
_AT_MOST_SECONDS = 900


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest) -> dict[str, dict[str, object]]:
    """What became of the mutants whose tests are run, by their names."""
    wanted = [
        str(item.callspec.params["mutant"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == "test_a_mutant_is_caught"
    ]
    command = [sys.executable, "-m", "tests.testing.mutants", "--json", *wanted]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_AT_MOST_SECONDS, check=False
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {verdict["mutant"]: verdict for verdict in found}


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_is_caught(mutant: Mutant, verdicts: dict[str, dict[str, object]]) -> None:
    verdict = verdicts[mutant.name]
    assert verdict["caught_by"], f"{mutant.bug}: {verdict['plans']} plans, and nobody saw it. {verdict['shown']}"


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_is_another_program(mutant: Mutant) -> None:
    source = mutant.path.read_text()
    assert ast.dump(ast.parse(mutant.apply(source))) != ast.dump(ast.parse(source))


def test_there_are_enough_of_them_and_no_two_of_one_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 40


def test_what_is_not_there_any_more_makes_a_mutant_stale() -> None:
    for edit in (("no such line", ""), ("e", "f"), ("import attrs", "import attrs")):
        mutant = Mutant.of("lifecycle.restart", "stale", "", edit)
        with pytest.raises(StaleMutant, match="stale"):
            mutant.apply(mutant.path.read_text())


def test_the_document_lists_them_all() -> None:
    listed = re.findall(r"^\| `([a-z0-9-]+)` \| `([a-z.]+)` \| (.*?) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert listed == [(mutant.name, mutant.module, mutant.bug) for mutant in MUTANTS]


def test_the_document_lists_every_promise() -> None:
    listed = re.findall(r"^\| `([a-z_]+)` \| (.*?) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert listed == [(each.name, " ".join(each.statement.split())) for each in INVARIANTS.values()]
