"""Faults of the streams."""

from __future__ import annotations

from random import Random
from typing import cast

from confluent_kafka.admin import AdminClient

from tests.faults.cards import card, hold
from tests.faults.stage import Stage
from tests.servers import Kafka, Redis
from tests.servers.kafka import admin
from tests.stores import KafkaStore, RedisStore, SqliteStore

STREAM = "celery-events"


def redis_of(stage: Stage) -> Redis:
    return cast("RedisStore", stage.store).server


def kafka_of(stage: Stage) -> Kafka:
    return cast("KafkaStore", stage.store).server


@card("Redis killed", sinks=("redis",), weight=2)
def redis_killed(stage: Stage, dice: Random) -> None:
    redis_of(stage).kill()
    hold(dice)
    redis_of(stage).start()


@card("Redis frozen", sinks=("redis",), weight=2)
def redis_frozen(stage: Stage, dice: Random) -> None:
    redis_of(stage).pause()
    hold(dice, 0.2, 7)
    redis_of(stage).resume()


@card("Redis full", sinks=("redis",))
def redis_full(stage: Stage, dice: Random) -> None:
    with redis_of(stage).client() as client:
        client.config_set("maxmemory", 1)
        hold(dice)
        client.config_set("maxmemory", 0)


@card("Redis a replica", sinks=("redis",))
def redis_read_only(stage: Stage, dice: Random) -> None:
    with redis_of(stage).client() as client:
        client.replicaof("127.0.0.1", "1")
        hold(dice)
        client.replicaof("NO", "ONE")


@card("Redis cannot save", sinks=("redis",))
def redis_misconf(stage: Stage, dice: Random) -> None:
    with redis_of(stage).client() as client:
        # A name that is a folder: the snapshot fails, and then writes are refused with MISCONF.
        client.config_set("dbfilename", "appendonlydir")
        client.config_set("save", "3600 1")
        client.bgsave()
        hold(dice)
        client.config_set("save", "")
        client.config_set("dbfilename", "dump.rdb")
        client.bgsave()


@card("connections to Redis killed", sinks=("redis",), weight=2)
def redis_connections(stage: Stage, _dice: Random) -> None:
    with redis_of(stage).client() as client:
        client.client_kill_filter(_type="normal", skipme=True)


@card("another type under the stream's name", sinks=("redis",))
def redis_wrong_type(stage: Stage, dice: Random) -> None:
    with redis_of(stage).client() as client:
        exchange = client.pipeline(transaction=True)
        exchange.rename(STREAM, "aside").set(STREAM, "no stream").execute()
        hold(dice)
        back = client.pipeline(transaction=True)
        back.delete(STREAM).rename("aside", STREAM).execute()


@card("SQLite locked", sinks=("sqlite",), weight=4)
def sqlite_locked(stage: Stage, dice: Random) -> None:
    store = cast("SqliteStore", stage.store)
    store.stop()
    hold(dice, 0.2, 6)
    store.start()


def leader(stage: Stage) -> int:
    """The node that leads the topic's first partition, or any if that has none now."""
    client: AdminClient = admin(kafka_of(stage).bootstrap)
    topic = cast("KafkaStore", stage.store).topic
    return max(1, int(client.list_topics(topic, timeout=10).topics[topic].partitions[0].leader))


@card("Kafka's leader killed", sinks=("kafka",), weight=2)
def kafka_leader(stage: Stage, dice: Random) -> None:
    victim = leader(stage)
    kafka_of(stage).kill(victim)
    hold(dice, 0.2, 15)
    kafka_of(stage).start(victim)


@card("too few replicas in sync", sinks=("kafka",))
def kafka_too_few(stage: Stage, dice: Random) -> None:
    victims = dice.sample([1, 2, 3], 2)
    kafka_of(stage).kill(*victims)
    hold(dice, 1, 8)
    kafka_of(stage).start(*victims)


@card("Kafka killed", sinks=("kafka",), weight=0.5)
def kafka_killed(stage: Stage, dice: Random) -> None:
    kafka_of(stage).kill()
    hold(dice)
    kafka_of(stage).start()


@card("Kafka frozen", sinks=("kafka",), weight=2)
def kafka_frozen(stage: Stage, dice: Random) -> None:
    kafka_of(stage).pause()
    hold(dice, 0.2, 7)
    kafka_of(stage).resume()
