"""Worker that keeps the account that Celery's workers send: a Lamport clock, tasks accepted, tasks active."""

from __future__ import annotations

import json
from collections import deque

from tests.simulation.messages import JSON, Published, identity
from tests.simulation.scheduler import EPOCH, World

BEATS_EVERY = 2.0
"""Seconds between two heartbeats, as Celery has them."""
MOST_ACTIVE = 6
A_LIST = 8
"""Events of a message, at most."""
ENDS = ("task-succeeded", "task-succeeded", "task-succeeded", "task-failed")


class AccountingWorker:
    """A process of a worker. All that it has ever said is in `said`."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self._world = world
        self._pid = world.next_process()
        self._clock = 0
        self._processed = 0
        self._beat_due = 0.0
        self._tasks = 0
        self._received: deque[str] = deque()
        self._active: deque[str] = deque()
        self.said: dict[str, tuple[str, str | None]] = {}
        """Type and task of each event, by the event's id."""

    def message(self, number: int, filler: int = 0) -> Published:
        """Say something: a heartbeat where one is due, else a list of what its tasks have come to.

        One event of the list is longer by `filler` bytes, with which the message is too large, and parked.
        """
        if self._world.now >= self._beat_due:
            return self.beat(number)
        events = [self._step() for _ in range(1 + int(self._world.random.random() * A_LIST))]
        return self._published(number, events, filler)

    def beat(self, number: int) -> Published:
        """Say worker-online, the first time, or worker-heartbeat."""
        kind = "worker-heartbeat" if self._clock else "worker-online"
        self._beat_due = self._world.now + BEATS_EVERY
        counts = {"processed": self._processed, "active": len(self._active), "freq": BEATS_EVERY}
        return self._published(number, [self._event(kind, None, **counts)])

    def rest(self, number: int) -> Published | None:
        """Say how some of its tasks end; None where it has none."""
        events: list[dict[str, object]] = []
        while (self._received or self._active) and len(events) < A_LIST:
            events.append(self._begin() if self._received else self._end())
        return self._published(number, events) if events else None

    def _step(self) -> dict[str, object]:
        draw = self._world.random.random()
        if self._active and (draw < 0.35 or len(self._active) >= MOST_ACTIVE):
            return self._end()
        if self._received and draw < 0.7:
            return self._begin()
        self._tasks += 1
        uuid = f"{self.name}-{self._tasks}"
        self._received.append(uuid)
        return self._event("task-received", uuid, name="app.add", retries=0)

    def _begin(self) -> dict[str, object]:
        uuid = self._received.popleft()
        self._active.append(uuid)
        self._processed += 1
        return self._event("task-started", uuid)

    def _end(self) -> dict[str, object]:
        kind = ENDS[int(self._world.random.random() * len(ENDS))]
        more: dict[str, object] = {"runtime": 0.01} if kind == "task-succeeded" else {"exception": "ValueError()"}
        return self._event(kind, self._active.popleft(), **more)

    def _event(self, kind: str, uuid: str | None, **more: object) -> dict[str, object]:
        self._clock += 1
        task = {} if uuid is None else {"uuid": uuid}
        at = EPOCH + self._world.now
        return {
            "type": kind,
            **task,
            "hostname": self.name,
            "pid": self._pid,
            "clock": self._clock,
            "timestamp": at,
            **more,
        }

    def _published(self, number: int, events: list[dict[str, object]], filler: int = 0) -> Published:
        if filler:
            events[0]["filler"] = "x" * filler
        bodies = [json.dumps(event).encode() for event in events]
        ids = [identity(body) for body in bodies]
        for one, event in zip(ids, events, strict=True):
            uuid = event.get("uuid")
            self.said[one] = (str(event["type"]), None if uuid is None else str(uuid))
        whole = bodies[0] if len(bodies) == 1 else b"[" + b", ".join(bodies) + b"]"
        return Published(number, whole, JSON, {"hostname": self.name}, () if filler else ids, (), junk=bool(filler))
