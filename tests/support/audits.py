"""`audit` as a process, and a fleet of workers whose events it is given."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from celery_event_bridge.contract import Event
from celery_event_bridge.forward.decode import decode
from tests.support.bridges import Bridge, run_to_end
from tests.support.streams import Stream
from tests.support.worker_events import SECOND, Sender, without


def audit(*arguments: str, module: str = "celery_event_bridge", **settings: str) -> subprocess.CompletedProcess[str]:
    return run_to_end(module, "audit", *arguments, **settings)


def report(stream: Stream, *arguments: str, settle: str = "0") -> dict[str, Any]:
    """The JSON; its exit code says what it says."""
    done = audit("--from", stream.url, "--format", "json", "--settle", settle, *arguments)
    assert "" == done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert int(found["missing"]) == done.returncode
    return found


def events(sent: list[dict[str, Any]]) -> list[Event]:
    """As the bridge would store them."""
    return [decode(json.dumps(one).encode(), "application/json", {}).events[0] for one in sent]


def fleet(tasks: int, workers: int = 4, minutes: int = 30) -> list[dict[str, Any]]:
    """Workers with heartbeats every 2 s, and so many tasks in all, in the order of time; the last minute was now."""
    sent: list[dict[str, Any]] = []
    beats = minutes * 30
    for number in range(workers):
        sender = Sender(f"w{number}@test", 100 + number, at=round(time.time() * 1e6) - (minutes + 8) * 60 * SECOND)
        sender.beat("worker-online")
        share = tasks // workers
        for beat in range(beats):
            for _ in range(share * (beat + 1) // beats - share * beat // beats):
                sender.run(f"{sender.name}-{sender.clock}")
            sender.beat()
        sender.beat("worker-offline")
        sent += sender.events
    return sorted(sent, key=lambda one: float(one["timestamp"]))


def remove(sent: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Counter[tuple[str, str]]]]:
    """37 starts, 10 ends and 10 receiveds, of different tasks; what is left, and the worker and minute of each gone."""
    gone: dict[str, Counter[tuple[str, str]]] = {}
    total = sum(one["type"] == "task-started" for one in sent)
    every = {"task-started": 37, "task-succeeded": 10, "task-received": 10}
    for offset, (kind, count) in enumerate(every.items()):
        places = [total // 10 + offset + place * (total * 8 // 10 // count) for place in range(count)]
        some = [one for one in sent if one["type"] == kind]
        gone[kind] = Counter((some[place]["hostname"], minute(some[place]["timestamp"])) for place in places)
        sent = without(sent, kind, places)
    return sent, gone


def by_workers(counts: Counter[tuple[str, str]]) -> Counter[str]:
    return Counter(worker for worker, _ in counts.elements())


def minute(timestamp: float | str) -> str:
    moment = (
        datetime.fromtimestamp(timestamp, UTC) if isinstance(timestamp, float) else datetime.fromisoformat(timestamp)
    )
    return moment.astimezone().strftime("%H:%M")


def stored(stream: Stream) -> list[dict[str, str]]:
    import sqlite3

    connection = sqlite3.connect(stream.url.removeprefix("sqlite:///"))
    try:
        rows = connection.execute("SELECT type, source, data FROM events").fetchall()
        return [{"type": kind, "worker": source, "data": data} for kind, source, data in rows]
    finally:
        connection.close()


class Following:
    """`audit --follow` as a process."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.bridge = Bridge(
            log, {}, f"{sys.executable} -m celery_event_bridge audit --follow --log-format json {' '.join(arguments)}"
        )

    def metric(self, name: str, **labels: str) -> float:
        return self.bridge.metric(f"audit_{name}", **labels)
