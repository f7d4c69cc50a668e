"""Streams that tests write by a sink, event for event, and read back through the library."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from celery_event_bridge.contract import JSON, Event, Outcome
from celery_event_bridge.forward.decode import decode
from celery_event_bridge.reader import Events, open_reader
from celery_event_bridge.testing import deliver
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.sink import KafkaSink
from celery_event_sinks.redis.sink import RedisSettings, RedisStreamsSink
from celery_event_sinks.sqlite.settings import SqliteSettings
from celery_event_sinks.sqlite.sink import SqliteSink
from tests.support import oracle
from tests.support.closing import close_later
from tests.support.servers import Kafka
from tests.support.servers.debian import until


class Stream:
    """One kind of stream with nothing in it, and a sink that writes to it until its module's tests have ended."""

    def __init__(self, kind: str, url: str, sink: Any, lease: float) -> None:
        close_later(sink)
        self.kind = kind
        self.url = url
        self.sink = sink
        self.lease = lease
        """The shortest that it can have, in seconds."""

    def write(self, events: Sequence[Event]) -> None:
        for first in range(0, len(events), 5000):
            verdicts = deliver(self.sink, events[first : first + 5000], 60)
            assert {Outcome.STORED} == {verdict.outcome for verdict in verdicts if verdict.events}

    def reader(self, group: str | None = None, **options: Any) -> Events:
        return open_reader(self.url, group, **{"lease": self.lease} | options)

    def all(self, group: str | None = None, **options: Any) -> list[str]:
        """The ids that a reader hands out until the stream's end; with a group they are committed."""
        with self.reader(group, follow=False, **options) as events:
            return handle(events)


def handle(events: Events) -> list[str]:
    """The ids, committed where there is a group."""
    ids, last = [], None
    for last in events:
        ids.append(last.id)
    if last is not None and events._reading.group:
        assert events.commit(last)
    return ids


def in_sqlite(folder: Path) -> Stream:
    path = folder / "events.db"
    sink = SqliteSink(SqliteSettings(path=path))
    sink.open()
    return Stream("sqlite", f"sqlite:///{path}", sink, 1.0)


def in_redis(url: str, **settings: Any) -> Stream:
    sink = RedisStreamsSink(RedisSettings(url=url, **settings))
    sink.open()
    return Stream("redis", url, sink, 1.0)


def in_kafka(server: Kafka, topic: str = "") -> Stream:
    topic = topic or f"read-{uuid.uuid4().hex[:8]}"
    sink = KafkaSink(KafkaSettings(bootstrap_servers=server.bootstrap, topic=topic, partitions=3, retention="never"))
    until(lambda: sink.available() is None, 20, "the topic is there")
    return Stream("kafka", f"kafka://{server.bootstrap}/{topic}", sink, 6.0)


def of_kind(kind: str, request: pytest.FixtureRequest) -> Stream:
    """A new one, in the server that all tests share, or in the test's folder."""
    if kind == "redis":
        return in_redis(request.getfixturevalue("redis_url"))
    if kind == "kafka":
        return in_kafka(request.getfixturevalue("kafka_server"))
    return in_sqlite(request.getfixturevalue("tmp_path"))


def ids(events: Sequence[Event]) -> list[str]:
    return [event.id for event in events]


def some(count: int, first: int = 0) -> list[Event]:
    """Events of many tasks, each one different."""
    bodies = [
        msgspec.json.encode(
            {"type": "task-started", "hostname": f"w{number % 5}", "uuid": f"{number:032x}", "n": number}
        )
        for number in range(first, first + count)
    ]
    return [event for body in bodies for event in decode(body, JSON, {}).events]


def later(stream: Stream, events: Sequence[Event]) -> bool:
    stream.sink.open()
    stream.write(events)
    return True


def captured() -> list[Any]:
    events = {}
    for message in oracle.captured():
        properties = message.properties
        for event in decode(message.body, properties["content_type"], properties.get("application_headers", {})).events:
            events[event.id] = event
    return list(events.values())
