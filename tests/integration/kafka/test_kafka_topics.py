"""Kafka topics that somebody deletes or makes anew under the bridge: none is made worse than it was, and it is told."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation, NewPartitions

from celery_event_bridge.contract import SinkUnavailable, notices
from celery_event_bridge.testing import await_available, deliver, sample_events
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.sink import KafkaSink
from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.kafka_sinks import DEADLINE, await_stored, outcomes
from tests.support.kafka_topics import config_of, delete, described, knows_eight, looks, make, shape
from tests.support.load import publish
from tests.support.servers.debian import until
from tests.support.servers.kafka import NativeKafka, admin
from tests.support.servers.kafka_acl import allow, deny_all

pytestmark = pytest.mark.timeout(600)
USER, PASSWORD = "bridge", "open-sesame"


@pytest.fixture(scope="module")
def cluster() -> Iterator[NativeKafka]:
    """Three nodes with Kafka's own defaults: a topic has one replica unless somebody asks for more."""
    server = NativeKafka(3, {"num.partitions": "1"}, {USER: PASSWORD})
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def topic() -> str:
    """A name for a topic of the test's own."""
    return f"topic-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def sink() -> Iterator[Callable[..., KafkaSink]]:
    """Makes sinks; they are closed with the test."""
    made: list[KafkaSink] = []

    def make_one(server: NativeKafka, name: str, **settings: Any) -> KafkaSink:
        made.append(KafkaSink(KafkaSettings(**{"bootstrap_servers": server.bootstrap, "topic": name} | settings)))
        made[-1].open()
        return made[-1]

    notices.NOTICES.clear()
    yield make_one
    for one in made:
        one.close()


def told(caplog: pytest.LogCaptureFixture, kind: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if getattr(record, "kind", None) == kind]


