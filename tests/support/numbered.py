"""A publisher of numbered events beside which a test sees which are missing, and for how long none was heard."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from redis import Redis as Client
from redis.exceptions import RedisError

from celery_event_bridge.brokers.envelope import sealed
from tests.support.redis_broker import stored

APART = 0.3
"""Seconds between two events after which the server was away, so that nobody could publish."""


class Numbered(threading.Thread):
    """Events at a pace, until it is told to stop; each is of this run or none of it is."""

    def __init__(self, connect: Callable[[], Client], rate: float = 200.0) -> None:
        """`connect` returns a client of whoever is the server now, or raises."""
        super().__init__(daemon=True)
        self._connect = connect
        self._rate = rate
        self._over = threading.Event()
        self.sent: dict[str, float] = {}
        """Time when each was published, by its uuid."""

    def run(self) -> None:
        client: Client | None = None
        began, number = time.monotonic(), 0
        while not self._over.is_set():
            uuid, now = f"n{number}", time.monotonic()
            body = {"type": "task-sent", "uuid": uuid, "hostname": "w", "timestamp": time.time()}
            payload = sealed(json.dumps(body).encode(), "application/json", {}, "celeryev", "task.sent")
            try:
                client = client or self._connect()
                client.publish("/0.celeryev/task.sent", payload)
                self.sent[uuid] = now
            except (RedisError, OSError):
                with suppress(RedisError, OSError):
                    client.close() if client is not None else None
                client = None
            number += 1
            self._over.wait(max(0.0, began + number / self._rate - time.monotonic()))

    def finish(self) -> None:
        """End."""
        self._over.set()
        self.join(30)
        assert not self.is_alive()

    def missing(self, file: Path) -> float:
        """Return for how many seconds what was published is not stored in that SQLite file, between events that are."""
        there, lasted, before = stored(file), 0.0, None
        for uuid, at in sorted(self.sent.items(), key=lambda one: one[1]):
            if uuid in there:
                before = None
                continue
            lasted += at - before if before is not None and at - before < APART else 0.0
            before = at
        return lasted

    def first_stored_after(self, when: float, file: Path) -> float | None:
        """Return when the first event was published, after that time, that is stored; None where none is."""
        there = stored(file)
        return min((at for uuid, at in self.sent.items() if at > when and uuid in there), default=None)
