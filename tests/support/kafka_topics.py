"""Topics of Kafka as an operator makes, deletes and describes them."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import TopicCollection
from confluent_kafka.admin import ConfigResource, NewTopic, ResourceType, TopicDescription

from celery_event_sinks.kafka.sink import KafkaSink
from tests.faults.identity import topic_id
from tests.support.servers.debian import until
from tests.support.servers.kafka import NativeKafka, admin


def make(server: NativeKafka, name: str, partitions: int, replicas: int, **config: str) -> str:
    """Make it as an operator does; returns its id, once every node knows it."""
    client = admin(server.bootstrap)
    own = {key.replace("_", "."): text for key, text in config.items()}
    client.create_topics([NewTopic(name, partitions, replicas, config=own)])[name].result(60)
    until(lambda: all(described(port, name) for port in server.bootstrap.split(",")), 20, "every node knows the topic")
    found = described(server.bootstrap, name)
    assert found is not None
    return str(found.topic_id)


def delete(server: NativeKafka, name: str) -> None:
    """Delete it as an operator does, and wait until no node knows it; a bridge may have made another one by then."""
    client = admin(server.bootstrap)
    ports = server.bootstrap.split(",")
    old = topic_id(ports[0], name)
    client.delete_topics([name])[name].result(60)
    until(lambda: not any(topic_id(port, name) == old for port in ports), 20, "no node knows the old topic")


def described(bootstrap: str, name: str) -> TopicDescription | None:
    """What is known of a topic; None if it is not there, or not everywhere yet."""
    client = admin(bootstrap)
    try:
        found: TopicDescription = client.describe_topics(TopicCollection([name]))[name].result(60)
    except Exception:  # noqa: BLE001 - it is not there
        return None
    return found if all(partition.leader for partition in found.partitions) else None


def shape(server: NativeKafka, name: str) -> tuple[int, int, str]:
    """Partitions, replicas and `min.insync.replicas`."""
    # Of three nodes one may not know it yet, or no leader of it.
    until(lambda: all(described(port, name) for port in server.bootstrap.split(",")), 20, "every node knows the topic")
    found = described(server.bootstrap, name)
    assert found is not None
    properties = config_of(server, name)
    return len(found.partitions), len(found.partitions[0].replicas), properties["min.insync.replicas"]


def config_of(server: NativeKafka, name: str) -> dict[str, str]:
    client = admin(server.bootstrap)
    resource = ConfigResource(ResourceType.TOPIC, name)
    found = client.describe_configs([resource])[resource].result(60)
    return {key: str(entry.value) for key, entry in found.items()}


def looks(subject: KafkaSink) -> Callable[[], bool]:
    def look() -> bool:
        subject.look()
        return True

    return look


def knows_eight(server: NativeKafka, name: str) -> bool:
    """Whether every node knows of eight partitions."""
    found = [described(port, name) for port in server.bootstrap.split(",")]
    return all(one is not None and len(one.partitions) == 8 for one in found)
