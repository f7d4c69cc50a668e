"""The streams that a fault test runs against, behind one face: settings, outage, and what a plain client reads.

`FULL=1`, as `make endurance` sets it, makes the fault tests as long as the guarantees say, against every stream.
"""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

import pytest

from tests.support import oracle
from tests.support.servers import Kafka, Redis
from tests.support.servers.debian import PATIENCE, until

FULL = bool(os.environ.get("FULL"))


at_full_length = pytest.mark.skipif(not FULL, reason="a long one: make endurance, pages or containers runs it")
"""For what tests/integration/faults/test_faults.py covers in short."""


class Store(Protocol):
    """Where the bridges under test store."""

    settings: dict[str, str]

    def bodies(self) -> list[bytes]:
        """What is stored, in order, with what is there twice."""

    def parts(self) -> list[list[bytes]]:
        """The same by the parts of the stream in which there is an order."""

    def count(self) -> int:
        """How many, counting what is there twice."""

    def stop(self) -> None:
        """An outage begins."""

    def start(self) -> None:
        """It ends."""


def await_stored(store: Store, published: Collection[bytes], timeout: float) -> None:
    """Until each of these is there. The count alone would be reached too early by what is there twice."""
    deadline = time.monotonic() + timeout * PATIENCE
    until(lambda: store.count() >= len(published), timeout, "as many are stored as were published")
    wanted = set(published)
    until(lambda: wanted <= set(store.bodies()), max(1.0, deadline - time.monotonic()), "all is stored")


class SqliteStore:
    """A file; somebody else who holds its write lock is the outage."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "events.db"
        self.settings = {"BRIDGE_SINK": "sqlite", "BRIDGE_SQLITE_PATH": str(self.path)}
        self._lock: sqlite3.Connection | None = None

    def bodies(self) -> list[bytes]:
        # Where a file was removed and nobody has made a new one, nothing is stored.
        return [row["data"] for row in oracle.in_sqlite(self.path)] if self.path.exists() else []

    def parts(self) -> list[list[bytes]]:
        return [self.bodies()]

    def count(self) -> int:
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=30)
        try:
            return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])
        finally:
            connection.close()

    def stop(self) -> None:
        # A writer lets go of the lock between two transactions; SQLite's own waiting is too coarse to get in there.
        self._lock = sqlite3.connect(self.path, isolation_level=None, timeout=0.0, check_same_thread=False)
        until(self._try_lock, 20, "the test has SQLite's write lock")

    def start(self) -> None:
        if self._lock is not None:
            self._lock.execute("ROLLBACK")
            self._lock.close()
            self._lock = None

    def _try_lock(self) -> bool:
        assert self._lock is not None
        try:
            self._lock.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        return True


class RedisStore:
    """A server of the test's own; it is killed, and comes back with its append-only file."""

    def __init__(self, server: Redis) -> None:
        self.server = server
        self.settings = {"BRIDGE_SINK": "redis", "BRIDGE_REDIS_URL": server.url}

    def bodies(self) -> list[bytes]:
        return [entry[b"data"] for entry in oracle.in_redis(self.server.url)]

    def parts(self) -> list[list[bytes]]:
        return [self.bodies()]

    def count(self) -> int:
        with self.server.client() as client:
            return int(client.xlen("celery-events"))

    def stop(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()


class KafkaStore:
    """A Kafka of the test's own; it is killed, and comes back with its log."""

    def __init__(self, server: Kafka) -> None:
        self.server = server
        self.topic = f"events-{uuid.uuid4().hex[:8]}"
        self.settings = {
            "BRIDGE_SINK": "kafka",
            "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": server.bootstrap,
            "BRIDGE_KAFKA_TOPIC": self.topic,
            "BRIDGE_KAFKA_PARTITIONS": "3",
        }

    def bodies(self) -> list[bytes]:
        return [record.value for record in oracle.in_kafka(self.server.bootstrap, self.topic)]

    def parts(self) -> list[list[bytes]]:
        parts: dict[int, list[bytes]] = {}
        for record in oracle.in_kafka(self.server.bootstrap, self.topic):
            parts.setdefault(record.partition, []).append(record.value)
        return list(parts.values())

    def count(self) -> int:
        return sum(self.partitions().values())

    def partitions(self) -> dict[int, int]:
        """How many records each partition has."""
        return oracle.kafka_counts(self.server.bootstrap, self.topic)

    def stop(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()


MAX_INFLIGHT = 16 * 2**20
