"""librdkafka errors: those that Kafka will say again, those that keep every broker away, and how one is told."""

from __future__ import annotations

from confluent_kafka import KafkaError

from celery_event_sinks.kafka.offsets import AFTER

PERMANENT = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
    }
)
"""Kafka will say the same again. It says so of a whole batch: see `KafkaSink`."""
PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})
CAUSES = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._RESOLVE})
"""Causes that keep every broker away, beyond that nobody listens."""


def reason_of(error: KafkaError) -> str:
    """Return one line about it."""
    return f"{error.name()}: {AFTER.sub('', error.str())}"
