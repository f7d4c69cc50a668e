"""Identity of the stream after each fault: a loss is explained only if it is known which topic it was, and whose."""

from __future__ import annotations

from confluent_kafka import KafkaException, TopicCollection

from tests.support.servers.kafka import admin
from tests.support.stores import KafkaStore, Store

ANSWER = 3.0


def identity(store: Store) -> str:
    """What each node of Kafka's says of its cluster and of the topic, once if all say the same; nothing for others."""
    if not isinstance(store, KafkaStore):
        return ""
    said: dict[str, list[str]] = {}
    for node in store.server.bootstrap.split(","):
        said.setdefault(f"cluster {_cluster(node)}, topic {topic_id(node, store.topic)}", []).append(node)
    if len(said) == 1:
        return next(iter(said))
    return "; ".join(f"{' and '.join(nodes)}: {text}" for text, nodes in said.items())


def topic_id(node: str, topic: str) -> str | None:
    """The topic's id as this node knows it; None where it knows none."""
    client = admin(node)
    try:
        found = client.describe_topics(TopicCollection([topic]), request_timeout=ANSWER)[topic].result(2 * ANSWER)
    except KafkaException:
        return None
    return str(found.topic_id)


def _cluster(node: str) -> str:
    client = admin(node)
    try:
        return str(client.describe_cluster(request_timeout=ANSWER).result(2 * ANSWER).cluster_id)
    except KafkaException:
        return "?"
