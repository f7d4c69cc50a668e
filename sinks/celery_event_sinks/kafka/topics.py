"""The topics: whether they would take a record now, and how they are made."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartitionInfo
from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicDescription,
)

from celery_event_bridge.contract import Finding, SinkUnavailable
from celery_event_sinks.kafka.settings import KafkaSettings

log = logging.getLogger("celery_event_bridge")

ANSWER = 3.0
"""Seconds for one question to the cluster; the loop stands still meanwhile."""
MIN_REPLICAS, RETENTION, CLEANUP = "min.insync.replicas", "retention.ms", "cleanup.policy"


class Topics:
    """Those that the settings name."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._names = tuple(dict.fromkeys(settings.topics.values()))

    def check(self) -> None:
        """Make those that are missing. Raises SinkUnavailable where a record would not be stored now."""
        admin = self._admin()
        found = self._described(admin)
        if missing := [name for name, topic in found.items() if topic is None]:
            self._make(admin, missing)
            found = self._described(admin)
        wanted = self._wanted_replicas(admin)
        for name, topic in found.items():
            if topic is None:
                raise SinkUnavailable(f"topic {name!r} was made a moment ago, and its brokers do not know it yet")
            if topic.authorized_operations and AclOperation.WRITE not in topic.authorized_operations:
                raise SinkUnavailable(f"topic {name!r}: no permission to write; grant WRITE on it to this user")
            for partition in topic.partitions:
                _check_partition(name, partition, wanted.get(name, 1))

    def advice(self) -> Sequence[Finding]:
        """What the topics may lose of what they have confirmed. Raises SinkUnavailable."""
        admin = self._admin()
        wanted = self._wanted_replicas(admin)
        findings: list[Finding] = []
        for name, topic in self._described(admin).items():
            copies = min((len(partition.replicas) for partition in topic.partitions), default=0) if topic else 0
            if copies < 2:
                text = f"topic {name!r} has one replica: what it has confirmed is lost with that broker's disk"
                findings.append(Finding("warn", text))
            elif wanted.get(name, 2) < 2:
                text = f"topic {name!r} has {MIN_REPLICAS}=1: one broker alone may confirm; set it to 2"
                findings.append(Finding("warn", text))
        return findings

    def kept_for(self) -> float | None:
        """The shortest retention of the topics, in seconds; None where they keep records for ever or do not say.

        Kafka removes a segment when its latest record is so old, by the record's time, which is the event's own.
        """
        kept = [
            int(text)
            for config in self._configs(self._admin()).values()
            if "delete" in config.get(CLEANUP, "delete") and (text := config.get(RETENTION, "-1"))
        ]
        return min((milliseconds / 1000 for milliseconds in kept if milliseconds >= 0), default=None)

    def cluster(self) -> str:
        """Its id. Raises SinkUnavailable."""
        try:
            return str(self._admin().list_topics(timeout=ANSWER).cluster_id)
        except KafkaException as exc:
            raise SinkUnavailable(no_answer(self._settings)) from exc

    def _described(self, admin: AdminClient) -> dict[str, TopicDescription | None]:
        """What the cluster knows of each topic; None for one that does not exist."""
        options = {"include_authorized_operations": True, "request_timeout": ANSWER}
        found: dict[str, TopicDescription | None] = {}
        for name, future in admin.describe_topics(TopicCollection(list(self._names)), **options).items():
            try:
                found[name] = future.result(2 * ANSWER)
            except KafkaException as exc:
                error = exc.args[0]
                if error.code() in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT):
                    raise SinkUnavailable(no_answer(self._settings)) from exc
                if error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise SinkUnavailable(_about(name, error)) from exc
                found[name] = None
        return found

    def _make(self, admin: AdminClient, names: Sequence[str]) -> None:
        settings = self._settings
        retention = settings.retention_ms()
        config = {} if retention is None else {"retention.ms": str(retention)}
        topics = [
            # -1 leaves it to the broker.
            NewTopic(name, settings.partitions or -1, settings.replication_factor or -1, config=config)
            for name in names
        ]
        options = {"operation_timeout": ANSWER, "request_timeout": ANSWER}
        for name, future in admin.create_topics(topics, **options).items():
            try:
                future.result(2 * ANSWER)
            except KafkaException as exc:
                if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another replica was faster
                    error = _about(name, exc.args[0])
                    raise SinkUnavailable(f"{error}; it does not exist, and could not be made") from exc
            else:
                # Said aloud: where it was there before, what it held is gone.
                log.warning("topic %r did not exist and was made", name)

    def _wanted_replicas(self, admin: AdminClient) -> dict[str, int]:
        """`min.insync.replicas` of each topic; nothing where we may not ask."""
        return {name: int(config[MIN_REPLICAS]) for name, config in self._configs(admin).items()}

    def _configs(self, admin: AdminClient) -> dict[str, dict[str, str]]:
        """The properties of each topic; nothing where we may not ask."""
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in self._names]
        found = {}
        for resource, future in admin.describe_configs(resources, request_timeout=ANSWER).items():
            try:
                found[resource.name] = {name: entry.value for name, entry in future.result(2 * ANSWER).items()}
            except KafkaException:
                continue
        return found

    def _admin(self) -> AdminClient:
        return AdminClient({**self._settings.properties(), "log_level": 0})


def no_answer(settings: KafkaSettings) -> str:
    """What to say where no broker can be reached and nothing more is known."""
    return f"no Kafka broker answers at {settings.bootstrap_servers}: is it there, and is the address right?"


def _check_partition(topic: str, partition: TopicPartitionInfo, wanted: int) -> None:
    where = f"partition {partition.id} of topic {topic!r}"
    if partition.leader is None:
        raise SinkUnavailable(f"{where} has no leader")
    if len(partition.isr) < wanted:
        raise SinkUnavailable(
            f"{where} has {len(partition.isr)} replicas in sync of the {wanted} that {MIN_REPLICAS} asks for"
        )


def _about(name: str, error: KafkaError) -> str:
    return f"topic {name!r}: {error.name()}: {error.str()}"
