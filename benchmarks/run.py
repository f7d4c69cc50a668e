"""The whole: every race in turn, its contenders alternating, each result kept as soon as it is there."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.contenders import Contender
from benchmarks.drain import drain
from benchmarks.environment import mq_bridge_python
from benchmarks.machine import machine, versions
from benchmarks.measure import Failed
from benchmarks.plan import Race, chosen
from benchmarks.stage import Stage
from benchmarks.tables import race_table
from tests.servers import ServerMissing


def measure(stage: Stage, only: str, runs: int, part: float, output: Path) -> int:
    """Measure, print a table for each race, and write all that was measured. Returns the exit code."""
    results: dict[str, Any] = {
        "taken": time.strftime("%Y-%m-%d"),
        "runs": runs,
        "machine": machine(),
        "versions": versions(stage),
        "races": [],
        "failed": [],
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    for race in chosen(only, part):
        found = _race(stage, race, runs, results["failed"])
        results["races"].append({"key": race.key, "title": race.workload.title, "drains": found})
        output.write_text(json.dumps(results, indent=1) + "\n")
        print(f"\n{race.workload.title}\n{race_table(found)}\n", flush=True)
    print(f"raw figures: {output}")
    return int(bool(results["failed"]))


def _race(stage: Stage, race: Race, runs: int, failed: list[str]) -> list[dict[str, Any]]:
    """Every run of every contender that there is."""
    found = []
    for run in range(runs):
        # Another one begins each time: what the servers have been through is nobody's advantage.
        for contender in _rotated(race.contenders, run):
            print(f"{race.key} {run + 1}/{runs}: {contender.name}", file=sys.stderr, flush=True)
            try:
                if contender.name.startswith("mq-bridge"):
                    mq_bridge_python()
                figures = drain(stage, race.workload, contender)
            except (Failed, ServerMissing) as exc:
                failed.append(f"{race.key}: {contender.name}: {exc}")
                print(failed[-1], file=sys.stderr, flush=True)
            else:
                found.append({"contender": contender.name, "sink": contender.sink, "run": run} | figures)
    return found


def _rotated(contenders: Sequence[Contender], by: int) -> list[Contender]:
    first = by % len(contenders)
    return [*contenders[first:], *contenders[:first]]
