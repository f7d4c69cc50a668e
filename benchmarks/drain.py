"""One backlog emptied by one contender."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from benchmarks import backlog
from benchmarks.contenders import Contender
from benchmarks.measure import Failed, Process, peak_bytes, span, watch
from benchmarks.stage import Stage
from benchmarks.workloads import Workload


def drain(stage: Stage, workload: Workload, contender: Contender) -> dict[str, Any]:
    """Fill a new queue, let the contender empty it, and return the figures. Raises Failed."""
    broker = stage.tls if workload.tls else stage.plain
    backlog.fresh_queue(broker.url)
    backlog.fill(broker.url, workload.published())
    events = workload.events
    total = events if contender.takes_apart else workload.messages
    with ExitStack() as stack:
        sink = stage.sink(contender.sink)
        if sink is not None:
            stack.callback(sink.remove)
        began = time.monotonic()
        running = contender.start(broker, sink, stage.folder)
        stack.callback(end, running.processes)
        try:
            samples = watch(running.processes, running.so_far, total, running.pause)
        except Failed as exc:
            raise Failed(f"{exc}: {last_lines(stage.folder)}") from None
        measured = span(samples)
        peaks = [peak_bytes(process) for process in running.processes]
        measured_events = measured.done * events / total
        return {
            "events": events,
            "messages": workload.messages,
            "stored": samples[-1].done,
            "expected": total,
            "measured_events": measured_events,
            "measured_seconds": measured.seconds,
            "samples": len(samples),
            "until_first_seconds": next(s.moment for s in samples if s.done) - began,
            "events_per_second": measured_events / measured.seconds,
            "cpu_microseconds": measured.cpu / measured_events * 1e6,
            "peak_bytes": max(peaks),
        }


def end(processes: Sequence[Process]) -> None:
    """Ask them to stop, and kill those that do not."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(10)
        except TimeoutExpired:
            process.kill()
            process.wait()


def last_lines(folder: Path) -> str:
    """What the newest log ends with."""
    logs = sorted(folder.glob("*.log"), key=lambda file: file.stat().st_mtime)
    return logs[-1].read_text(errors="replace")[-500:].strip() if logs else ""
