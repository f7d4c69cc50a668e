"""Events that are there twice, or after a later one of the same process. Pure; ids and clocks in bounded memory."""

from __future__ import annotations

from collections.abc import Hashable

from celery_event_bridge.audit.facts import Fact
from celery_event_bridge.audit.tasks import TYPES

WORKERS_OWN = TYPES - {"task-sent"}
IDS = 200_000
"""Ids that are remembered at least; at most twice as many."""
SENDERS = 50_000
"""Processes whose clock is remembered at least; at most twice as many."""


class Duplicates:
    """Memory of the ids that came before."""

    def __init__(self, size: int = IDS) -> None:
        self._size = size
        self._young: set[int] = set()
        self._old: set[int] = set()

    def seen(self, event_id: str) -> bool:
        """Return whether this id was there, and take note of it."""
        try:
            mark = int(event_id[:16], 16)
        except ValueError:
            mark = hash(event_id)
        if mark in self._young or mark in self._old:
            return True
        self._young.add(mark)
        if len(self._young) >= self._size:
            self._young, self._old = set(), self._young
        return False


class Inversions:
    """Search for events that come after a later one of the same process, in the same partition.

    By Lamport's clock, if the time says the same: neither a clock that is set nor a process that starts again inverts
    anything. A worker publishes a task's events in lists, and heartbeats, task-sent and custom events at once, so these
    have an order of their own.
    """

    def __init__(self, size: int = SENDERS) -> None:
        self._size = size
        self._young: dict[Hashable, tuple[int, int]] = {}
        self._old: dict[Hashable, tuple[int, int]] = {}

    def late_by(self, partition: Hashable, fact: Fact) -> int | None:
        """Microseconds by which it is earlier than the latest before it, or None where it is in order."""
        if fact.clock is None or fact.time is None:
            return None
        key = (partition, fact.worker, fact.pid, "" if fact.type in WORKERS_OWN else fact.type)
        latest = self._young.get(key) or self._old.get(key)
        if latest is not None and fact.clock < latest[0] and fact.time <= latest[1]:
            return latest[1] - fact.time
        self._young[key] = (fact.clock, fact.time)
        if len(self._young) >= self._size:
            self._young, self._old = {}, self._young
        return None
