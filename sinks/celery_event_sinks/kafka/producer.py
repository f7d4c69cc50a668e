"""Producer of the sink: how it is made, and emptied before it is let go of."""

from __future__ import annotations

import logging
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Producer

from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.contract.deadline import Deadline
from celery_event_sinks.kafka.settings import KafkaSettings

PURGE_TIMEOUT = 3.0
"""Seconds for the reports on what is thrown out of librdkafka's queues; it takes milliseconds."""


def new_producer(settings: KafkaSettings, hear: Callable[[KafkaError], None]) -> Producer:
    """Make one, which connects by itself and tells `hear` of errors.

    Raises SinkUnavailable where librdkafka does not take the settings together, or a file of a certificate is gone.
    """
    try:
        return Producer({**settings.properties(), "error_cb": hear}, logger=logging.getLogger("librdkafka"))
    except KafkaException as exc:
        raise SinkUnavailable(settings.refusal(exc.args[0].str())) from exc


def purge(producer: Producer, poll: Callable[[Producer, float], None]) -> None:
    """Throw out what it holds; `poll` hears the report of each."""
    producer.purge()
    deadline = Deadline(PURGE_TIMEOUT)
    while len(producer) and not deadline.passed:
        poll(producer, 0.05)
