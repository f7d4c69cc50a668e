"""A steady load through one contender: how long until an event can be read in the sink."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

from benchmarks import backlog
from benchmarks.contenders import Contender
from benchmarks.drain import end, last_lines
from benchmarks.measure import Failed, cpu_seconds, peak_bytes
from benchmarks.stage import Stage
from tests.support.bridges import dying_with_us
from tests.support.servers.debian import ROOT, until

WARM_UP = 1.0
"""Seconds at the beginning that do not count."""
PATIENCE = 20.0
"""Seconds after the load's end within which all has to be readable."""
POINTS = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100)
"""Per cent of the events."""


class Load:
    """So many events a second for so long."""

    def __init__(self, rate: int, seconds: float) -> None:
        self.rate = rate
        self.seconds = seconds
        self.events = round(rate * seconds)


def latency(stage: Stage, load: Load, contender: Contender) -> dict[str, Any]:
    """The figures of one run. Raises Failed."""
    broker = stage.plain
    backlog.fresh_queue(broker.url)
    with ExitStack() as stack:
        sink = stage.sink(contender.sink)
        assert sink is not None
        stack.callback(sink.remove)
        running = contender.start(broker, sink, stage.folder)
        stack.callback(end, running.processes)
        try:
            until(lambda: backlog.consumers(broker.url), 30, "it consumes")
        except TimeoutError as exc:
            raise Failed(f"{exc}: {last_lines(stage.folder)}") from None
        name, *arguments = sink.reader
        reader = _program(name, *arguments, str(load.events), str(load.seconds + PATIENCE))
        stack.enter_context(reader)
        stack.callback(reader.kill)
        assert reader.stdout is not None
        if reader.stdout.readline() != b"ready\n":
            raise Failed("the reader ended")
        before = sum(map(cpu_seconds, running.processes))
        publisher = _program("load", broker.url, str(load.rate), str(load.seconds), output=subprocess.DEVNULL)
        stack.callback(publisher.kill)
        output, _ = reader.communicate(timeout=load.seconds + 2 * PATIENCE)
        if publisher.wait(PATIENCE):
            raise Failed("the load ended early")
        after = sum(map(cpu_seconds, running.processes))
        found = json.loads(output)
        if len(found) < load.events:
            raise Failed(f"{len(found)} of {load.events} can be read: {last_lines(stage.folder)}")
        counted = sorted(found[round(load.rate * min(WARM_UP, load.seconds / 2)) :])
        return {
            "rate": load.rate,
            "events": len(counted),
            "milliseconds": {str(point): percentile(counted, point) for point in POINTS},
            "cpu_microseconds": (after - before) / load.events * 1e6,
            "peak_bytes": max(map(peak_bytes, running.processes)),
        }


def percentile(ordered: list[float], point: float) -> float:
    """The smallest value that so many per cent do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * point / 100) - 1)]


def _program(name: str, *arguments: str, output: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"benchmarks.clients.{name}", *arguments]
    return subprocess.Popen(dying_with_us(command), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output)
