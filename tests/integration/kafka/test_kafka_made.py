"""Topics that the Kafka sink makes, or would make, and those that an operator has made with too few replicas."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import cast

import pytest

from celery_event_bridge.testing import deliver, sample_events
from celery_event_sinks.kafka.sink import KafkaSink
from tests.support.kafka_sinks import DEADLINE, sink, topic_of
from tests.support.kafka_topics import make
from tests.support.servers import Kafka
from tests.support.servers.kafka import NativeKafka


def test_a_topic_that_is_made_is_told_of(
    kafka_server: Kafka, opened: Callable[..., KafkaSink], caplog: pytest.LogCaptureFixture
) -> None:
    """One that was there before has lost what it held, so nobody makes it in silence; asked again, nothing is made."""
    subject = opened(kafka_server)
    subject.available()
    told = [record.getMessage() for record in caplog.records if record.name == "celery_event_bridge"]
    (line,) = told
    assert line.startswith(f"topic {topic_of(subject)!r} did not exist and was made: 1 partition, 1 replica; ")
    assert "with one partition, one reader of a group has all the work" in line
    assert "BRIDGE_KAFKA_PARTITIONS" in line


def test_a_plan_says_how_many_partitions_a_topic_will_have(
    kafka_server: Kafka, opened: Callable[..., KafkaSink]
) -> None:
    """Those of the broker's default as well, since one partition means one reader."""
    made = opened(kafka_server)
    subject = sink(kafka_server, topic=f"{topic_of(made)}-planned")
    try:
        (planned,) = subject.preview()
    finally:
        subject.close()
    assert "run will make it: 1 partition, 1 replica; " in planned.text
    assert "with one partition, one reader of a group has all the work" in planned.text


def test_a_topic_with_fewer_replicas_than_have_to_be_in_sync(
    kafka_server: Kafka, opened: Callable[..., KafkaSink]
) -> None:
    """Kafka takes what all its replicas have, since 3.7, and none before: nothing is held up, and it is said."""
    topic = f"short-of-replicas-{uuid.uuid4().hex}"
    make(cast("NativeKafka", kafka_server), topic, 1, 1, min_insync_replicas="2")
    subject = opened(kafka_server, topic=topic)
    subject.available()
    deliver(subject, sample_events(3), DEADLINE)
    text = " ".join(finding.text for finding in subject.advice() if finding.verdict == "warn")
    assert f"topic {topic!r} has 1 replica and min.insync.replicas=2" in text
    assert "set min.insync.replicas to 1" in text
