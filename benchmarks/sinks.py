"""Where a contender stores: what ours and mq-bridge are told of it, and how many records are there."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewTopic, OffsetSpec
from redis.exceptions import ResponseError

from tests.support.servers import Kafka, Redis
from tests.support.servers.debian import until
from tests.support.servers.kafka import admin

REWRITE = "auto-aof-rewrite-percentage"
PARTITIONS = 3
ANSWER = 10.0
"""Seconds for one question to Kafka."""


class Sink(Protocol):
    """A place for one drain; another drain gets another one."""

    settings: dict[str, str]
    """The bridge's."""
    endpoint: dict[str, Any]
    """mq-bridge's output."""
    pause: float
    """Seconds between two questions: so many that asking costs little."""
    reader: Sequence[str]
    """The program that tells when each event can be read, and its arguments; nothing if there is none."""

    def count(self) -> int:
        """How many records are there, confirmed or on their way to be."""

    def remove(self) -> None:
        """All of it."""


class InSqlite:
    """A file."""

    pause = 0.005
    reader: Sequence[str] = ()

    def __init__(self, folder: Path) -> None:
        self._path = folder / "events.db"
        self.settings = {"BRIDGE_SINK": "sqlite", "BRIDGE_SQLITE_PATH": str(self._path)}
        self.endpoint: dict[str, Any] = {}
        self._connection: sqlite3.Connection | None = None

    def count(self) -> int:
        # Nothing is ever removed, so the last row's number is their number; counting them would take long.
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=30)
            return int(self._connection.execute("SELECT max(rowid) FROM events").fetchone()[0] or 0)
        except sqlite3.OperationalError:
            return 0  # not there yet

    def remove(self) -> None:
        if self._connection is not None:
            self._connection.close()
        for file in self._path.parent.glob(f"{self._path.name}*"):
            file.unlink()


class InRedis:
    """A stream."""

    pause = 0.005

    def __init__(self, server: Redis) -> None:
        self.stream = f"benchmark-{uuid.uuid4().hex[:8]}"
        self._client = server.client()
        self._rewriting = self._rewrite_at(0)
        self.settings = {"BRIDGE_SINK": "redis", "BRIDGE_REDIS_URL": server.url, "BRIDGE_REDIS_STREAM": self.stream}
        self.endpoint = {"redis_streams": {"url": server.url, "stream": self.stream}}
        self.reader = ["redis_reader", server.url, self.stream]

    def count(self) -> int:
        return int(self._client.xlen(self.stream))

    def remove(self) -> None:
        self._client.delete(self.stream)
        self._rewrite_at(self._rewriting)
        self._client.close()

    def _rewrite_at(self, percentage: int) -> int:
        """Set by which growth Redis rewrites its append-only file, 0 for never; returns what it was.

        In the middle of a drain a rewrite would cost that one contender a part of the machine. One that is due begins
        when this is restored: it has next to nothing to write then.
        """
        try:
            before = int(self._client.config_get(REWRITE)[REWRITE])
            self._client.config_set(REWRITE, percentage)
        except ResponseError:
            return percentage  # a server that lets nobody configure it
        return before


class InKafka:
    """A topic."""

    pause = 0.02

    def __init__(self, server: Kafka) -> None:
        self.topic = f"benchmark-{uuid.uuid4().hex[:8]}"
        self._admin = admin(server.bootstrap)
        self.settings = {
            "BRIDGE_SINK": "kafka",
            "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": server.bootstrap,
            "BRIDGE_KAFKA_TOPIC": self.topic,
        }
        self.endpoint = {"kafka": {"url": server.bootstrap, "topic": self.topic, "create_topic": False}}
        self.reader = ["kafka_reader", server.bootstrap, self.topic]
        self._admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])[self.topic].result(ANSWER)
        until(lambda: self.count() == 0, ANSWER, "every partition has a leader")

    def count(self) -> int:
        wanted = {TopicPartition(self.topic, number): OffsetSpec.latest() for number in range(PARTITIONS)}
        return sum(future.result(ANSWER).offset for future in self._admin.list_offsets(wanted).values())

    def remove(self) -> None:
        self._admin.delete_topics([self.topic])[self.topic].result(ANSWER)
