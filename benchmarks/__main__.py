"""The command line: measure, show the table, fail when a bar is missed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import trio

from pi_trio.errors import SetupError
from pi_trio.launch import find_pi

from .comparison import Comparison
from .endpoint import ENDPOINT
from .flood import FLOOD
from .memory import MEMORY
from .registry import REGISTRY
from .report import as_json, show
from .requests import IN_FLIGHT, ROUND_TRIP
from .start import START
from .tools import TOOLS

MEASURES = {
    measure.name: measure for measure in (START, ROUND_TRIP, IN_FLIGHT, FLOOD, ENDPOINT, TOOLS, REGISTRY, MEMORY)
}


def main() -> int:
    """Exit code 0 when every bar is met, 1 when one is missed, 2 when nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="pi-trio against a bare blocking loop")
    parser.add_argument(
        "--only", nargs="+", choices=MEASURES, default=list(MEASURES), metavar="NAME", help="of: %(choices)s"
    )
    parser.add_argument("--quick", action="store_true", help="fewer samples: to see that it works, not to judge")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    options = parser.parse_args()
    comparisons: list[Comparison] = []
    try:
        pi = trio.run(find_pi)
        for name in options.only:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            comparisons += trio.run(MEASURES[name].run, options.quick)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Pi {pi.version} at {pi.path}")
    show(comparisons)
    if options.json is not None:
        options.json.write_text(as_json(comparisons, pi_version=pi.version))
    return 1 if any(each.met is False for each in comparisons) else 0


if __name__ == "__main__":
    sys.exit(main())
