"""Kafka in order: all behind the first failure is given up, and goes out again behind it."""

from __future__ import annotations

import time
import uuid
from collections import deque

import msgspec

from celery_event_bridge.contract import Event, Outcome, SinkUnavailable
from celery_event_sinks.kafka.in_order import OrderedKafkaSink
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.sink import KafkaSink
from tests.support import oracle
from tests.support.closing import close_later
from tests.support.kafka_sinks import alter
from tests.support.servers import Kafka
from tests.support.servers.debian import until
from tests.support.streams import some

HOUR = 3600 * 10**6


def made(server: Kafka, **settings: str) -> tuple[KafkaSink, str]:
    topic = f"order-{uuid.uuid4().hex[:8]}"
    sink = KafkaSink.in_order(
        KafkaSettings(bootstrap_servers=server.bootstrap, topic=topic, partitions=1, retention="never", **settings)
    )
    assert isinstance(sink, OrderedKafkaSink)
    close_later(sink)
    until(lambda: sink.available() is None, 20, "the topic is there")
    return sink, topic


def drive(sink: KafkaSink, events: list[Event]) -> list[Event]:
    """Hand over in portions, and again in order what comes back, as the relay does; returns what is refused."""
    number = {event: place for place, event in enumerate(events)}
    new, again, refused, owed = deque(events), list[Event](), list[Event](), 0

    def step() -> bool:
        nonlocal again, owed
        if again and not owed:
            sink.send(sorted(again, key=number.__getitem__))
            owed, again = len(again), []
        elif new and not again:
            portion = [new.popleft() for _ in range(min(200, len(new)))]
            sink.send(portion)
            owed += len(portion)
        for verdict in sink.verdicts(0.01):
            owed -= len(verdict.events)
            if verdict.outcome is Outcome.RETRY:
                again += verdict.events
            elif verdict.outcome is Outcome.REFUSED:
                refused.extend(verdict.events)
        if again and not owed:
            try:
                sink.available()
            except SinkUnavailable:
                return False
        return not (new or again or owed)

    until(step, 60, "each event has its verdict")
    return refused


def stored(server: Kafka, topic: str) -> list[bytes]:
    """The bodies, the first time that each is there."""
    return list(dict.fromkeys(record.value for record in oracle.in_kafka(server.bootstrap, topic)))


def test_an_event_whose_time_is_refused_keeps_its_place(kafka_server: Kafka) -> None:
    """It gets the time of now, and nothing that was behind it is stored before."""
    sink, topic = made(kafka_server)
    alter(kafka_server, topic, message_timestamp_before_max_ms="60000")
    events = some(3000)
    for place in (700, 701, 1500):
        events[place] = msgspec.structs.replace(events[place], time=time.time_ns() // 1000 - HOUR)
    assert [] == drive(sink, events)
    assert [event.data for event in events] == stored(kafka_server, topic)


def test_an_event_that_is_too_large_is_refused_and_in_nobodys_way(kafka_server: Kafka) -> None:
    """Kafka refuses the batch that it is in; the others follow in their order."""
    sink, topic = made(kafka_server)
    alter(kafka_server, topic, max_message_bytes="200000")
    events = some(3000)
    large = events[900] = msgspec.structs.replace(events[900], data=events[900].data + b" " * 300_000)
    assert [large] == drive(sink, events)
    assert [event.data for event in events if event is not large] == stored(kafka_server, topic)


def test_one_that_librdkafka_does_not_take_is_refused_at_once(kafka_server: Kafka) -> None:
    """It was in no batch, so that nothing has to go out again."""
    sink, topic = made(kafka_server, message_max_bytes="100000")
    events = some(500)
    large = events[100] = msgspec.structs.replace(events[100], data=events[100].data + b" " * 300_000)
    assert [large] == drive(sink, events)
    assert [event.data for event in events if event is not large] == stored(kafka_server, topic)
