"""Records that somebody deletes from a Kafka topic: told of where no retention removes them, also to readers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import TopicPartition

from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.contract.notices import NOTICES
from celery_event_bridge.reader import open_reader
from celery_event_sinks.kafka.cluster import Cluster
from celery_event_sinks.kafka.removed import Bounds
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.sink import KafkaSink
from tests.support.servers import Kafka
from tests.support.servers.debian import until
from tests.support.servers.kafka import admin
from tests.support.streams import Stream, handle, ids, some

WEEK = {"cleanup.policy": "delete", "retention.ms": "604800000", "retention.bytes": "-1"}


def told() -> int:
    return NOTICES.counts()["stream-shrunk"]


@pytest.fixture(params=["never", "7d"])
def stream(request: pytest.FixtureRequest, kafka_server: Kafka) -> Iterator[Stream]:
    topic = f"removed-{uuid.uuid4().hex[:8]}"
    settings = {"bootstrap_servers": kafka_server.bootstrap, "topic": topic, "retention": request.param}
    sink = KafkaSink(KafkaSettings(**settings, partitions=1))
    until(lambda: sink.available() is None, 20, "the topic is there")
    yield Stream("kafka", f"kafka://{kafka_server.bootstrap}/{topic}", sink, 6.0)
    sink.close()


def test_records_that_somebody_deletes_are_told_of(kafka_server: Kafka, stream: Stream) -> None:
    """By the bridge's look, with their number, once; and by a group that was behind them."""
    stream.sink.look()
    stream.write(some(20))
    with open_reader(stream.url, "billing", lease=6.0) as events:
        assert events.commit(next(events))
    topic = stream.url.rpartition("/")[2]
    place = TopicPartition(topic, 0, 15)
    client = admin(kafka_server.bootstrap)  # a client that is gone answers nothing
    client.delete_records([place])[place].result(20)
    stream.sink.look()
    assert told() == 15
    stream.sink.look()
    assert told() == 15
    with open_reader(stream.url, "billing", lease=6.0, follow=False) as events:
        assert handle(events) == ids(some(20)[15:])
        assert events.skipped == 14


def test_nothing_is_stored_while_a_partition_does_not_say_where_it_ends(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As just after a start of Kafka's: new events would hide that the end before was lost."""
    stream.write(some(5))
    stream.sink.look()
    with monkeypatch.context() as patched:
        patched.setattr(Cluster, "bounds", lambda *_: {})
        with pytest.raises(SinkUnavailable, match="does not say where it ends"):
            stream.sink.available()
        stream.sink.look()
    stream.sink.available()
    assert told() == 0


@pytest.mark.parametrize(
    ("config", "after", "gone"),
    [
        (WEEK, 60.0, 30),
        (WEEK, 7 * 86_400.0, 0),
        (WEEK | {"retention.bytes": "1000000"}, 60.0, 0),
        (WEEK | {"retention.ms": "-1"}, 60.0, 40),
        (WEEK | {"cleanup.policy": "compact"}, 7 * 86_400.0, 40),
        (WEEK | {"retention.ms": "60000"}, 20.0, 30),
        (WEEK | {"retention.ms": "60000"}, 40.0, 0),
        (None, 60.0, 0),
    ],
)
def test_only_what_no_retention_can_have_removed_is_told_of(
    config: dict[str, str] | None, after: float, gone: int
) -> None:
    """Ten records were there at the first look, and forty are gone: those from before it may have been old."""
    now = [1000.0]
    bounds = Bounds(lambda: now[0])
    bounds.look({("t", 0): (0, 10)}, {"t": config})
    now[0] += after
    bounds.look({("t", 0): (40, 50)}, {"t": config})
    assert told() == gone


def test_a_leader_that_begins_earlier_for_a_moment_removes_nothing() -> None:
    """A replica may have removed less than the leader before it; another topic has its own numbers."""
    bounds = Bounds()
    for first in (30, 10, 30):
        bounds.look({("t", 0): (first, 50)}, {"t": WEEK | {"retention.ms": "-1"}})
    assert told() == 0
    bounds.forget("t")
    bounds.look({("t", 0): (40, 50)}, {"t": WEEK | {"retention.ms": "-1"}})
    assert told() == 0
