"""How many events a second a reader hands out, at what cost, and whether its memory stays the same.

A stream is filled with a chunk of events of 350 B, then the reader, a process of its own that stays, reads it: again
and again, so that a reader is seen over millions of events while Redis holds few. Only reading is measured.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import workloads
from benchmarks.measure import Failed
from benchmarks.stage import Stage
from benchmarks.tables import table
from celery_event_bridge.config.plugins import load
from celery_event_bridge.contract import JSON, Outcome
from celery_event_bridge.forward.decode import decode
from celery_event_bridge.testing import deliver
from tests.support.servers.debian import ROOT

KINDS = ("redis", "kafka", "sqlite")
AT_ONCE = 5000
"""Events to store at a time."""
PATIENCE = 60.0
KEEP = 2
"""Chunks that Redis keeps: its memory is the machine's."""


def measure(
    stage: Stage, kinds: Sequence[str], events: int, chunk: int, *, groups: bool = True
) -> list[dict[str, Any]]:
    """Each kind of stream in turn, for oneself and in a group: a result for each, with its chunks. Raises Failed."""
    results = []
    for kind in kinds:
        for group in ("", "benchmark") if groups else ("",):
            found = list(_chunks(stage, kind, group, max(1, events // chunk), chunk))
            results.append({"stream": kind, "group": bool(group), "chunks": found})
            print("  ".join(row(results[-1])), file=sys.stderr, flush=True)
    return results


def row(result: dict[str, Any]) -> list[str]:
    """The line of a table."""
    chunks = result["chunks"]
    rates = [one["events"] / one["seconds"] for one in chunks]
    megabytes = [one["resident_bytes"] / 2**20 for one in chunks]
    cost = statistics.median(one["cpu"] / one["events"] * 1e6 for one in chunks)
    return [
        result["stream"] + (", in a group" if result["group"] else ""),
        f"{statistics.median(rates):,.0f}",
        f"{min(rates):,.0f} to {max(rates):,.0f}",
        f"{cost:.1f} us",
        f"{megabytes[0]:.0f} MiB",
        f"{max(megabytes):.0f} MiB",
        f"{megabytes[-1]:.0f} MiB",
    ]


def summary(results: Sequence[dict[str, Any]]) -> str:
    """A table in Markdown."""
    head = ["reader of", "events/s", "slowest to fastest", "CPU an event", "memory at first", "at most", "at last"]
    return table([head, *map(row, results)])


def _chunks(stage: Stage, kind: str, group: str, count: int, size: int) -> Iterator[dict[str, Any]]:
    place = stage.sink(kind)
    assert place is not None
    plugin, prefix = load(kind), f"BRIDGE_{kind.upper()}_"
    fields = {name.removeprefix(prefix).lower(): text for name, text in place.settings.items() if prefix in name}
    if kind == "redis":
        fields["trim"] = f"maxlen={KEEP * size}"
    sink = plugin(plugin.Settings.model_validate(fields))
    sink.open()
    try:
        with _reader(_url(kind, fields), group) as reader:
            for number in range(count):
                _fill(sink, number * size, size)
                yield _ask(reader, size)
    finally:
        sink.close()
        place.remove()


def _url(kind: str, fields: dict[str, str]) -> str:
    if kind == "kafka":
        return f"kafka://{fields['bootstrap_servers']}/{fields['topic']}"
    return f"{fields['url']}?stream={fields['stream']}" if kind == "redis" else f"sqlite:///{fields['path']}"


def _fill(sink: Any, first: int, count: int) -> None:
    now = time.time()
    for start in range(first, first + count, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, first + count))
        bodies = [workloads.event(number, workloads.SINGLE, now) for number in numbers]
        some = [event for body in bodies for event in decode(body, JSON, {}).events]
        verdicts = deliver(sink, some, PATIENCE)
        if {Outcome.STORED} != {verdict.outcome for verdict in verdicts if verdict.events}:
            raise Failed(f"not stored: {verdicts[0].reason}")


@contextmanager
def _reader(url: str, group: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.clients.events", url, *filter(None, [group])]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
            process.communicate(timeout=PATIENCE)
        finally:
            process.kill()


def _ask(reader: subprocess.Popen[str], count: int) -> dict[str, Any]:
    assert reader.stdin is not None
    assert reader.stdout is not None
    reader.stdin.write(f"{count}\n")
    reader.stdin.flush()
    if not (line := reader.stdout.readline()):
        raise Failed(f"the reader ended with {reader.wait(PATIENCE)}")
    found: dict[str, Any] = json.loads(line)
    return found


def write(results: Sequence[dict[str, Any]], output: Path) -> None:
    """The raw figures."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(results, indent=1))
