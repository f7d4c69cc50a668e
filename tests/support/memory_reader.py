"""A reader of batches as they are given, and events over it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from celery_event_bridge.contract import Batch, Reading, Record
from celery_event_bridge.reading.picked import Picked
from celery_event_bridge.reading.session import Events


def record(position: int, event_id: str | None = None, event_type: str = "task-sent", **fields: Any) -> Record:
    return Record(0, position, event_id or f"id-{position}", event_type, "w", None, None, b"{}", **fields)


class FakeReader:
    """Batches as they are given; each call is noted. What is an error is raised."""

    def __init__(self, *batches: Batch | Exception) -> None:
        self.batches = list(batches)
        self.calls: list[str] = []
        self.limits: list[int] = []
        self.committed: list[Mapping[Hashable, Sequence[Any]]] = []
        self.errors: dict[str, list[Exception]] = {}
        self.ours = True
        self.clean = True

    def open(self) -> None:
        self._call("open")

    def fetch(self, limit: int, timeout: float) -> Batch:
        self._call("fetch")
        self.limits.append(limit)
        batch = self.batches.pop(0)
        if isinstance(batch, Exception):
            raise batch
        return batch

    def ended(self) -> bool:
        return not self.batches

    def renew_lease(self) -> bool:
        self._call("renew_lease")
        return self.ours

    def commit(self, positions: Mapping[Hashable, Sequence[Any]]) -> bool:
        self._call("commit")
        self.committed.append(positions)
        return self.clean

    def close(self) -> None:
        self.calls.append("close")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.errors.get(name):
            raise self.errors[name].pop(0)


def reading(reader: FakeReader, types: Sequence[str] = (), **options: Any) -> Events:
    return Events(reader, Reading(group="g"), Picked(types), **{"longest_pause": 0.01} | options)
