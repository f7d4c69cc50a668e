"""Names of tasks, which stand in task-received and task-sent: as they were read, or looked up in the stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from celery_event_bridge.contract import Record
from celery_event_bridge.reading.event import Clock, StoredEvent, Undecodable, without_surrogates

NAMES = 100_000
"""Tasks whose names are remembered at a time, at least; at most twice as many."""
LOOK_BACK = 2.0
"""Seconds, in all, to look for names before the place where reading began: a name that is nowhere costs no more."""
NAMED = frozenset({"task-received", "task-sent"})
"""The types that carry a task's name."""


class Names:
    """Names by the task's uuid."""

    def __init__(self, most: int = NAMES, look_back: float = LOOK_BACK) -> None:
        self._most = most
        self._left = look_back
        """Seconds to look back."""
        self._may_learn = most
        """Names that may be looked up yet: more would push out those that were read."""
        self._young: dict[str, str] = {}
        self._old: dict[str, str] = {}
        self._earlier: Iterator[Sequence[Record]] = iter(())

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def look_into(self, before: Callable[[frozenset[str]], Iterator[Sequence[Record]]]) -> None:
        """Look up names there from now on: see `Events.before`."""
        self._earlier = before(NAMED)

    def learn(self, uuid: str, name: object) -> None:
        """Take note of a task's name."""
        if isinstance(name, str) and name:
            self._young[uuid] = without_surrogates(name)
            if len(self._young) >= self._most:
                self._young, self._old = {}, self._young

    def of(self, uuid: str) -> str | None:
        """Return a task's name; None where it is not known."""
        return self._young.get(uuid) or self._old.get(uuid) or self._looked_up(uuid)

    def _looked_up(self, uuid: str) -> str | None:
        began = time.monotonic()
        found = None
        while found is None and self._may_learn > 0 and time.monotonic() - began < self._left:
            step = next(self._earlier, None)
            if step is None:
                break
            for record in step:
                if record.subject is not None and record.subject not in self._young:
                    self.learn(record.subject, _name_in(record))
                    self._may_learn -= 1
            found = self._young.get(uuid) or self._old.get(uuid)
        self._left -= time.monotonic() - began
        return found


def name_in(event: StoredEvent) -> object:
    """Return the name in an event that has one."""
    try:
        fields = event.json()
    except Undecodable:
        return None
    return fields.get("name") if isinstance(fields, dict) else None


def _name_in(record: Record) -> object:
    return name_in(StoredEvent(record, 0, Clock()))
