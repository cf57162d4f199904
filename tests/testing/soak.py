"""Lifecycles for as long as there is time: ``nox -s soak -- --seconds 600``."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from pi_trio.testing.lifecycles import LifecycleCheck, LifecycleFailure, check_lifecycles
from pi_trio.testing.plans import dump_plan


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # what goes wrong on purpose is not worth a line each
    print(f"seed {options.seed}", flush=True)
    try:
        report = check_lifecycles(LifecycleCheck(seconds=options.seconds, seed=options.seed, max_spawns=12))
    except LifecycleFailure as failure:
        print(failure)
        print(f"\nAs JSON:\n\n{dump_plan(failure.plan)}")
        return 1
    print(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
