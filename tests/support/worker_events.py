"""A worker's events for the audit's tests, made as Celery makes them: one clock a process, a count that is true."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import strategies as st

from celery_event_bridge.audit.auditor import Auditor, Wanted
from celery_event_bridge.audit.report import Report
from celery_event_bridge.cli.audit_table import show
from celery_event_bridge.contract import JSON, Record

SECOND = 1_000_000


T0 = 1_800_000_000 * SECOND
"""When a test's time begins, in microseconds since 1970 UTC."""


FIELDS = ("pid", "clock", "timestamp", "processed", "active", "name", "runtime", "retries", "exception", "reason")
"""What the audit and `tail` look at in an event."""


def json_values() -> st.SearchStrategy[Any]:
    """All that Python's JSON can say: integers of any length, NaN, lone surrogates, one in another."""
    numbers = st.integers() | st.sampled_from([10**400, -(10**400), 2**62, 2**63]) | st.floats()
    texts = st.text(st.characters(), max_size=5)
    return st.recursive(
        st.none() | st.booleans() | numbers | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=5,
    )


def record(event: dict[str, Any], position: int = 1, stored: int | None = None, **changes: Any) -> Record:
    """The record of an event; stored a millisecond after it happened, unless told."""
    data = json.dumps(event).encode()
    at = event.get("timestamp")
    if stored is None:
        stored = round(at * 1e6) + 1000 if isinstance(at, int | float) and math.isfinite(at) else T0
    fields: dict[str, Any] = {
        "partition": "p",
        "position": position,
        "id": hashlib.blake2b(data, digest_size=16).hexdigest(),
        "type": event.get("type", ""),
        "source": str(event.get("hostname", "unknown")),
        "subject": None if event.get("uuid") is None else str(event["uuid"]),
        "time": None,
        "data": data,
        "content_type": JSON,
        "stored": stored,
    }
    return Record(**(fields | changes))


class Sender:
    """One worker process."""

    def __init__(self, name: str = "w1@test", pid: int = 100, at: int = T0, clock: int = 0) -> None:
        self.name = name
        self.pid = pid
        self.now = at
        self.clock = clock
        self.processed = 0
        self.active = 0
        self.events: list[dict[str, Any]] = []

    def send(self, kind: str, **fields: Any) -> dict[str, Any]:
        """One event, a hundredth of a second after the last."""
        self.clock += 1
        self.now += SECOND // 100
        event = {"hostname": self.name, "pid": self.pid, "clock": self.clock, "timestamp": self.now / 1e6}
        event |= {"type": kind} | fields
        self.events.append(event)
        return event

    def beat(self, kind: str = "worker-heartbeat", pause: float = 2.0) -> dict[str, Any]:
        """A heartbeat, after a pause in seconds."""
        self.now += round(pause * SECOND)
        return self.send(kind, processed=self.processed, active=self.active, freq=2.0)

    def receive(self, uuid: str, name: str = "tasks.add", retries: int = 0) -> dict[str, Any]:
        return self.send("task-received", uuid=uuid, name=name, retries=retries)

    def start(self, uuid: str) -> dict[str, Any]:
        self.processed += 1
        self.active += 1
        return self.send("task-started", uuid=uuid)

    def end(self, uuid: str, kind: str = "task-succeeded", **fields: Any) -> dict[str, Any]:
        self.active -= 1
        if kind == "task-succeeded":
            fields.setdefault("runtime", 0.005)
        return self.send(kind, uuid=uuid, **fields)

    def run(self, uuid: str, kind: str = "task-succeeded") -> None:
        """A task from its receipt to its end."""
        self.receive(uuid)
        self.start(uuid)
        self.end(uuid, kind)

    def work(self, beats: int, tasks: int) -> Sender:
        """Heartbeats with so many tasks before each."""
        for _ in range(beats):
            for _ in range(tasks):
                self.run(f"{self.name}-{self.pid}-{self.clock}")
            self.beat()
        return self


def audited(events: Iterable[dict[str, Any]], wanted: Wanted | None = None, now: int | None = None) -> Report:
    """The report on these events, in this order, an hour later."""
    auditor = Auditor(wanted)
    for position, event in enumerate(events, 1):
        auditor.add(record(event, position))
    return auditor.report(auditor.newest + 3600 * SECOND if now is None else now, SECOND)


def without(events: Sequence[dict[str, Any]], kind: str, places: Iterable[int]) -> list[dict[str, Any]]:
    """All but some of a type: the 0th of its kind, the 3rd ..."""
    gone, seen, kept = set(places), -1, []
    for event in events:
        if event["type"] == kind:
            seen += 1
            if seen in gone:
                continue
        kept.append(event)
    return kept


def working() -> Sender:
    sender = Sender()
    sender.beat("worker-online")
    return sender.work(5, 4)


def text(*arguments: object, **options: object) -> str:
    output = io.StringIO()
    show(audited(*arguments, **options), output)  # type: ignore[arg-type]
    return output.getvalue()
