"""A reader of Kafka whose consumer is refused something: it is made anew, and nothing is passed over."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from celery_event_bridge.contract import Reading, SinkUnavailable
from celery_event_sinks.kafka import reader
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.topics import Topics


class FakeKafka:
    """One topic, and what its consumers are refused."""

    def __init__(self) -> None:
        self.partitions = 1
        self.refused: set[str] = set()
        self.messages: list[Any] = []
        self.consumers: list[FakeConsumer] = []

    def consumer(self, *_: Any, **__: Any) -> FakeConsumer:
        self.consumers.append(FakeConsumer(self))
        return self.consumers[-1]

    def asked(self, what: str) -> None:
        if what in self.refused:
            raise KafkaException(KafkaError(KafkaError._STATE, f"no {what}"))


class FakeConsumer:
    """Only what a reader asks of it."""

    def __init__(self, kafka: FakeKafka) -> None:
        self._kafka = kafka
        self.assigned: list[int] = []
        self.closed = False

    def list_topics(self, topic: str, **_: Any) -> Any:
        found = SimpleNamespace(error=None, partitions=range(self._kafka.partitions))
        return SimpleNamespace(topics={topic: found})

    def get_watermark_offsets(self, *_: Any, **__: Any) -> tuple[int, int]:
        self._kafka.asked("bounds")
        return 0, 0

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._kafka.asked("assign")
        self.assigned = [one.partition for one in partitions]

    def subscribe(self, *_: Any, **__: Any) -> None:
        self._kafka.asked("subscribe")

    def consume(self, *_: Any) -> list[Any]:
        messages, self._kafka.messages = self._kafka.messages, []
        return messages

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> FakeKafka:
    """It is asked for partitions at every fetch."""
    made = FakeKafka()
    monkeypatch.setattr(reader, "Consumer", made.consumer)
    monkeypatch.setattr(Topics, "marks", lambda _: {})
    monkeypatch.setattr(Topics, "check_readable", lambda *_: None)
    return made


def opened(group: str | None = None) -> reader.KafkaReader:
    subject = reader.KafkaReader(KafkaSettings(), Reading(group=group), new_partitions=0.0)
    subject.open()
    return subject


@pytest.mark.parametrize(("group", "what"), [(None, "assign"), ("billing", "subscribe")])
def test_what_librdkafka_refuses_at_the_beginning_is_an_outage(kafka: FakeKafka, group: str | None, what: str) -> None:
    """It is tried again with another consumer."""
    kafka.refused.add(what)
    with pytest.raises(SinkUnavailable, match=f"no {what}"):
        opened(group)
    assert [consumer.closed for consumer in kafka.consumers] == [True]


def test_partitions_that_librdkafka_refuses_are_assigned_by_another_consumer(kafka: FakeKafka) -> None:
    """Those that were added, and those that were read before."""
    subject = opened()
    kafka.partitions = 2
    kafka.refused.add("assign")
    with pytest.raises(SinkUnavailable, match="no assign"):
        subject.fetch(10, 0.0)
    kafka.refused.clear()
    subject.fetch(10, 0.0)
    assert [(consumer.closed, consumer.assigned) for consumer in kafka.consumers] == [(True, [0]), (False, [0, 1])]


def message(partition: int, offset: int, error: int | None = None) -> Any:
    given = {"topic": "celery-events", "partition": partition, "offset": offset, "key": b"", "value": b"{}"}
    given |= {"headers": [], "timestamp": (1, 0), "error": None if error is None else KafkaError(error)}
    return SimpleNamespace(**{name: partial(dict.get, given, name) for name in given})


def test_records_beside_a_partition_that_cannot_be_asked_for_are_handed_out(kafka: FakeKafka) -> None:
    """They are fetched already, and nobody would fetch them again; the outage comes after them."""
    kafka.partitions = 2
    subject = opened()
    subject.fetch(10, 0.0)
    kafka.messages = [message(0, 0), message(1, 0, KafkaError._AUTO_OFFSET_RESET), message(0, 1)]
    kafka.refused.add("bounds")
    assert [record.position for record in subject.fetch(10, 0.0).records] == [0, 1]
    with pytest.raises(SinkUnavailable, match="no bounds"):
        subject.fetch(10, 0.0)
    kafka.refused.clear()
    subject.fetch(10, 0.0)
    assert [(consumer.closed, consumer.assigned) for consumer in kafka.consumers] == [(True, [0, 1]), (False, [0, 1])]
