"""`python -m benchmarks run [--only WORDS] [--runs N]` and `python -m benchmarks report results.json`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.run import measure
from benchmarks.stage import Stage


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure, print tables, and write the raw figures")
    run.add_argument("--only", default="", help="words: a workload's key or a part of a contender's name")
    run.add_argument("--runs", type=int, default=5, help="how often each contender has each backlog (5)")
    run.add_argument("--part", type=float, default=1.0, help="of each backlog, for a try (1.0)")
    run.add_argument("--output", type=Path, default=Path("build/benchmarks.json"))
    options = parser.parse_args()
    with Stage() as stage:
        return measure(stage, options.only, options.runs, options.part, options.output)


if __name__ == "__main__":
    sys.exit(main())