def test_a_deleted_topic_is_made_again_as_it_was(
    cluster: NativeKafka, sink: Callable[..., KafkaSink], topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With its partitions, replicas, replicas in sync and own properties, though the cluster's defaults are others."""
    old = make(cluster, topic, 6, 3, min_insync_replicas="2", retention_ms="-1", max_message_bytes="2000000")
    subject = sink(cluster, topic)
    await_available(subject, DEADLINE)
    deliver(subject, sample_events(20), DEADLINE)
    delete(cluster, topic)
    until(looks(subject), 30, "the topic is there again")
    assert (6, 3, "2") == shape(cluster, topic)
    assert {"retention.ms": "-1", "max.message.bytes": "2000000"}.items() <= config_of(cluster, topic).items()
    (line,) = told(caplog, "stream-made")
    assert line.startswith(f"topic {topic!r} did not exist and was made: 6 partitions, 3 replicas")
    (line,) = told(caplog, "stream-replaced")
    found = described(cluster.bootstrap, topic)
    assert found is not None
    assert f"its id is {found.topic_id} and was {old}" in line
    await_stored(subject, sample_events(30))
    assert 30 == len(oracle.in_kafka(cluster.bootstrap, topic))


def test_a_topic_that_cannot_be_as_it_was_is_waited_for(
    cluster: NativeKafka, kafka_server: Any, sink: Callable[..., KafkaSink], topic: str
) -> None:
    """Where there are too few brokers for its replicas, none is made with fewer, but a reason is given."""
    make(cluster, topic, 2, 3, min_insync_replicas="2")
    subject = sink(cluster, topic)
    await_available(subject, DEADLINE)
    subject._topics.renew(subject._settings.model_copy(update={"bootstrap_servers": kafka_server.bootstrap}))
    for ask in (subject.available, subject.look, subject.preview):
        with pytest.raises(
            SinkUnavailable, match=f"^topic {topic!r} does not exist, and could not be made: INVALID_REPLICATION_FACTOR"
        ):
            ask()
    assert described(kafka_server.bootstrap, topic) is None
    subject._topics.renew(subject._settings)
    await_available(subject, DEADLINE)


def test_a_topic_of_fewer_is_made_where_the_settings_ask_for_it(
    cluster: NativeKafka, sink: Callable[..., KafkaSink], topic: str
) -> None:
    """Partitions and replicas by setting win over what was there before; and it can be written."""
    make(cluster, topic, 6, 3, min_insync_replicas="2")
    subject = sink(cluster, topic, partitions=2, replication_factor=1)
    await_available(subject, DEADLINE)
    delete(cluster, topic)
    until(looks(subject), 30, "the topic is there again")
    assert (2, 1, "1") == shape(cluster, topic)
    await_stored(subject, sample_events(5))


def test_no_topic_of_one_replica_is_made_among_several_brokers(
    cluster: NativeKafka, sink: Callable[..., KafkaSink], topic: str
) -> None:
    """By a bridge that has seen nothing before: events wait, with the reason and the way out, until one decides."""
    subject = sink(cluster, topic)
    for ask in (subject.available, subject.look):
        with pytest.raises(SinkUnavailable, match=r"does not exist, .*BRIDGE_KAFKA_REPLICATION_FACTOR"):
            ask()
    assert described(cluster.bootstrap, topic) is None
    await_available(sink(cluster, topic, replication_factor=2), DEADLINE)
    await_available(subject, DEADLINE)
    assert (1, 2, "1") == shape(cluster, topic)
    alone = f"{topic}-alone"
    await_available(sink(cluster, alone, replication_factor=1), DEADLINE)
    assert (1, 1, "1") == shape(cluster, alone)


def test_a_topic_gets_three_replicas_where_the_default_may_not_be_asked_for(
    cluster: NativeKafka, sink: Callable[..., KafkaSink], topic: str
) -> None:
    """A user with rights to the topic alone makes none of one replica either."""
    allow(cluster.bootstrap, USER, topic, AclOperation.CREATE, AclOperation.DESCRIBE, AclOperation.WRITE)
    subject = sink(
        cluster,
        topic,
        bootstrap_servers=cluster.sasl_bootstrap,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username=USER,
        sasl_password=PASSWORD,
    )
    (planned,) = subject.preview()
    assert ("ok", True) == (planned.verdict, "run will make it: 3 replicas" in planned.text)
    assert described(cluster.bootstrap, topic) is None
    await_available(subject, DEADLINE)
    assert (1, 3, "1") == shape(cluster, topic)
    assert [] == subject.preview()


def test_a_topic_that_somebody_else_made_anew_is_told_of(
    cluster: NativeKafka, start_bridge: Callable[..., Bridge], broker_url: str, topic: str
) -> None:
    """`run` says so with both ids, counts it, warns of what the new one may lose, and stores into it."""
    old = make(cluster, topic, 6, 3, min_insync_replicas="2")
    bridge = start_bridge(
        BRIDGE_BROKER_URL=broker_url,
        BRIDGE_SINK="kafka",
        BRIDGE_KAFKA_BOOTSTRAP_SERVERS=cluster.bootstrap,
        BRIDGE_KAFKA_TOPIC=topic,
    ).await_ready()
    publish(broker_url, 20, 0)
    until(lambda: sum(oracle.kafka_counts(cluster.bootstrap, topic).values()) == 20, 20, "all are stored")
    until(lambda: bridge.metric("queue_messages") == 0, 20, "it looks")
    client = admin(cluster.bootstrap)
    client.delete_topics([topic])[topic].result(60)
    new: list[str] = []

    def made() -> bool:
        new.append(make(cluster, topic, 1, 1))
        return True

    until(made, 20, "somebody makes it")
    line = bridge.await_log("is another one than before", 30)
    assert f"its id is {new[-1]} and was {old}" in line["event"]
    assert "6 partitions, 3 replicas, min.insync.replicas=2" in line["event"]
    assert 1 <= bridge.metric("notices_total", kind="stream-replaced")
    bridge.await_log(f"topic {topic!r} has one replica", 30)
    publish(broker_url, 30, 100)
    until(lambda: sum(oracle.kafka_counts(cluster.bootstrap, topic).values()) == 30, 40, "all are stored")
    assert 0 == bridge.stop()


def test_each_making_is_warned_of_anew(
    kafka_server: Any, start_bridge: Callable[..., Bridge], broker_url: str, topic: str
) -> None:
    """Deleted while `run` idles: the topic is made within two looks, and what `check` would say is said again."""
    bridge = start_bridge(
        BRIDGE_BROKER_URL=broker_url,
        BRIDGE_SINK="kafka",
        BRIDGE_KAFKA_BOOTSTRAP_SERVERS=kafka_server.bootstrap,
        BRIDGE_KAFKA_TOPIC=topic,
    ).await_ready()
    bridge.await_log("did not exist and was made")
    bridge.await_log("has one replica")
    delete(kafka_server, topic)
    until(lambda: 2 == len(bridge.logged("did not exist and was made")), 30, "the topic is made again")
    until(lambda: 2 == len(bridge.logged("has one replica")), 30, "its advice is said again")
    assert 2 == bridge.metric("notices_total", kind="stream-made")
    bridge.await_ready()
    publish(broker_url, 5, 0)
    until(lambda: sum(oracle.kafka_counts(kafka_server.bootstrap, topic).values()) == 5, 40, "all are stored")


def test_partitions_that_are_added_take_events(
    cluster: NativeKafka, sink: Callable[..., KafkaSink], topic: str
) -> None:
    """And count for a topic that is made again: none of them is missing then."""
    make(cluster, topic, 2, 3, min_insync_replicas="2")
    subject = sink(cluster, topic, topic_metadata_refresh_interval_ms="1000")
    await_available(subject, DEADLINE)
    client = admin(cluster.bootstrap)
    client.create_partitions([NewPartitions(topic, 8)])[topic].result(60)
    stored: list[int] = []

    def spread() -> bool:
        subject.look()
        deliver(subject, sample_events(200), DEADLINE)
        stored.append(sum(1 for count in oracle.kafka_counts(cluster.bootstrap, topic).values() if count))
        return stored[-1] == 8

    until(spread, 30, "every partition takes events")
    # The producer and the look may have asked two brokers, of which one knew less.
    until(lambda: knows_eight(cluster, topic), 30, "every node knows of them")
    subject.look()
    delete(cluster, topic)
    until(looks(subject), 30, "the topic is there again")
    assert (8, 3, "2") == shape(cluster, topic)


def test_a_name_that_leads_to_another_cluster(
    kafka_server: Any, own_kafka: Any, sink: Callable[..., KafkaSink], topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told of, with both ids of the clusters and of the topics."""
    subject = sink(kafka_server, topic)
    await_available(subject, DEADLINE)
    assert [] == told(caplog, "stream-replaced")
    subject._topics.renew(subject._settings.model_copy(update={"bootstrap_servers": own_kafka.bootstrap}))
    until(lambda: subject._topics.check() is None, 20, "the topic is there")
    lines = told(caplog, "stream-replaced")
    assert 2 == len(lines)
    assert "leads to another Kafka cluster" in lines[0]
    assert f"topic {topic!r} is another one than before" in lines[1]


def test_a_topic_that_nobody_may_write_any_more_is_not_ready(
    cluster: NativeKafka, sink: Callable[..., KafkaSink], topic: str
) -> None:
    """Rights that are withdrawn while nothing is forwarded are seen by the next look, with the way out."""
    make(cluster, topic, 1, 3)
    allow(cluster.bootstrap, USER, topic, AclOperation.DESCRIBE, AclOperation.WRITE)
    subject = sink(
        cluster,
        topic,
        bootstrap_servers=cluster.sasl_bootstrap,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username=USER,
        sasl_password=PASSWORD,
    )
    await_available(subject, DEADLINE)
    subject.look()
    deny_all(cluster.bootstrap, topic)

    def refused() -> bool:
        try:
            subject.look()
        except SinkUnavailable as exc:
            return "AUTHORIZATION" in str(exc) or "no permission to write" in str(exc)
        return False  # a node may not know of it yet

    until(refused, 20, "the look sees it")
    allow(cluster.bootstrap, USER, topic, AclOperation.DESCRIBE, AclOperation.WRITE)
    until(looks(subject), 20, "it is right again")
    assert outcomes(deliver(subject, sample_events(3), DEADLINE))


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    """What is told is kept."""
    caplog.set_level(logging.INFO, "celery_event_bridge")
