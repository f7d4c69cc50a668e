"""Producer of the sink: how it is made, and emptied before it is let go of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType

from confluent_kafka import KafkaError, KafkaException, Producer

from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.contract.deadline import Deadline
from celery_event_sinks.kafka.settings import KafkaSettings

LOG = logging.getLogger("librdkafka")
# Properties are checked by `KafkaSettings`; librdkafka would warn of each that it calls experimental, time and again.
LOG.addFilter(lambda record: not record.getMessage().startswith("CONFWARN"))
PURGE_TIMEOUT = 3.0
"""Seconds for the reports on what is thrown out of librdkafka's queues; it takes milliseconds."""


def new_producer(
    settings: KafkaSettings, hear: Callable[[KafkaError], None], also: Mapping[str, str] = MappingProxyType({})
) -> Producer:
    """Make one, which connects by itself and tells `hear` of errors; `also`: properties beside the settings'.

    Raises SinkUnavailable where librdkafka does not take the settings together, or a file of a certificate is gone.
    """
    try:
        return Producer({**settings.properties(), **also, "error_cb": hear}, logger=LOG)
    except KafkaException as exc:
        raise SinkUnavailable(settings.refusal(exc.args[0].str())) from exc


def purge(producer: Producer, poll: Callable[[Producer, float], None]) -> None:
    """Throw out what it holds; `poll` hears the report of each."""
    producer.purge()
    deadline = Deadline(PURGE_TIMEOUT)
    while len(producer) and not deadline.passed:
        poll(producer, 0.05)
