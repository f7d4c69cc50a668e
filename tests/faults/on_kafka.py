"""Faults of a Kafka of three nodes."""

from __future__ import annotations

import time
from contextlib import suppress
from random import Random
from typing import cast

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from tests.faults.cards import card, hold
from tests.faults.identity import topic_id
from tests.faults.stage import USER, Stage
from tests.faults.workload import event_key
from tests.support.servers.debian import until
from tests.support.servers.kafka import NativeKafka, admin
from tests.support.servers.kafka_acl import allow, deny_all
from tests.support.stores import KafkaStore

SINKS = ("kafka",)


def kafka_of(stage: Stage) -> NativeKafka:
    return cast("NativeKafka", cast("KafkaStore", stage.store).server)


def client_of(stage: Stage) -> AdminClient:
    return admin(kafka_of(stage).bootstrap)


def topic_of(stage: Stage) -> str:
    return cast("KafkaStore", stage.store).topic


def leader(stage: Stage) -> int:
    """The node that leads the topic's first partition, or any if that has none now."""
    topics = client_of(stage).list_topics(topic_of(stage), timeout=10).topics
    return max(1, int(topics[topic_of(stage)].partitions[0].leader))


@card("Kafka's leader killed", sinks=SINKS, weight=2)
def leader_killed(stage: Stage, dice: Random) -> None:
    victim = leader(stage)
    kafka_of(stage).kill(victim)
    hold(dice, 0.2, 15)
    kafka_of(stage).start(victim)


@card("too few replicas in sync", sinks=SINKS)
def too_few(stage: Stage, dice: Random) -> None:
    victims = dice.sample([1, 2, 3], 2)
    kafka_of(stage).kill(*victims)
    hold(dice, 1, 8)
    kafka_of(stage).start(*victims)


@card("Kafka killed", sinks=SINKS, weight=0.5)
def killed(stage: Stage, dice: Random) -> None:
    # Messages have no timeout of their own; longer than BRIDGE_LET_GO_AFTER is what there is instead.
    kafka_of(stage).kill()
    hold(dice, 0.2, 8)
    kafka_of(stage).start()


@card("Kafka frozen", sinks=SINKS, weight=2)
def frozen(stage: Stage, dice: Random) -> None:
    kafka_of(stage).pause()
    hold(dice, 0.2, 7)
    kafka_of(stage).resume()


@card("right to write withdrawn", sinks=SINKS)
def right_withdrawn(stage: Stage, dice: Random) -> None:
    deny_all(kafka_of(stage).bootstrap, topic_of(stage))
    hold(dice, 0.5, 5)
    give_rights(stage)


@card("a producer's fatal error", sinks=SINKS)
def fatal(stage: Stage, dice: Random) -> None:
    # A producer that may write nowhere is refused its id, which librdkafka takes for fatal.
    deny_all(kafka_of(stage).bootstrap, topic_of(stage))
    slot = stage.pick(dice)
    stage.replicas[slot].kill()
    stage.start(slot)
    hold(dice, 2, 5)
    give_rights(stage)


def give_rights(stage: Stage) -> None:
    operations = (AclOperation.CREATE, AclOperation.DESCRIBE, AclOperation.WRITE)
    allow(kafka_of(stage).bootstrap, USER, topic_of(stage), *operations)


@card("messages too large", sinks=SINKS)
def too_large(stage: Stage, dice: Random) -> None:
    limit(stage, "50000")
    hold(dice, 1, 8)
    limit(stage, None)


def limit(stage: Stage, longest: str | None) -> None:
    """The topic's `max.message.bytes`."""
    change = AlterConfigOpType.DELETE if longest is None else AlterConfigOpType.SET
    entry = ConfigEntry("max.message.bytes", longest or "", incremental_operation=change)
    resource = ConfigResource(ResourceType.TOPIC, topic_of(stage), incremental_configs=[entry])
    client = client_of(stage)
    for future in client.incremental_alter_configs([resource]).values():
        future.result(60)


@card("topic deleted", sinks=SINKS, weight=0.5)
def topic_deleted(stage: Stage, dice: Random) -> None:
    with stage.quiet():
        delete(stage)
    hold(dice)


@card("topic made again by somebody", sinks=SINKS, weight=0.5)
def topic_made_again(stage: Stage, dice: Random) -> None:
    with stage.quiet():
        delete(stage)
        topic, client = topic_of(stage), client_of(stage)
        config = {"min.insync.replicas": "2"}
        made = client.create_topics([NewTopic(topic, dice.randint(1, 6), 3, config=config)])[topic]
        with suppress(KafkaException):  # a bridge was faster
            made.result(60)
        ports = kafka_of(stage).bootstrap.split(",")
        until(lambda: all(topic_id(port, topic) for port in ports), 20, "every node knows the new topic")
    hold(dice)


def all_that_was_published(stage: Stage) -> set[bytes]:
    """Return the ids of what is in the topic, once all is that has to be.

    The counts of RabbitMQ's that `quiet` waits for are seconds old: what came later than that would be stored in a
    topic that is about to be deleted, and be taken for lost.
    """
    load = stage.workload
    refused = {one for ids in load.large.values() for one in ids}
    owed = set(load.obligations[stage.verified :]) - stage.destroyed - refused
    began, stored = time.monotonic(), set(map(event_key, stage.store.bodies()))
    if owed - stored:
        print(f"{len(owed - stored)} events are not in the topic, though the queues are empty", flush=True)
        until(lambda: owed <= set(map(event_key, stage.store.bodies())), 240, "all that was published is in the topic")
        print(f"they came after {time.monotonic() - began:.1f} s", flush=True)
        stored = set(map(event_key, stage.store.bodies()))
    stage.verified = len(load.obligations)
    return stored


def delete(stage: Stage) -> None:
    """Delete the topic. All that is in it now is destroyed, and nothing else; a bridge may make a new one at once."""
    topic = topic_of(stage)
    ports = kafka_of(stage).bootstrap.split(",")
    old = topic_id(ports[0], topic)
    stage.destroyed |= all_that_was_published(stage)
    client = client_of(stage)
    client.delete_topics([topic])[topic].result(60)
    until(lambda: not any(topic_id(port, topic) == old for port in ports), 20, "no node knows the old topic any more")
    assert stage.witness is not None
    stage.witness.begin_anew()
