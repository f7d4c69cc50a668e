"""`python -m benchmarks run [--only WORDS] [--runs N]`, `... report RESULTS.json`, `... readers [--events N]`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks import readers
from benchmarks.plan import SHORT, WHOLE, chosen
from benchmarks.report import write
from benchmarks.run import measure
from benchmarks.stage import Stage
from tests.support.servers.debian import ROOT


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure, print tables, and write the raw figures")
    run.add_argument("--only", default="", help="words, by commas: a workload's key, or a part of a contender's name")
    run.add_argument("--runs", type=int, default=5, help="how often each contender has each backlog (5)")
    run.add_argument("--short", action="store_true", help="once, with hardly any: does it run?")
    run.add_argument("--output", type=Path, default=Path("build/benchmarks.json"))
    report = commands.add_parser("report", help="make docs/benchmarks.md and its pictures of raw figures")
    report.add_argument("results", type=Path)
    report.add_argument("--folder", type=Path, default=ROOT / "docs", help="where the page goes (docs)")
    reading = commands.add_parser("readers", help="what reading back costs, and whether its memory stays the same")
    reading.add_argument("--only", default=",".join(readers.KINDS), help="streams, by commas: redis, kafka, sqlite")
    reading.add_argument("--events", type=int, default=5_000_000, help="for each reader (5,000,000)")
    reading.add_argument("--chunk", type=int, default=250_000, help="events that wait for it each time (250,000)")
    reading.add_argument("--output", type=Path, default=Path("build/benchmarks-readers.json"))
    options = parser.parse_args()
    if options.command == "readers":
        with Stage() as stage:
            found = readers.measure(stage, options.only.split(","), options.events, options.chunk)
        readers.write(found, options.output)
        print(f"{readers.summary(found)}\nraw figures: {options.output}")
        return 0
    if options.command == "report":
        write(json.loads(options.results.read_text()), options.folder)
        return 0
    plan = chosen(SHORT if options.short else WHOLE, options.only)
    if not plan:
        parser.error(f"nothing has one of these words: {options.only}")
    with Stage() as stage:
        results = measure(stage, plan, 1 if options.short else options.runs, options.output)
    print(f"raw figures: {options.output}")
    for line in results["failed"] + results["missing"]:
        print(line)
    return int(bool(results["failed"]))


if __name__ == "__main__":
    sys.exit(main())
