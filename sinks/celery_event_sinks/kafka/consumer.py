"""Properties of a reader's consumer, and a consumer of its own that looks at single records."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from celery_event_bridge.contract import Reading, SinkUnavailable, StreamRefused
from celery_event_bridge.contract.deadline import Deadline
from celery_event_sinks.kafka.errors import reason_of
from celery_event_sinks.kafka.marks import Last
from celery_event_sinks.kafka.settings import PROMISED, PROMISED_OF_READERS, KafkaSettings
from celery_event_sinks.kafka.stored import record

OF_PRODUCERS = frozenset({*PROMISED, "linger.ms"})
"""Properties that the sink sets and a consumer has no use for."""
SHORTEST_SESSION = 6.0
"""Seconds; a broker with its own settings refuses less."""
PEEK = 5.0
"""Seconds for the records that are looked at when partitions are assigned."""

Partition = tuple[str, int]


def properties(settings: KafkaSettings, reading: Reading, error_cb: Callable[[KafkaError], None]) -> dict[str, Any]:
    """Return what the consumer of a reader is configured with."""
    given = {name: text for name, text in settings.properties().items() if name not in OF_PRODUCERS}
    session = round(max(SHORTEST_SESSION, reading.lease) * 1000)
    defaults = {
        "session.timeout.ms": session,
        "heartbeat.interval.ms": min(3000, session // 3),
        "max.poll.interval.ms": max(300_000, session),
        "queued.max.messages.kbytes": 4 * 1024,
        # A full queue is looked at again by this; by default after a second, in which it would run dry.
        "fetch.queue.backoff.ms": 20,
        "log_level": 2,  # the reader itself tells of an outage
    }
    promised = {
        **PROMISED_OF_READERS,
        # Without a group it is a name only: nothing is committed by it.
        "group.id": reading.group or f"celery-event-bridge-{uuid.uuid4().hex}",
        "group.protocol": "classic",
        "partition.assignment.strategy": "cooperative-sticky",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Told of instead: records are gone that nobody has read, or the topic is another one.
        "auto.offset.reset": "error",
        "enable.partition.eof": reading.ends,
        "error_cb": error_cb,
    }
    return defaults | given | promised


def peek(settings: KafkaSettings, asked: Mapping[Partition, int]) -> dict[Partition, Last]:
    """Return the event at this offset of each partition, or at the next one that has any; nothing where none has.

    By another consumer: that of a group cannot read while it is given partitions. Raises SinkUnavailable.
    """
    if not asked:
        return {}
    own = properties(settings, Reading(ends=True), lambda _: None)
    own |= {"queued.min.messages": 1, "fetch.message.max.bytes": 1}  # of each no more than the broker cannot but send
    try:
        consumer = Consumer(own, logger=logging.getLogger("librdkafka"))
    except KafkaException as exc:  # a file of a certificate that is gone, say
        raise StreamRefused(settings.refusal(exc.args[0].str())) from exc
    try:
        return _peek(consumer, asked)
    except KafkaException as exc:
        raise SinkUnavailable(reason_of(exc.args[0])) from exc
    finally:
        consumer.close()


def _peek(consumer: Consumer, asked: Mapping[Partition, int]) -> dict[Partition, Last]:
    found: dict[Partition, Last] = {}
    open_still = set(asked)
    trouble = "no answer"
    consumer.assign([TopicPartition(*one, offset) for one, offset in asked.items()])
    deadline = Deadline(PEEK)
    while open_still and not deadline.passed:
        for message in consumer.consume(1, min(0.5, deadline.left())):
            topic, number, error = message.topic(), message.partition(), message.error()
            if error is not None and error.code() not in (KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET):
                trouble = reason_of(error, "READ", f"topic {topic!r}")
                continue
            if topic is None or number is None or (one := (topic, number)) not in open_still:
                continue
            open_still.discard(one)
            if error is None:
                seen = record(one, message)
                found[one] = Last.of(seen.position, seen.id)
            consumer.pause([TopicPartition(*one)])
    if open_still:
        topic, number = min(open_still)
        raise SinkUnavailable(f"topic {topic!r} partition {number}: the last event that was read is not had: {trouble}")
    return found
