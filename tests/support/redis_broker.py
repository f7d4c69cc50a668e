"""Redis as Celery's broker, for tests: who publishes there, and what a bridge of it is given."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

from celery import Celery
from redis import Redis as Client

from tests.support import oracle
from tests.support.servers import Redis

KEYS = {b"celeryev.bridge.lease", b"celeryev.bridge.record"}
"""All that a bridge may leave in the broker, but what it has parked."""


class Publisher(threading.Thread):
    """Events as Celery's dispatcher publishes them, at a pace, until it is told to stop."""

    def __init__(self, url: str, rate: float = 300.0) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._rate = rate
        self._over = threading.Event()
        self.sent: dict[str, float] = {}
        """Time when each was published, by its uuid."""
        self.failed = 0

    def run(self) -> None:
        with Celery(broker=self._url).connection_for_write() as connection:
            dispatcher = Celery(broker=self._url).events.Dispatcher(
                connection, hostname="w@h", buffer_while_offline=False
            )
            began, number = time.monotonic(), 0
            while not self._over.is_set():
                uuid = f"u{number}"
                try:
                    dispatcher.send("task-sent", uuid=uuid)
                    self.sent[uuid] = time.monotonic()
                except Exception:  # noqa: BLE001 - the server is away: whoever publishes has lost it
                    self.failed += 1
                number += 1
                self._over.wait(max(0.0, began + number / self._rate - time.monotonic()))

    def finish(self) -> set[str]:
        """End; return the uuids of what was published."""
        self._over.set()
        self.join(30)
        assert not self.is_alive()
        return set(self.sent)


def settings(broker: Redis, file: Path, **more: str) -> dict[str, str]:
    """Return a bridge's variables: that broker into a SQLite file."""
    return {"BRIDGE_BROKER_URL": broker.url, "BRIDGE_SINK": "sqlite", "BRIDGE_SQLITE_PATH": str(file), **more}


def stored(file: Path) -> set[str]:
    """Return the uuids of the events in it."""
    return {json.loads(row["data"])["uuid"] for row in oracle.in_sqlite(file)} if file.exists() else set()


def cut(client: Client, *processes: int) -> None:
    """Have the server kill the subscribers of these processes."""
    names = {f"celery-event-bridge.consumer.{process}" for process in processes}
    found = [each["id"] for each in client.client_list() if each["name"] in names]
    assert len(names) == len(found)
    for number in found:
        client.client_kill_filter(_id=number)
