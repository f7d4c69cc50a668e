"""Sinks into Kafka with a topic of their own, and what is in it."""

from __future__ import annotations

import json
import uuid
from typing import Any

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from celery_event_bridge.contract import JSON, Event, Outcome, Verdict
from celery_event_bridge.forward.decode import decode
from celery_event_bridge.testing import deliver
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.sink import KafkaSink
from tests.support import oracle
from tests.support.servers import Kafka
from tests.support.servers.debian import until
from tests.support.servers.kafka import admin

DEADLINE = 30


def sink(server: Kafka, **settings: Any) -> KafkaSink:
    topic = f"events-{uuid.uuid4().hex[:8]}"
    return KafkaSink(KafkaSettings(**{"bootstrap_servers": server.bootstrap, "topic": topic} | settings))


def topic_of(subject: KafkaSink) -> str:
    return subject._settings.topic


def records(server: Kafka, subject: KafkaSink) -> list[oracle.Record]:
    return oracle.in_kafka(server.bootstrap, topic_of(subject))


def make_topic(server: Kafka, name: str, **config: str) -> None:
    topic = NewTopic(name, 1, 1, config={key.replace("_", "."): text for key, text in config.items()})
    client = admin(server.bootstrap)  # it has to live until it has answered
    client.create_topics([topic])[name].result(60)
    until(lambda: oracle.kafka_counts(server.bootstrap, name) == {0: 0}, 10, "the topic is there")


def alter(server: Kafka, name: str, **config: str) -> None:
    """Change these properties of a topic."""
    entries = [
        ConfigEntry(key.replace("_", "."), text, incremental_operation=AlterConfigOpType.SET)
        for key, text in config.items()
    ]
    client = admin(server.bootstrap)
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
    client.incremental_alter_configs([resource])[resource].result(60)


def outcomes(verdicts: list[Verdict]) -> dict[Outcome, list[Event]]:
    found: dict[Outcome, list[Event]] = {}
    for verdict in verdicts:
        found.setdefault(verdict.outcome, []).extend(verdict.events)
    return found


def await_stored(subject: KafkaSink, events: list[Event]) -> None:
    """Hand over what is not stored again and again, as the relay does."""
    waiting = list(events)

    def all_stored() -> bool:
        waiting[:] = outcomes(deliver(subject, waiting, DEADLINE)).get(Outcome.RETRY, [])
        return not waiting

    until(all_stored, 20, "all is stored")


def event(**fields: Any) -> Event:
    (found,) = decode(json.dumps(fields).encode(), JSON, {}).events
    return found
