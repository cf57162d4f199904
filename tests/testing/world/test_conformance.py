"""The simulated world does what the hosts for real processes do: the same checks, on virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pi_trio.testing.trace import Misuse, Recorder
from pi_trio.testing.world import open_world
from tests.concurrency.virtual import run
from tests.process.conformance import CHECKS, Check

# These are about files, and interpreters of this machine: the world has neither.
NOT_SIMULATED = {
    "a_program_is_looked_for_in_the_path_it_is_given",
    "it_has_a_session_of_its_own",
    "what_the_system_refuses_is_the_error_it_gives",
    "cancelled_before_it_began_it_starts_nothing",
}

SIMULATED: Sequence[Check] = [check for check in CHECKS if check.__name__ not in NOT_SIMULATED]


def test_what_is_left_out_is_there() -> None:
    assert {check.__name__ for check in CHECKS} > NOT_SIMULATED


@pytest.mark.parametrize("check", SIMULATED, ids=lambda check: check.__name__)
@pytest.mark.parametrize("sweeps", [True, False], ids=["sweeps", "waits"])
@pytest.mark.parametrize("seed", range(3))
def test_conformance(seed: int, sweeps: bool, check: Check, tmp_path: Path) -> None:
    recorder = Recorder()

    async def main() -> None:
        async with open_world(seed=seed, record=recorder.record, programs={}, sweeps=sweeps) as world:
            await check(world, tmp_path)

    run(main)
    assert list(recorder.trace().of(Misuse)) == []
