"""The durable side: where the bridges store, how the demo holds that up, and how a plain client reads it back."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from confluent_kafka import KafkaException
from redis import RedisError

from tests.support import oracle, servers

ATTEMPTS = 50
"""To take SQLite's lock, of 0.2 s each."""


class CannotPause(Exception):
    """The stream goes on, since this machine is too slow or too busy to hold it up. The text says how."""


class Stored(NamedTuple):
    """One event in a stream."""

    id: str
    data: bytes


class Stream(Protocol):
    """One kind of stream."""

    settings: dict[str, str]
    once: bool
    """Whether an event that is stored again changes nothing."""

    def pause(self) -> None:
        """Make writers wait."""

    def resume(self) -> None:
        """Let them go on."""

    def events(self) -> list[Stored]:
        """Everything in it."""

    def count(self) -> int | None:
        """How many are stored now; None while it does not answer."""


class SqliteStream:
    """One file; another writer that holds its lock is its outage."""

    once = True

    def __init__(self, folder: Path) -> None:
        self._path = folder / "events.db"
        self.settings = {"BRIDGE_SINK": "sqlite", "BRIDGE_SQLITE_PATH": str(self._path)}
        self._lock: sqlite3.Connection | None = None

    def pause(self) -> None:
        self._lock = sqlite3.connect(self._path, isolation_level=None, timeout=0.2)
        for _ in range(ATTEMPTS):
            try:
                self._lock.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                time.sleep(0.02)
            else:
                return
        self._lock.close()
        self._lock = None
        raise CannotPause("the bridges did not let go of SQLite's write lock")

    def resume(self) -> None:
        if self._lock is not None:
            self._lock.execute("ROLLBACK")
            self._lock.close()

    def events(self) -> list[Stored]:
        return [Stored(row["id"], row["data"]) for row in oracle.in_sqlite(self._path)]

    def count(self) -> int | None:
        connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
        try:
            return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])
        except sqlite3.Error:
            return None
        finally:
            connection.close()


class RedisStream:
    """A Redis of our own; standing still is its outage."""

    once = False

    def __init__(self, server: servers.Redis) -> None:
        self._server = server
        self.settings = {"BRIDGE_SINK": "redis", "BRIDGE_REDIS_URL": server.url}
        self._paused = False

    def pause(self) -> None:
        self._server.pause()
        self._paused = True

    def resume(self) -> None:
        self._server.resume()
        self._paused = False

    def events(self) -> list[Stored]:
        return [Stored(entry[b"id"].decode(), entry[b"data"]) for entry in oracle.in_redis(self._server.url)]

    def count(self) -> int | None:
        if self._paused:
            return None
        try:
            with self._server.client() as client:
                return int(client.xlen("celery-events"))
        except RedisError:
            return None


class KafkaStream:
    """A Kafka of our own; standing still is its outage."""

    once = False

    def __init__(self, server: servers.Kafka) -> None:
        self._server = server
        self.settings = {
            "BRIDGE_SINK": "kafka",
            "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": server.bootstrap,
            "BRIDGE_KAFKA_PARTITIONS": "3",
        }
        self._paused = False

    def pause(self) -> None:
        self._server.pause()
        self._paused = True

    def resume(self) -> None:
        self._server.resume()
        self._paused = False

    def events(self) -> list[Stored]:
        records = oracle.in_kafka(self._server.bootstrap)
        return [Stored(record.headers["ce_id"].decode(), record.value) for record in records]

    def count(self) -> int | None:
        if self._paused:
            return None
        try:
            return sum(oracle.kafka_counts(self._server.bootstrap).values())
        except KafkaException:
            return None


@contextmanager
def stream(name: str, folder: Path) -> Iterator[Stream]:
    """The stream called `name`."""
    if name == "redis":
        with servers.redis(own=True) as server:
            yield RedisStream(server)
    elif name == "kafka":
        with servers.kafka(own=True) as broker:
            yield KafkaStream(broker)
    else:
        yield SqliteStream(folder)
