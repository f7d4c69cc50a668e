"""Three Kafka nodes: a leader killed under load, and fewer replicas in sync than the topic asks for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka.admin import NewTopic

from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.load import Load
from tests.support.servers import Kafka
from tests.support.servers.debian import until
from tests.support.servers.kafka import admin
from tests.support.stores import FULL, KafkaStore, at_full_length, await_stored

TOO_FEW_FOR = 40.0 if FULL else 12.0
LET_GO_AFTER = "30" if FULL else "4"
RECOVERY = 15.0
"""Seconds within which every partition takes events again."""

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600), at_full_length]


@pytest.fixture
def topic(kafka_cluster: Kafka) -> KafkaStore:
    """One with three partitions, each on all three nodes."""
    kafka_cluster.start()
    return KafkaStore(kafka_cluster)


def make(store: KafkaStore, min_insync: int) -> None:
    config = {"min.insync.replicas": str(min_insync)}
    client = admin(store.server.bootstrap)
    client.create_topics([NewTopic(store.topic, 3, 3, config=config)])[store.topic].result(60)


def leader(store: KafkaStore) -> int:
    """The node that leads partition 0."""
    topics = admin(store.server.bootstrap).list_topics(store.topic, timeout=5).topics
    return int(topics[store.topic].partitions[0].leader)


@contextmanager
def under_load(start_bridge: Callable[..., Bridge], broker_url: str, store: KafkaStore) -> Iterator[list[Bridge]]:
    """Three bridges, 1,000 messages a second; in the end, all of it has to be there."""
    settings = store.settings | {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_LET_GO_AFTER": LET_GO_AFTER}
    bridges = [start_bridge(**settings) for _ in range(3)]
    for bridge in bridges:
        bridge.await_ready()
    load = Load(broker_url, 1000)
    load.start()
    until(lambda: min(store.partitions().values()) > 300, 30, "every partition takes events")
    yield bridges
    published = load.finish()
    await_stored(store, published, 90)
    for bridge in bridges:
        assert 0 == bridge.stop()
    stored = store.bodies()
    assert Counter() == oracle.missing(published, stored)
    assert set(published) == set(stored)
    print(f"{len(published)} messages, 0 missing, {len(stored) - len(set(stored))} twice")


def await_forwarding(store: KafkaStore, what: str, begin: float) -> None:
    """Until every partition takes more, seen by a plain client, within 15 s of `begin`."""
    first: dict[int, int] = {}

    def grows() -> bool:
        now = store.partitions()
        first.update(first or now)
        return all(count > first[number] for number, count in now.items())

    until(grows, RECOVERY - (time.monotonic() - begin), what)
    print(f"{what}: every partition takes events again after {time.monotonic() - begin:.1f} s")


def test_the_leader_is_killed(start_bridge: Callable[..., Bridge], broker_url: str, topic: KafkaStore) -> None:
    """Forwarding goes on with the next leader within 15 s, by itself, and nothing is missing."""
    make(topic, 2)
    with under_load(start_bridge, broker_url, topic):
        victim = leader(topic)
        begin = time.monotonic()
        topic.server.kill(victim)
        until(lambda: leader(topic) not in (-1, victim), RECOVERY, "there is another leader")
        print(f"another leader after {time.monotonic() - begin:.1f} s")
        await_forwarding(topic, "leader killed", begin)
        topic.server.start(victim)


def test_fewer_replicas_than_the_topic_asks_for(
    start_bridge: Callable[..., Bridge], broker_url: str, topic: KafkaStore
) -> None:
    """Kafka confirms nothing meanwhile: messages are let go, nothing is missing, forwarding goes on within 15 s."""
    make(topic, 3)
    with under_load(start_bridge, broker_url, topic) as bridges:
        victim = leader(topic)
        topic.server.kill(victim)
        time.sleep(TOO_FEW_FOR)
        let_go = [bridge.logged("gave back") for bridge in bridges]
        assert all(let_go), "each replica has let go of what it held"
        assert "in sync" in bridges[0].get("/readyz")[1]
        topic.server.start(victim)
        await_forwarding(topic, "replicas back", time.monotonic())
