"""Try every mutant: ``python -m tests.testing.mutants [--table] [--examples N] [--seed N] [--workers N] [NAME ...]``."""

from __future__ import annotations

import argparse
import json
import sys

import attrs

from .catalogue import MUTANTS
from .running import Verdict, run_mutants


def main() -> int:
    """The whole program."""
    parser = argparse.ArgumentParser(prog="python -m tests.testing.mutants", description=__doc__)
    parser.add_argument("--table", action="store_true", help="print a table for the documentation")
    parser.add_argument("--json", action="store_true", help="print each verdict as JSON, as it comes")
    parser.add_argument("--examples", type=int, help="at most so many plans for each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    args = parser.parse_args()
    mutants = [mutant for mutant in MUTANTS if not args.names or mutant.name in args.names]
    verdicts = {}
    for verdict in run_mutants(mutants, examples=args.examples, seed=args.seed, workers=args.workers):
        verdicts[verdict.mutant] = verdict
        if args.json:
            print(json.dumps(attrs.asdict(verdict)), flush=True)
        elif not args.table:
            print(f"{verdict.plans:5} {verdict.mutant}: {', '.join(verdict.caught_by) or 'SURVIVED'}", flush=True)
            if not verdict.caught_by and verdict.shown:
                print(verdict.shown)
    if args.table:
        print(table(verdicts))
    return 0 if all(verdict.caught_by for verdict in verdicts.values()) else 1


def table(verdicts: dict[str, Verdict]) -> str:
    """What became of each mutant, in Markdown."""
    rows = ["| mutant | where | what is wrong | caught by | after |", "|---|---|---|---|---|"]
    for mutant in MUTANTS:
        if mutant.name in verdicts:
            verdict = verdicts[mutant.name]
            caught = ", ".join(f"`{name}`" for name in verdict.caught_by) or "nothing"
            where = f"`{mutant.module}`"
            rows.append(f"| `{mutant.name}` | {where} | {mutant.bug} | {caught} | {verdict.plans} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
