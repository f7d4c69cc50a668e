"""Readers of Kafka in tests: topics of one partition, made and made anew, and what was told."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewTopic

from celery_event_bridge.contract import Event
from celery_event_bridge.reader import Events, StoredEvent
from tests.support import oracle
from tests.support.servers import Kafka
from tests.support.servers.debian import PATIENCE, until
from tests.support.servers.kafka import admin
from tests.support.streams import Stream, ids

LOGGER = "celery_event_bridge.reader"


def topic_of(stream: Stream) -> str:
    return stream.url.rpartition("/")[2]


def make(server: Kafka, name: str, partitions: int = 1) -> None:
    client = admin(server.bootstrap)
    client.create_topics([NewTopic(name, partitions, 1)])[name].result(60)
    until(lambda: len(oracle.kafka_counts(server.bootstrap, name)) == partitions, 20, "the topic is there")


def make_anew(server: Kafka, stream: Stream) -> None:
    """Delete the topic and make it again, as somebody may who does not know of readers."""
    name = topic_of(stream)
    client = admin(server.bootstrap)
    client.delete_topics([name])[name].result(60)
    until(lambda: name not in client.list_topics(timeout=5).topics, 20, "the topic is gone")
    until(lambda: make(server, name) is None, 20, "the topic is made anew")


def remove_before(server: Kafka, stream: Stream, offset: int) -> None:
    """Remove the records before this offset, as a retention does."""
    client = admin(server.bootstrap)
    (future,) = client.delete_records([TopicPartition(topic_of(stream), 0, offset)]).values()
    assert offset == future.result(60).low_watermark


def take(
    reader: Events,
    done: Callable[[list[StoredEvent]], bool],
    timeout: float = 40,
    each: Callable[[], None] = lambda: None,
) -> list[StoredEvent]:
    """Read until `done`, for so long at most; `each` is called while there is nothing to read."""
    deadline = time.monotonic() + timeout * PATIENCE
    found: list[StoredEvent] = []

    def late() -> None:
        each()
        assert time.monotonic() < deadline, f"after {timeout:g} s {len(found)} events are read"

    reader.idle = late
    while not done(found):
        found.append(next(reader))
    reader.idle = None
    return found


def all_of(events: Sequence[Event]) -> Callable[[list[StoredEvent]], bool]:
    wanted = set(ids(events))
    return lambda found: wanted <= {one.id for one in found}


def told(caplog: pytest.LogCaptureFixture, kind: str) -> list[str]:
    """What readers have told of this kind."""
    return [one.getMessage() for one in caplog.records if one.name == LOGGER and getattr(one, "kind", None) == kind]
