"""The whole: every race in turn, its contenders alternating, each result kept as soon as it is there."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.contenders import Contender
from benchmarks.drain import drain
from benchmarks.latency import Load, latency
from benchmarks.machine import machine, versions
from benchmarks.measure import Failed
from benchmarks.plan import Race, Steady
from benchmarks.stage import Stage
from benchmarks.tables import summary
from tests.support.servers import ServerMissing

Results = dict[str, Any]


def measure(stage: Stage, plan: Sequence[Race | Steady], runs: int, output: Path) -> Results:
    """Measure, print a table for each race, and write all that was measured; returns that."""
    results: Results = {
        "taken": time.strftime("%Y-%m-%d"),
        "runs": runs,
        "machine": machine(),
        "versions": versions(stage),
        "races": [],
        "failed": [],
        "missing": [],
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    for item in plan:
        race: dict[str, Any] = {"key": item.key, "title": item.title, "found": []}
        if isinstance(item, Steady):
            race |= {"rate": item.rate, "seconds": item.seconds}
        else:
            race |= {"messages": item.workload.messages, "events": item.workload.events}
        results["races"].append(race)
        _race(stage, item, race["found"], results)
        output.write_text(json.dumps(results, indent=1) + "\n")
        print(f"\n{item.title}\n{summary(race)}\n", flush=True)
    return results


def _race(stage: Stage, item: Race | Steady, found: list[dict[str, Any]], results: Results) -> None:
    """Every run of every contender that there is."""
    for run in range(results["runs"]):
        # Another one begins each time: what the servers have been through is nobody's advantage.
        for contender in _rotated(item.contenders, run):
            _say(f"{item.key} {run + 1}/{results['runs']}: {contender.name}")
            try:
                contender.prepare()
                figures = _once(stage, item, contender)
            except ServerMissing as exc:
                results["missing"].append(f"{item.key}: {contender.name}: {exc}")
                _say(results["missing"][-1])
            except Exception as exc:  # noqa: BLE001 - the other figures are wanted all the same
                results["failed"].append(f"{item.key}: {contender.name}: {exc}")
                _say(results["failed"][-1] if isinstance(exc, Failed) else traceback.format_exc())
            else:
                found.append({"contender": contender.name, "sink": contender.sink, "run": run} | figures)


def _once(stage: Stage, item: Race | Steady, contender: Contender) -> dict[str, Any]:
    if isinstance(item, Steady):
        return latency(stage, Load(item.rate, item.seconds), contender)
    return drain(stage, item.workload, contender)


def _rotated(contenders: Sequence[Contender], by: int) -> list[Contender]:
    first = by % len(contenders)
    return [*contenders[first:], *contenders[:first]]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
